package wsus

import (
	"strconv"
	"strings"

	"github.com/fettlehq/fettle/internal/detect"
	"github.com/fettlehq/fettle/internal/fault"
)

// productTypes are what the registry says of OSVERSIONINFOEX.wProductType.
var productTypes = map[string]string{"1": "WinNT", "2": "LanmanNT", "3": "ServerNT"}

// windowsVersion compares as many parts as the element gives: "EqualTo 10"
// is every 10.x.
func windowsVersion(n Node) (detect.Rule, error) {
	op, err := comparison(n)
	if err != nil {
		return detect.Rule{}, err
	}
	var parts []int
	for _, name := range []string{"MajorVersion", "MinorVersion", "BuildNumber"} {
		text := n.get(name)
		if text == "" {
			break
		}
		v, err := strconv.ParseUint(text, 10, 31)
		if err != nil || v >= 1<<31-1 {
			return lacking(n)
		}
		parts = append(parts, int(v))
	}
	if len(parts) == 0 || n.get("SuiteMask") != "" || n.get("SuiteType") != "" {
		return detect.Rule{}, fault.New(fault.Unsupported, "wsus: a rule WindowsVersion without MajorVersion or with SuiteMask is not known")
	}
	rule, err := versionRule(op, parts, n.get("ServicePackMajor"))
	if err != nil || n.get("ProductType") == "" {
		return rule, err
	}
	kind, known := productTypes[n.get("ProductType")]
	if !known {
		return lacking(n)
	}
	return detect.Rule{All: []detect.Rule{rule, {RegistryValue: &detect.RegistryValue{
		Key: `HKLM\SYSTEM\CurrentControlSet\Control\ProductOptions`, Name: "ProductType", Type: "sz", Op: detect.EQ, Data: kind,
	}}}}, nil
}

func versionRule(op detect.Op, parts []int, pack string) (detect.Rule, error) {
	from, beyond := quad(parts, 0), quad(parts, 1)
	exactly := detect.Rule{All: []detect.Rule{osBuild(detect.GE, from), osBuild(detect.LT, beyond)}}
	if level, err := strconv.Atoi(pack); err == nil && level > 0 {
		if op != detect.GE && op != detect.EQ || level > 9 {
			return detect.Rule{}, fault.New(fault.Unsupported, "wsus: the service pack in a rule WindowsVersion is not known with this comparison")
		}
		last := level
		if op == detect.GE {
			last = 9
		}
		var packs []detect.Rule
		for k := level; k <= last; k++ {
			packs = append(packs, packIs(k))
		}
		exactly = detect.Rule{All: []detect.Rule{exactly, anyOf(packs)}}
		if op == detect.GE {
			return detect.Rule{Any: []detect.Rule{osBuild(detect.GE, beyond), exactly}}, nil
		}
		return exactly, nil
	}
	switch op {
	case detect.EQ:
		return exactly, nil
	case detect.GT:
		return osBuild(detect.GE, beyond), nil
	case detect.LE:
		return osBuild(detect.LT, beyond), nil
	}
	return osBuild(op, from), nil
}

// quad writes the parts with the last one raised, at least two of them.
func quad(parts []int, raise int) string {
	var out []string
	for i, p := range parts {
		if i == len(parts)-1 {
			p += raise
		}
		out = append(out, strconv.Itoa(p))
	}
	if len(out) == 1 {
		out = append(out, "0")
	}
	return strings.Join(out, ".")
}

func osBuild(op detect.Op, build string) detect.Rule {
	return detect.Rule{OSBuild: &detect.OSBuild{Family: "windows", Op: op, Build: build}}
}

// packIs tests the service pack where the registry has it.
func packIs(n int) detect.Rule {
	return detect.Rule{RegistryValue: &detect.RegistryValue{
		Key: `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`, Name: "CSDVersion", Type: "sz", Op: detect.EQ, Data: "Service Pack " + strconv.Itoa(n),
	}}
}

// anyOf is true when one of the rules is; there is at least one.
func anyOf(rules []detect.Rule) detect.Rule {
	if len(rules) == 1 {
		return rules[0]
	}
	return detect.Rule{Any: rules}
}
