package aptget

import "github.com/fettlehq/fettle/internal/fault"

// updateRoom is the disk space in bytes without which an update is not begun. apt-get update does not fail on a full
// disk: it waits for ever for its own helper (seen with apt 2.6).
const updateRoom = 96 << 20

// room refuses (Exhausted) an update for which the disk has no space.
func room(dir string) error {
	if free, ok := freeBytes(dir); ok && free < updateRoom {
		return fault.New(fault.Exhausted, "apt's indexes need about %d MiB, %d MiB are free on the disk of %s", int64(updateRoom)>>20, free>>20, dir).
			WithHint("free some space there, or name a folder on another disk with --data")
	}
	return nil
}
