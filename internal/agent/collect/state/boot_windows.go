package state

import (
	"crypto/rand"
	"time"

	sys "golang.org/x/sys/windows"

	"github.com/fettlehq/fettle/internal/winreg"
)

// markBoot gives this boot its name and its time, if it has none yet.
func markBoot() error {
	if _, err := winreg.Volatile(ours, bootKey, idValue, rand.Text(), true); err != nil {
		return err
	}
	started := time.Now().Add(-sys.DurationSinceBoot()).UTC().Truncate(time.Second)
	_, err := winreg.Volatile(ours, bootKey, startedValue, started.Format(time.RFC3339), true)
	return err
}

// MarkDue notes until the machine's next start that a restart is due, for
// installers that say so by their exit code (3010) and leave no mark of their
// own. The reason is for people.
func MarkDue(reason string) error {
	_, err := winreg.Volatile(ours, dueKey, reason, time.Now().UTC().Format(time.RFC3339), true)
	return err
}
