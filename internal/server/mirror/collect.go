package mirror

import (
	"context"
	"time"

	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/fault"
)

// Collected is what a Collect found and did.
type Collected struct {
	// Payloads are here after it, Bytes of them in all.
	Payloads int   `json:"payloads"`
	Bytes    int64 `json:"bytes"`
	// Idle of them nobody needs at the moment; each is removed once it was
	// of no use for the whole time.
	Idle      int   `json:"idle"`
	IdleBytes int64 `json:"idle_bytes"`
	// Removed payloads and Partials, what had come of payloads that nobody
	// went on with, made Freed bytes free.
	Removed  int   `json:"removed"`
	Partials int   `json:"partials"`
	Freed    int64 `json:"freed_bytes"`
}

// Collect removes payloads that nobody needs and that were of no use since
// the moment before, and remains of transfers as old. The catalog's own
// indexes are always needed; needed tells of the others by their SHA-256.
func (m *Mirror) Collect(ctx context.Context, needed func(sha256 string) bool, before time.Time) (Collected, error) {
	var out Collected
	for info, err := range m.cfg.Blobs.List() {
		if err == nil && ctx.Err() != nil {
			err = fault.Wrap(ctx.Err(), fault.Cancelled, "mirror: collecting payloads was stopped")
		}
		if err == nil {
			err = m.collect(info, needed, before, &out)
		}
		if err != nil {
			return out, err
		}
	}
	n, size, err := m.cfg.Blobs.DeletePartials(before)
	out.Partials, out.Freed = n, out.Freed+size
	return out, err
}

func (m *Mirror) collect(info blob.Info, needed func(string) bool, before time.Time, out *Collected) error {
	sum := string(info.Key)
	if m.Serves(sum) || needed(sum) {
		out.Payloads, out.Bytes = out.Payloads+1, out.Bytes+info.Size
		_, err := m.cfg.Blobs.Use(info.Key, m.cfg.Now())
		return err
	}
	gone, err := m.cfg.Blobs.DeleteUnused(info.Key, before)
	if err != nil {
		return err
	}
	if gone {
		out.Removed, out.Freed = out.Removed+1, out.Freed+info.Size
		return nil
	}
	out.Payloads, out.Bytes = out.Payloads+1, out.Bytes+info.Size
	out.Idle, out.IdleBytes = out.Idle+1, out.IdleBytes+info.Size
	return nil
}
