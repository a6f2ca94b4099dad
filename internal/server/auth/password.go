package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/fettlehq/fettle/internal/fault"
)

// Password lengths in characters. NIST SP 800-63B (section 3.1.1) asks for at
// least 15 where a password stands alone; 12 is the floor here because
// sign-ins are throttled as well.
const (
	minPassword = 12
	maxPassword = 256
)

// cost is what argon2id is asked to spend (RFC 9106, section 4, second
// recommended option: 64 MiB, three passes).
type cost struct {
	time, memory uint32 // passes; KiB
	threads      uint8
}

func defaultCost() cost { return cost{time: 3, memory: 64 << 10, threads: 2} }

// Bounds of a stored hash that is still computed: more would be an attack by
// whoever wrote it.
const (
	maxTime   = 10
	maxMemory = 256 << 10 // KiB
	keyBytes  = 32
	saltBytes = 16
)

// hasher computes password hashes, few at a time, because each takes 64 MiB.
type hasher struct {
	cost  cost
	slots chan struct{}
}

func newHasher(c cost, parallel int) *hasher {
	return &hasher{cost: c, slots: make(chan struct{}, parallel)}
}

// enter waits for a slot.
func (h *hasher) enter(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.Unavailable, "auth: too many sign-ins at once").WithHint("try again in a moment")
	}
}

func (h *hasher) leave() { <-h.slots }

func checkPassword(password Secret, name string) error {
	n := utf8.RuneCountInString(password.text)
	switch {
	case n < minPassword:
		return fault.New(fault.Invalid, "the password is too short").WithHint("use at least %d characters; a few random words are good", minPassword)
	case n > maxPassword:
		return fault.New(fault.Invalid, "the password is too long").WithHint("use at most %d characters", maxPassword)
	case strings.EqualFold(password.text, name):
		return fault.New(fault.Invalid, "the password is the name")
	}
	return nil
}

// hash encodes a password as $argon2id$v=19$m=65536,t=3,p=2$salt$key, the form
// of the reference implementation.
func (h *hasher) hash(ctx context.Context, password Secret) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.leave()
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	key := argon2.IDKey([]byte(password.text), salt, h.cost.time, h.cost.memory, h.cost.threads, keyBytes)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.memory, h.cost.time, h.cost.threads,
		b64.EncodeToString(salt), b64.EncodeToString(key)), nil
}

// matches reports whether the password has the encoded hash. An encoded hash
// that is empty or not well-formed matches nothing and takes as long as one.
func (h *hasher) matches(ctx context.Context, password Secret, encoded string) (bool, error) {
	if err := h.enter(ctx); err != nil {
		return false, err
	}
	defer h.leave()
	c, salt, key, ok := parseHash(encoded)
	if !ok {
		c, salt, key = h.cost, make([]byte, saltBytes), make([]byte, keyBytes)
	}
	got := argon2.IDKey([]byte(password.text), salt, c.time, c.memory, c.threads, uint32(len(key)))
	return subtle.ConstantTimeCompare(got, key) == 1 && ok, nil
}

// parseHash reads what hash wrote.
func parseHash(encoded string) (c cost, salt, key []byte, ok bool) {
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, false
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.memory, &c.time, &c.threads); err != nil || n != 3 {
		return c, nil, nil, false
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return c, nil, nil, false
	}
	key, err = base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil {
		return c, nil, nil, false
	}
	ok = c.time >= 1 && c.time <= maxTime && c.memory >= 8 && c.memory <= maxMemory && c.threads >= 1 &&
		len(salt) >= 8 && len(salt) <= 64 && len(key) >= 16 && len(key) <= 64
	return c, salt, key, ok
}
