package server

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// A first start that was cut off between the CA's two files goes on by itself;
// once machines know the CA, a lost certificate is not replaced.
func TestFirstStartIsFinished(t *testing.T) {
	p := newPlace(t)
	s, err := New(t.Context(), p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	lost, file := s.ca.Certificate(), filepath.Join(p.cfg.Data, "server", "ca", "ca.pem")
	s.Close()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if s, err = New(t.Context(), p.cfg); err != nil {
		t.Fatal(err)
	}
	made := s.ca.Certificate()
	if lost.Equal(made) || string(lost.RawSubjectPublicKeyInfo) != string(made.RawSubjectPublicKeyInfo) {
		t.Error("the certificate is not a new one of the same key")
	}
	now := time.Now().UTC()
	_, secret, err := s.db.In(estate.InTenant(estate.DefaultTenant)).CreateToken(t.Context(), estate.Token{
		Tenant: estate.DefaultTenant, Site: estate.DefaultSite, Uses: 1, Created: now, Expires: now.Add(time.Hour),
	})
	if err == nil {
		_, err = s.db.Enrol(t.Context(), secret, estate.Endpoint{ID: "web1", Enrolled: now}, now)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if s, err = New(t.Context(), p.cfg); err == nil {
		s.Close()
	}
	if !fault.Is(err, fault.Untrusted) || fault.HintOf(err) == "" {
		t.Errorf("a CA that machines know was replaced: %v", err)
	}
}
