package job_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/server/job"
)

// readOnly is a database on a full disk: it can be read and not written. A job
// is due all the time.
type readOnly struct {
	job.Store
	claims int
}

func (s *readOnly) NextJob(context.Context, []string) (time.Time, bool, error) {
	return time.Now().Add(-time.Hour), true, nil
}

func (s *readOnly) ClaimJob(context.Context, string, []string, time.Time, time.Time) (string, string, []byte, int, bool, error) {
	s.claims++
	return "", "", nil, 0, false, fault.New(fault.Exhausted, "the disk is full")
}

// TestFullDisk: a database that can't be written is asked now and then, not a
// hundred times a second, with a line of the log each time.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &readOnly{}
		r := job.New(s, 2, slog.New(slog.NewTextHandler(&log, nil)))
		r.Register("work", func(context.Context, json.RawMessage) error { return nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r.Run(ctx)
		if s.claims < 5 || s.claims > 20 {
			t.Errorf("within a minute it is asked %d times", s.claims)
		}
		if lines := bytes.Count(log.Bytes(), []byte("\n")); lines > 20 {
			t.Errorf("%d lines of the log", lines)
		}
	})
}
