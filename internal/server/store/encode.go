package store

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
)

// millis is how a time is kept: UTC milliseconds since 1970, 0 for none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// moment is the reverse of millis.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// encode gives the JSON of a word.
func encode(v any) (string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", fault.Wrap(err, fault.Internal, "store: a document can't be encoded")
	}
	return string(b), nil
}

func decode(doc string, into any) error {
	if err := json.Unmarshal([]byte(doc), into); err != nil {
		return fault.Wrap(err, fault.Internal, "store: a document can't be decoded")
	}
	return nil
}

// random returns n random bytes in hex.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// pageSize clips the limit of a list: 100 when not given, 1,000 at most.
func pageSize(limit int) int {
	if limit <= 0 {
		return 100
	}
	return min(limit, 1000)
}

// cursor is where a page ended: the sort keys of its last row, opaque to
// callers.
func cursor(keys ...string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(keys, "\x00")))
}

// parseCursor is the reverse of cursor; "" gives n empty keys.
func parseCursor(text string, n int) ([]string, error) {
	if text == "" {
		return make([]string, n), nil
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	keys := strings.Split(string(b), "\x00")
	if err != nil || len(keys) != n {
		return nil, fault.New(fault.Invalid, "store: the cursor of the list is not one that this server gave").
			WithHint("begin the list again without a cursor")
	}
	return keys, nil
}

// page cuts a list that was read one longer than the limit and gives the
// cursor of the next page, "" at the end.
func page[T any](list []T, limit int, key func(T) string) ([]T, string) {
	if len(list) <= limit {
		return list, ""
	}
	list = list[:limit]
	return list, key(list[limit-1])
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// sortedKeys gives the keys in one order for all writers, so that they never
// wait for each other in a circle.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// parseInt reads a number out of a cursor.
func parseInt(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fault.New(fault.Invalid, "store: the cursor of the list is not one that this server gave")
	}
	return n, nil
}
