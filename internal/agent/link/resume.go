package link

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// A download that was cut is gone on with after a pause, which doubles. What
// gets further may be cut again as often as it likes; resumes attempts in a row
// that bring nothing end it, and the task's own pause follows.
const (
	resumes     = 3
	resumePause = time.Second
)

// fillOn is fill that goes on where the transfer was cut. A server that gives
// nothing at all is not asked again: that is for the task's next attempt. When
// the whole has another hash and began with what an earlier transfer left, that
// may be the damaged part, and the download begins anew, once.
func (s *Store) fillOn(ctx context.Context, c *Client, part *os.File, sum string, size int64, progress func(int64)) error {
	var cut error
	idle, anew := 0, false
	for {
		before, err := part.Seek(0, io.SeekEnd)
		if err == nil {
			_, err = part.Seek(0, io.SeekStart)
		}
		if err != nil {
			return diskFault(err, sum)
		}
		err = s.fill(ctx, c, part, sum, size, progress)
		if before > 0 && !anew && fault.Is(err, fault.Untrusted) && ctx.Err() == nil {
			if err := part.Truncate(0); err != nil {
				return diskFault(err, sum)
			}
			anew = true
			continue
		}
		if err == nil || ctx.Err() != nil || fault.Is(err, fault.Untrusted) || fault.Is(err, fault.Exhausted) {
			return err
		}
		after, errSeek := part.Seek(0, io.SeekEnd)
		switch {
		case errSeek != nil:
			return diskFault(errSeek, sum)
		case after > before && fault.Is(err, fault.Unavailable):
			cut, idle = err, 0
		case cut == nil:
			return err
		default:
			if idle++; idle == resumes || !fault.Is(err, fault.Unavailable) {
				return cut
			}
		}
		wait := time.NewTimer(s.pause << idle)
		select {
		case <-ctx.Done():
			wait.Stop()
			return fault.Wrap(ctx.Err(), fault.Cancelled, "link: the download of %s was stopped", sum)
		case <-wait.C:
		}
	}
}
