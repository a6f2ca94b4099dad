package settings_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/settings"
)

type inner struct {
	Name string `koanf:"name"`
	Sure *bool  `koanf:"sure"`
}

type outer struct {
	Data  string        `koanf:"data"`
	Every time.Duration `koanf:"every"`
	Names []string      `koanf:"names"`
	Feeds inner         `koanf:"feeds"`
	List  []inner       `koanf:"list"`
	By    map[string]string
	Own   func() `koanf:"-"`
}

func TestUnknown(t *testing.T) {
	for _, tc := range []struct {
		text string
		want []string
		code fault.Code
	}{
		{text: "data: /x\nevery: 5m\nnames: [a, b]\nfeeds: {name: x}\nlist: [{name: y, sure: true}]\nby: {any: thing}"},
		{text: "names: a,b"},
		{text: ""},
		{text: "dat: /x\nevery: 5m", want: []string{"dat"}},
		{text: "feeds: {nam: x}\nlist: [{name: y}, {sur: true}]\nzebra: 1", want: []string{"feeds.nam", "list[1].sur", "zebra"}},
		{text: "own: 1", want: []string{"own"}},
		{text: "every: often", code: fault.Invalid},
		{text: "feeds: 7", code: fault.Invalid},
	} {
		k, path := koanf.New("."), filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			t.Fatal(err)
		}
		got, err := settings.Unknown(k, &outer{})
		if tc.code != "" {
			if !fault.Is(err, tc.code) {
				t.Errorf("%q: %v", tc.text, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tc.text, err)
		}
		if d := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%q: %s", tc.text, d)
		}
	}
}
