package lab

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/vercmp"
)

const signerFile = "signers.json"

// Pin says who may sign one product's installers.
type Pin struct {
	// Names are common names of certificates; an installer that bears another
	// is refused.
	Names []string `json:"names"`
	// Organization is that of the newest name's certificate.
	Organization string `json:"organization,omitempty"`
	// Since is when the first name was seen, Confirmed when a person last
	// accepted one; zero when nobody has.
	Since     time.Time `json:"since,omitzero"`
	Confirmed time.Time `json:"confirmed,omitzero"`
	// Maker is who makes the product by its manifest's words, in the form of
	// inventory.AppName; empty when that is not known.
	Maker string `json:"maker,omitempty"`
	// Refused is another signer, whom nobody has accepted.
	Refused *Stranger `json:"refused,omitempty"`
}

// Stranger is a signer that is not a product's.
type Stranger struct {
	Name         string    `json:"name"`
	Organization string    `json:"organization,omitempty"`
	Patch        patch.ID  `json:"patch"`
	SHA256       string    `json:"sha256"`
	Since        time.Time `json:"since"`
}

// UnmarshalJSON also reads the form of the first publishers, a name alone.
func (p *Pin) UnmarshalJSON(data []byte) error {
	var name string
	if json.Unmarshal(data, &name) == nil {
		*p = Pin{Names: []string{name}}
		return nil
	}
	type plain Pin
	return json.Unmarshal(data, (*plain)(p))
}

// Signer is a Pin with the product's name: the vendor and, in lower case, the
// package's identifier.
type Signer struct {
	Product string `json:"product"`
	Pin
}

// Fits reports whether the certificate names the maker that the manifest
// names. It is false also when the manifest names none.
func (s Signer) Fits() bool {
	return s.Maker != "" && (s.Maker == makerOf(s.Organization) || len(s.Names) > 0 && s.Maker == makerOf(s.Names[0]))
}

// Signers lists the signers that the lab of a data folder has pinned, by
// product.
func Signers(dir string) ([]Signer, error) {
	pins, err := loadPins(filepath.Join(dir, signerFile))
	if err != nil {
		return nil, err
	}
	out := make([]Signer, 0, len(pins))
	for _, k := range slices.Sorted(maps.Keys(pins)) {
		out = append(out, Signer{k, pins[k]})
	}
	return out, nil
}

// Accept lets the named signer sign a product, given by its package identifier
// with or without vendor. The name must be that of the signer whom the lab has
// refused, or of one that it has pinned, which is thereby confirmed. With only
// the others don't count any more. A publisher that runs takes it up with its
// next run. fault.NotFound means that no such product is pinned, fault.Invalid
// that nobody of the name has signed it.
func Accept(dir, product, name string, only bool, now time.Time) (Signer, error) {
	path := filepath.Join(dir, signerFile)
	pins, err := loadPins(path)
	if err != nil {
		return Signer{}, err
	}
	key, err := findPin(pins, product)
	if err != nil {
		return Signer{}, err
	}
	pin := pins[key]
	switch r := pin.Refused; {
	case r != nil && (name == r.Name || name == r.Organization):
		pin.Names, pin.Organization, pin.Refused = slices.Insert(slices.Clone(pin.Names), 0, r.Name), r.Organization, nil
		name = r.Name
	case !slices.Contains(pin.Names, name):
		seen := strings.Join(pin.Names, ", ")
		if r != nil {
			seen += " (and refused: " + r.Name + ")"
		}
		return Signer{}, fault.New(fault.Invalid, "lab: nobody of the name %q has signed %s", name, product).
			WithHint("The installers are signed by %s; give one of these names as it stands.", seen)
	}
	if only {
		pin.Names = []string{name}
	}
	pin.Names = slices.Compact(pin.Names)
	pin.Confirmed = now.UTC()
	pins[key] = pin
	return Signer{key, pin}, save(path, pins)
}

