package fetch

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestSameSecond fetches a file that changes twice within one second: its
// modification date is the same both times.
func TestSameSecond(t *testing.T) {
	at := time.Now().UTC().Truncate(time.Second)
	for name, tc := range map[string]struct {
		age  time.Duration // of the file, at the first fetch
		want bool          // that the second asks by the date
	}{"fresh": {0, false}, "a second old": {time.Second, true}, "from the future": {-time.Hour, false}} {
		t.Run(name, func(t *testing.T) {
			content, asked := "one", false
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = r.Header.Get("If-Modified-Since") != ""
				w.Header().Set("Date", at.Format(http.TimeFormat))
				w.Header().Set("Last-Modified", at.Add(-tc.age).Format(http.TimeFormat))
				_, _ = w.Write([]byte(content))
			}))
			defer srv.Close()
			c, err := New(Config{UserAgent: "test", PerHost: -1, Proxy: "direct"})
			if err != nil {
				t.Fatal(err)
			}
			first, err := c.Get(context.Background(), Request{URL: srv.URL})
			if err != nil {
				t.Fatal(err)
			}
			content = "two"
			second, err := c.Get(context.Background(), Request{URL: srv.URL, Fingerprint: first.Fingerprint})
			if err != nil || asked != tc.want || string(second.Body) != "two" {
				t.Errorf("asked by date: %v, want %v; got %q, %v", asked, tc.want, second.Body, err)
			}
		})
	}
}
