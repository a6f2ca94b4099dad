package link

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fettlehq/fettle/internal/fault"
)

// A download that is cut again and again goes on each time, as long as it gets
// further; one that does not names where it was cut.
func TestCutDownloadGoesOn(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 10000)
	raw := sha256.Sum256(data)
	sum := hex.EncodeToString(raw[:])
	var asked []string
	gives := 0 // bytes an answer, 0 for none
	s, cfg := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Range"))
		from, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"))
		if gives == 0 || gives == 1 && from > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(data)-from))
		if from > 0 {
			w.Header().Set("Content-Range", "bytes "+strconv.Itoa(from)+"-"+strconv.Itoa(len(data)-1)+"/"+strconv.Itoa(len(data)))
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = w.Write(data[from:min(from+max(gives, 20000), len(data))])
		if from+gives < len(data) {
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	c := dial(t, s, cfg)
	store, err := OpenStore(filepath.Join(tempDir(t), "p"))
	if err != nil {
		t.Fatal(err)
	}
	store.pause = time.Millisecond

	gives = 30000
	path, err := store.Fetch(t.Context(), c, sum, int64(len(data)), nil)
	if err != nil {
		t.Fatalf("%v after %q", err, asked)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
		t.Error("other bytes", err)
	}
	if len(asked) < 4 || asked[0] != "" || !strings.HasPrefix(asked[1], "bytes=") {
		t.Errorf("asked %q", asked)
	}

	for _, tc := range []struct {
		gives, asks int
		says        string
	}{
		{0, 1, "503"},                        // away from the beginning: no business of ours
		{1, 1 + resumes, "broke off after "}, // away after a part
	} {
		if err := store.Sweep(nil); err != nil {
			t.Fatal(err)
		}
		gives, asked = tc.gives, nil
		_, err := store.Fetch(t.Context(), c, sum, int64(len(data)), nil)
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), tc.says) || len(asked) != tc.asks {
			t.Errorf("%v after %q", err, asked)
		}
	}
}

// What an earlier transfer left may be bad, from a copy of the server's that was
// damaged and has been mended since: good bytes must come of it at once, and of
// a server that still has bad ones a refusal.
func TestBadPartIsFetchedAnew(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 100)
	raw := sha256.Sum256(data)
	sum := hex.EncodeToString(raw[:])
	for name, tc := range map[string]struct {
		serves []byte
		good   bool
	}{
		"mended": {data, true}, "still damaged": {bytes.Repeat([]byte("9876543210"), 100), false},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			s, cfg := serve(t, func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Header.Get("Range"))
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(tc.serves))
			})
			store, err := OpenStore(filepath.Join(tempDir(t), "p"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(store.Path(sum)+".part", []byte("bad"), 0o600); err != nil {
				t.Fatal(err)
			}
			path, err := store.Fetch(t.Context(), dial(t, s, cfg), sum, int64(len(data)), nil)
			switch {
			case !tc.good:
				if !fault.Is(err, fault.Untrusted) {
					t.Errorf("bad bytes end with %v", err)
				}
			case err != nil:
				t.Error(err)
			default:
				if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
					t.Error("other bytes", err)
				}
			}
			if diff := cmp.Diff([]string{"bytes=3-", ""}, asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}