func findPin(pins map[string]Pin, product string) (string, error) {
	var found []string
	for k := range pins {
		if _, id, _ := strings.Cut(k, " "); strings.EqualFold(k, product) || strings.EqualFold(id, product) {
			found = append(found, k)
		}
	}
	slices.Sort(found)
	switch len(found) {
	case 0:
		return "", fault.New(fault.NotFound, "lab: no signer of %s is known", product).WithHint("fettle publisher signers lists what is.")
	case 1:
		return found[0], nil
	}
	return "", fault.New(fault.Invalid, "lab: %s is the name of several products", product).WithHint("Name one of: %s.", strings.Join(found, "; "))
}

func loadPins(path string) (map[string]Pin, error) {
	pins := map[string]Pin{}
	if err := load(path, &pins); err != nil {
		return nil, fault.Wrap(err, fault.CodeOf(err), "lab: the file of signers").
			WithHint("Restore %s from a backup. Without it every product is pinned anew to whoever signs it now.", path)
	}
	return pins, nil
}

// product is what a signer is pinned to.
func product(p patch.Patch) string { return p.Vendor + " " + strings.ToLower(p.Product) }

// pin remembers who signs each product, from its oldest proven version, and who
// else has. The file counts, not what is in memory: people change it.
func (l *Lab) pin(patches []patch.Patch, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	pins, err := loadPins(l.signerPath)
	if err != nil {
		return err
	}
	l.signers = pins
	order := slices.Clone(patches)
	slices.SortStableFunc(order, func(a, b patch.Patch) int {
		return cmp.Or(strings.Compare(a.Product, b.Product), vercmp.WindowsQuad(a.Version, b.Version))
	})
	changed, refused := false, map[string]bool{}
	for _, p := range order {
		if !isCode(p) {
			continue
		}
		proof := l.proofs[p.Items[0].Payload.SHA256]
		if !proof.OK || proof.Trust != l.trust {
			continue
		}
		isNew, foreign := l.meet(p, proof, now)
		changed = changed || isNew
		if foreign {
			refused[product(p)] = true
		}
	}
	for k, pin := range pins { // what is not offered any more needs no decision
		if pin.Refused != nil && !refused[k] {
			pin.Refused, changed = nil, true
			pins[k] = pin
		}
	}
	if !changed {
		return nil
	}
	return save(l.signerPath, l.signers)
}

// Doubtful lists, in sentences, the signers of the patches' products that were
// pinned when they were first seen, that nobody has confirmed, and that don't bear
// the name of the maker whom the manifest names.
func (l *Lab) Doubtful(patches []patch.Patch) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	offered := map[string]bool{}
	for _, p := range patches {
		if isCode(p) {
			offered[product(p)] = true
		}
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(l.signers)) {
		pin := l.signers[k]
		_, id, _ := strings.Cut(k, " ")
		if s := (Signer{k, pin}); offered[k] && pin.Maker != "" && pin.Confirmed.IsZero() && len(pin.Names) > 0 && !s.Fits() && l.named(id) == "" {
			out = append(out, fmt.Sprintf("%s is signed by %s, whose name is not that of the maker in its manifest (%s), and nobody has confirmed it: fettle publisher signers accept %s %q",
				id, signer(pin.Names[0], pin.Organization), clip(pin.Maker), id, pin.Names[0]))
		}
	}
	return out
}

// Reload reads the signers anew: people may have accepted one since the last run.
func (l *Lab) Reload() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	pins, err := loadPins(l.signerPath)
	if err == nil {
		l.signers = pins
	}
	return err
}

// Verdict tells what became of a payload that was examined for a product, by the
// roots and the signers that count now: whether it was found good, and whether
// it is known at all.
func (l *Lab) Verdict(vendor, product, sha256 string) (good, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	proof, seen := l.proofs[sha256]
	if !seen || proof.Trust != l.trust {
		return false, false
	}
	_, ok := l.allowed(patch.Patch{Vendor: vendor, Product: product, Items: []patch.Item{{}}}, proof)
	return proof.OK && ok, true
}

