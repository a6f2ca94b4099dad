package fetch_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/fetch"
)

// dripping sends a byte now and then; where cut is set, one in each answer.
type dripping struct {
	data []byte
	gap  time.Duration
	cut  bool
}

func (d dripping) RoundTrip(r *http.Request) (*http.Response, error) {
	h := http.Header{"Etag": {`"a"`}}
	rest, code := d.data, http.StatusOK
	if from, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")); err == nil {
		rest, code = d.data[from:], http.StatusPartialContent
		h.Set("Content-Range", "bytes "+strconv.Itoa(from)+"-"+strconv.Itoa(len(d.data)-1)+"/"+strconv.Itoa(len(d.data)))
	}
	pr, pw := io.Pipe()
	go func() {
		for i := range rest {
			select {
			case <-r.Context().Done():
				pw.CloseWithError(r.Context().Err())
				return
			case <-time.After(d.gap):
			}
			if _, err := pw.Write(rest[i : i+1]); err != nil {
				return
			}
			if d.cut {
				break
			}
		}
		pw.CloseWithError(io.ErrUnexpectedEOF)
	}()
	return &http.Response{StatusCode: code, Body: pr, ContentLength: int64(len(rest)), Header: h}, nil
}

// sink keeps what comes in memory.
type sink struct{ bytes.Buffer }

func (s *sink) Size() int64    { return int64(s.Len()) }
func (s *sink) Restart() error { s.Reset(); return nil }

// TestEndlessPatience: a vendor's server that always sends a little, and never
// all, does not hold up for ever whoever waits for it.
func TestEndlessPatience(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 1<<20)
	for name, server := range map[string]dripping{
		"drips":           {data, 50 * time.Second, false},
		"cuts every byte": {data, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := client(t, fetch.Config{Backoff: time.Second, Attempts: 3, Transport: server})
				for what, get := range map[string]func() error{
					"resume": func() error {
						within, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
						defer cancel()
						return c.Resume(within, fetch.Request{URL: "http://vendor.example/"}, &sink{}, int64(len(data)))
					},
					"get": func() error {
						within, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
						defer cancel()
						_, err := c.Get(within, fetch.Request{URL: "http://vendor.example/", MaxSize: 2 << 20})
						return err
					},
				} {
					start := time.Now()
					err := get()
					if !fault.Is(err, fault.Unavailable) {
						t.Errorf("%s: %v", what, err)
					}
					if took := time.Since(start); took > 2*time.Hour {
						t.Errorf("%s took %s", what, took)
					}
				}
			})
		})
	}
}
