package blob_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/fault"
)

func TestParseKey(t *testing.T) {
	good := strings.Repeat("0a", 32)
	if k, err := blob.ParseKey(good); err != nil || string(k) != good {
		t.Error(k, err)
	}
	for _, bad := range []string{"", "0a", good + "0", strings.ToUpper(good), strings.Repeat("zz", 32), "../" + good[3:], good[:62] + "/.", good[:63] + "\x00"} {
		if _, err := blob.ParseKey(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if k := blob.KeyOf(sha256.Sum256(nil)); k != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" || k.Check() != nil {
		t.Error(k)
	}
}
