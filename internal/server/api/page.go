package api

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/fault"
)

// cut takes one page out of a list in memory that is sorted by a unique key.
// The cursor is the key of the page's last row, so a row that came or went
// between two pages moves no other.
func cut[T any](list []T, fits func(T) bool, p Paging, key func(T) string) (*listed[T], error) {
	after, err := openCursor(p.After, 1)
	if err != nil {
		return nil, err
	}
	from := 0
	if p.After != "" {
		at, found := slices.BinarySearchFunc(list, after[0], func(v T, k string) int { return strings.Compare(key(v), k) })
		from = at
		if found {
			from++
		}
	}
	limit := max(p.Limit, 1)
	out := make([]T, 0, min(limit, len(list)-from))
	for _, v := range list[from:] {
		if fits != nil && !fits(v) {
			continue
		}
		if len(out) == limit {
			return pageOf(out, closeCursor(key(out[limit-1]))), nil
		}
		out = append(out, v)
	}
	return pageOf(out, ""), nil
}

// sift reads pages of the store until one has rows that fit, and keeps those:
// a page may be shorter than was asked for, but only the last one is empty.
func sift[R, T any](ctx context.Context, after string, read func(after string) ([]R, string, error), form func(R) T, fits func(T) bool) (*listed[T], error) {
	for {
		list, next, err := read(after)
		if err != nil {
			return nil, err
		}
		out := make([]T, 0, len(list))
		for _, r := range list {
			if row := form(r); fits(row) {
				out = append(out, row)
			}
		}
		if len(out) > 0 || next == "" {
			return pageOf(out, next), nil
		}
		if err := ctx.Err(); err != nil {
			return nil, fault.Wrap(err, fault.Cancelled, "the list was not wanted any more")
		}
		after = next
	}
}

// closeCursor makes an opaque cursor of keys.
func closeCursor(keys ...string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(keys, "\x01")))
}

// openCursor is the reverse of closeCursor; "" gives n empty keys.
func openCursor(text string, n int) ([]string, error) {
	if text == "" {
		return make([]string, n), nil
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	keys := strings.Split(string(b), "\x01")
	if err != nil || len(keys) != n {
		return nil, fault.New(fault.Invalid, "the cursor of the list is not one that this server gave").
			WithHint("begin the list again without a cursor")
	}
	return keys, nil
}

// findingKey identifies a finding of one machine.
func findingKey(f catalog.Finding) string {
	return strings.Join([]string{f.Package, f.Arch, f.Available, string(f.State), string(f.Patch)}, "\x00")
}

// sorted returns the findings by findingKey, in a list of its own.
func sorted(findings []catalog.Finding) []catalog.Finding {
	out := slices.Clone(findings)
	slices.SortStableFunc(out, func(a, b catalog.Finding) int { return strings.Compare(findingKey(a), findingKey(b)) })
	return out
}
