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
