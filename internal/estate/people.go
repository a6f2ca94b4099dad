package estate

import "time"

// UserID identifies a person who signs in.
type UserID string

// User is a person. Roles come from Grants; Tenant is where the account
// belongs, empty for people of the whole server.
type User struct {
	ID     UserID   `json:"id"`
	Tenant TenantID `json:"tenant,omitempty"`
	// Name is what the person signs in with; unique on the server.
	Name   string  `json:"name"`
	Email  string  `json:"email,omitempty"`
	Grants []Grant `json:"grants,omitempty"`
	// PasswordHash is the encoded argon2id hash; empty when the person signs
	// in elsewhere. It never leaves the server.
	PasswordHash string `json:"-"`
	// PasswordSet is when the password was last replaced (zero: never);
	// sessions that began with an older one have ended.
	PasswordSet time.Time `json:"password_set,omitzero"`
	Disabled    bool      `json:"disabled,omitempty"`
	Created     time.Time `json:"created"`
	LastSignIn  time.Time `json:"last_sign_in,omitzero"`
}

// Key is an API key of a program. Its secret is shown once; Hash is the
// SHA-256 (hex) of it.
type Key struct {
	ID     string   `json:"id"`
	Tenant TenantID `json:"tenant,omitempty"`
	Name   string   `json:"name"`
	Grants []Grant  `json:"grants,omitempty"`
	Hash   string   `json:"-"`
	By     string   `json:"by,omitempty"` // who made it
	// Owner is the person who answers for it, also when another key made it:
	// it opens nothing once the person is removed or disabled. Empty for the
	// local operator's key and those it made.
	Owner UserID `json:"owner,omitempty"`
	// Created, Expires (zero: never), Revoked (zero: no) and LastUsed.
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"`
	Revoked  time.Time `json:"revoked,omitzero"`
	LastUsed time.Time `json:"last_used,omitzero"`
}

// Active reports whether the key opens anything at the moment now.
func (k Key) Active(now time.Time) bool {
	return k.Revoked.IsZero() && (k.Expires.IsZero() || k.Expires.After(now))
}

// Token lets machines enrol into one site, a counted number of times. Its
// secret is shown once and kept as a hash.
type Token struct {
	ID     string   `json:"id"`
	Tenant TenantID `json:"tenant"`
	Site   SiteID   `json:"site"`
	Note   string   `json:"note,omitempty"`
	// Groups that every machine enrolled with it joins.
	Groups []GroupID `json:"groups,omitempty"`
	// Uses is how many machines may enrol with it in all, Used how many did.
	Uses    int       `json:"uses"`
	Used    int       `json:"used"`
	By      string    `json:"by,omitempty"` // who made it
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Revoked time.Time `json:"revoked,omitzero"`
}

// EndpointFilter narrows a list of endpoints. Zero fields do not narrow.
type EndpointFilter struct {
	Site     SiteID
	Group    GroupID
	Platform string
	State    EndpointState
	// Hostname is a prefix of the host name, in lower case.
	Hostname string
	// SeenBefore selects machines that were last seen before it, or never.
	SeenBefore time.Time
	// After is the cursor that the page before gave; Limit its length, at
	// most 1,000 (0: 100).
	After string
	Limit int
}
