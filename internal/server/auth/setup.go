package auth

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/fettlehq/fettle/internal/atomicfile"
	"github.com/fettlehq/fettle/internal/door"
	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
)

// setupLife is how long the link for the first administrator works.
const setupLife = 24 * time.Hour

const setupSetting = "setup_link"

// setupLink is what is kept of the link.
type setupLink struct {
	Hash    string    `json:"hash"`
	Expires time.Time `json:"expires"`
}

// NeedsSetup reports whether nobody has an account yet.
func (s *Service) NeedsSetup(ctx context.Context) (bool, error) {
	all, err := s.all().Users(ctx)
	return len(all) == 0, err
}

// NewSetupToken makes the token of the one-time link for the first
// administrator; tokens made before stop working. Conflict once somebody has
// an account.
func (s *Service) NewSetupToken(ctx context.Context) (Secret, error) {
	first, err := s.NeedsSetup(ctx)
	if err != nil {
		return Secret{}, err
	}
	if !first {
		return Secret{}, errDone()
	}
	token := generate("")
	return token, s.all().PutSetting(ctx, "", setupSetting, setupLink{Hash: token.hash(), Expires: s.Now().Add(setupLife).UTC()})
}

func errDone() error {
	return fault.New(fault.Conflict, "the server has an administrator already").WithHint("sign in, or ask an administrator for an account")
}

// Setup makes the first administrator and signs in. Unauthenticated when the
// token is wrong, used or expired; Conflict once somebody has an account.
func (s *Service) Setup(ctx context.Context, address, token, name, password string) (estate.Actor, error) {
	// By address alone: nobody may keep the owner from the one link.
	address = door.Network(address)
	guess := "setup from " + address
	wrong := func(err error) error { return s.guess(err, "setup.run.failed", "setup link", address) }
	if err := s.throttle.begin(address, guess); err != nil {
		return estate.Actor{}, err
	}
	select {
	case s.first <- struct{}{}:
		defer func() { <-s.first }()
	case <-ctx.Done():
		return estate.Actor{}, wrong(fault.Wrap(ctx.Err(), fault.Cancelled, "auth: the setup was given up"))
	}
	if err := s.checkSetup(ctx, NewSecret(token)); err != nil {
		return estate.Actor{}, wrong(err)
	}
	u, err := s.CreateUser(ctx, estate.Everything(), estate.User{
		Name: name, Grants: []estate.Grant{{Role: estate.Admin, Scope: estate.Everything()}},
	}, password)
	if err != nil {
		return estate.Actor{}, err
	}
	s.throttle.right(address, guess)
	if err := s.all().PutSetting(ctx, "", setupSetting, setupLink{}); err != nil {
		return estate.Actor{}, err
	}
	return userActor(u), s.begin(ctx, u)
}

func (s *Service) checkSetup(ctx context.Context, token Secret) error {
	first, err := s.NeedsSetup(ctx)
	if err != nil {
		return err
	}
	if !first {
		return errDone()
	}
	var link setupLink
	if err := s.all().Setting(ctx, "", setupSetting, &link); err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	same := subtle.ConstantTimeCompare([]byte(link.Hash), []byte(token.hash())) == 1
	if !same || link.Hash == "" || !link.Expires.After(s.Now()) {
		return fault.New(fault.Unauthenticated, "the setup link is not valid").WithHint("it works once and for a day; restart the server for a new one")
	}
	return nil
}

// The key of the local operator.
const (
	operatorFile = "operator.json"
	operatorName = "local operator"
	operatorBy   = "fettle server"
)

// operator is the file that the command line on this machine reads.
type operator struct {
	Server string `json:"server"`
	Key    string `json:"key"`
	CA     string `json:"ca,omitempty"`
}

// WriteOperator leaves <data>/operator.json (mode 0600) with the server's
// address and an API key that may do everything, for whoever may read the data
// folder. A key in the file that still works is kept; one that was deleted is
// replaced.
func (s *Service) WriteOperator(ctx context.Context, data, server string) error {
	file := filepath.Join(data, operatorFile)
	var now operator
	body, err := os.ReadFile(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return fault.Wrap(err, fault.Unavailable, "auth: %s can't be read", file)
	case json.Unmarshal(body, &now) != nil:
		now = operator{} // damaged: written anew
	}
	if _, err := s.byKey(ctx, NewSecret(now.Key)); err != nil {
		if !fault.Is(err, fault.Unauthenticated) {
			return err
		}
		if now.Key, err = s.newOperatorKey(ctx); err != nil {
			return err
		}
	}
	now.Server, now.CA = server, s.CA
	out, err := json.Marshal(now)
	if err != nil {
		return fault.Wrap(err, fault.Internal, "auth: the operator's file can't be encoded")
	}
	return atomicfile.Write(file, append(out, '\n'), 0o600)
}

// newOperatorKey makes the key and ends those made before: the file has one.
func (s *Service) newOperatorKey(ctx context.Context) (string, error) {
	all, err := s.all().Keys(ctx)
	if err != nil {
		return "", err
	}
	for _, k := range all {
		if k.Name == operatorName && k.By == operatorBy {
			if err := s.all().DeleteKey(ctx, k.ID); err != nil {
				return "", err
			}
		}
	}
	_, secret, err := s.createKey(ctx, estate.Everything(), estate.Key{
		Name: operatorName, By: operatorBy, Created: s.Now().UTC(),
		Grants: []estate.Grant{{Role: estate.Admin, Scope: estate.Everything()}},
	})
	return secret, err
}