// meet holds a proven installer against the product's pin. It tells whether
// there is something to remember, and whether the signer is not the product's.
func (l *Lab) meet(p patch.Patch, proof Proof, now time.Time) (changed, foreign bool) {
	key := product(p)
	pin, seen := l.signers[key]
	if _, ok := l.allowed(p, proof); !ok && (seen || l.named(p.Product) != "") {
		if !seen || p.Items[0].Payload.Signer != "" { // the operator has named another: nobody is pinned
			return false, true
		}
		if pin.Refused != nil && pin.Refused.Name == proof.Signer {
			return false, true
		}
		pin.Refused = &Stranger{proof.Signer, proof.Organization, p.ID, p.Items[0].Payload.SHA256, now.UTC()}
		l.signers[key] = pin
		return true, true
	}
	switch {
	case p.Items[0].Payload.Signer != "": // the source's configuration names him
		return false, false
	case !seen:
		pin = Pin{Names: []string{proof.Signer}, Organization: proof.Organization, Since: now.UTC(), Maker: maker(p)}
	case pin.Organization == "" && proof.Organization != "" && slices.Contains(pin.Names, proof.Signer): // as the first publishers kept it
		pin.Organization, pin.Maker = proof.Organization, maker(p)
	default:
		return false, false
	}
	l.signers[key] = pin
	return true, false
}

// allowed says whether the signer of a proven installer is the product's, and
// under which name: by the operator's word, the source's, else by the pin.
func (l *Lab) allowed(p patch.Patch, proof Proof) (name string, ok bool) {
	names := l.signers[product(p)].Names
	if one := cmp.Or(l.named(p.Product), p.Items[0].Payload.Signer); one != "" {
		names = []string{one}
	}
	for _, n := range names {
		if n != "" && (n == proof.Signer || n == proof.Organization) {
			return n, true
		}
	}
	return strings.Join(names, " or "), false
}

// named is who must sign a product by the operator's word. Package identifiers
// have no case.
func (l *Lab) named(product string) string {
	for id, who := range l.code.Publishers {
		if strings.EqualFold(id, product) {
			return who
		}
	}
	return ""
}

// confidence says in a sentence why a signer counts as the product's.
func (l *Lab) confidence(p patch.Patch, proof Proof) string {
	pin := l.signers[product(p)]
	switch {
	case l.named(p.Product) != "":
		return "the configuration (authenticode.publishers) names this signer"
	case p.Items[0].Payload.Signer != "":
		return "the configuration of the source names this signer"
	case !pin.Confirmed.IsZero():
		return "this signer was accepted by a person on " + pin.Confirmed.Format(time.DateOnly)
	}
	text := "this signer was pinned when its first installer was seen"
	if !pin.Since.IsZero() {
		text += ", on " + pin.Since.Format(time.DateOnly)
	}
	return text + "; nobody has confirmed it (fettle publisher signers)"
}

// agreement says in a sentence whether the certificate names the maker that the
// manifest names; the manifest's word is signed by nobody.
func agreement(p patch.Patch, proof Proof) string {
	who := maker(p)
	switch {
	case who == "":
		return "the manifest gives no name by which the maker could be held against the certificate"
	case who == makerOf(proof.Signer) || who == makerOf(proof.Organization):
		return "the certificate names the maker that the manifest names"
	}
	return "the certificate does not name the maker that the manifest names (\"" + clip(who) + "\"): look whether it is the maker's"
}

// maker is who makes the product by the manifest's words, in the form of
// inventory.AppName; empty when no display name with a publisher is claimed.
func maker(p patch.Patch) string {
	for _, it := range p.Items {
		if it.Kind == inventory.KindApp {
			_, who, _ := strings.Cut(it.Name, "|")
			return who
		}
	}
	return ""
}

// makerOf puts the name of a company into that form.
func makerOf(name string) string {
	_, who, _ := strings.Cut(inventory.AppName("x", name), "|")
	return who
}
