package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
)

// Secret is a text that must not leak: printing, logging and encoding it give
// a placeholder. Reveal is the one way out.
type Secret struct{ text string }

const hidden = "[secret]"

// NewSecret wraps a text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text. Each call is a place to look at in a review.
func (s Secret) Reveal() string { return s.text }

// Empty reports whether there is no text.
func (s Secret) Empty() bool { return s.text == "" }

// String returns a placeholder.
func (s Secret) String() string { return hidden }

// GoString returns a placeholder, for %#v.
func (s Secret) GoString() string { return hidden }

// Format prints a placeholder whatever the verb is.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// LogValue returns a placeholder.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalJSON returns a placeholder.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// MarshalText returns a placeholder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// hash is the SHA-256 of a secret of high entropy, in hex: how it is kept.
func (s Secret) hash() string {
	sum := sha256.Sum256([]byte(s.text))
	return hex.EncodeToString(sum[:])
}

// generate makes a secret of 256 random bits with a prefix that secret
// scanners can look for.
func generate(prefix string) Secret {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return Secret{prefix + strings.ToLower(hex.EncodeToString(b))}
}
