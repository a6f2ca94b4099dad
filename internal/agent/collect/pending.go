package collect

import (
	"strings"

	"github.com/fettlehq/fettle/internal/winreg"
)

// Pending is a file that Windows' session manager moves at the next start
// (MoveFileEx with MOVEFILE_DELAY_UNTIL_REBOOT): full paths, and no To when the
// file is to go.
type Pending struct{ From, To string }

// PendingFiles reads them in their order, as far as the registry has any.
func PendingFiles(reg winreg.Registry) (all []Pending) {
	k, err := reg.Open(`HKLM\SYSTEM\CurrentControlSet\Control\Session Manager`, winreg.Native)
	if err != nil {
		return nil
	}
	defer func() { _ = k.Close() }() // read only
	for _, name := range []string{"PendingFileRenameOperations", "PendingFileRenameOperations2"} {
		v, err := k.Value(name)
		if err != nil {
			continue
		}
		pairs := v.Texts()
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == "" {
				continue
			}
			p := Pending{From: plain(pairs[i])}
			if i+1 < len(pairs) {
				p.To = plain(pairs[i+1])
			}
			all = append(all, p)
		}
	}
	return all
}

// plain is a path without the mark that a file may be replaced, the number of
// its turn, and the prefix of the object manager.
func plain(path string) string {
	return strings.TrimPrefix(strings.TrimLeft(path, "*0123456789!"), `\??\`)
}
