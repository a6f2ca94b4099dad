package server

import (
	"context"

	"github.com/fettlehq/fettle/internal/estate"
	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/pki"
)

const caName = "Fettle devices"

// finishCA makes the certificate for a key that a first start left alone when
// it was cut off. Machines know the CA by its certificate: with machines in the
// database a new one would shut them out, and the lost one has to come back.
func (s *Server) finishCA(ctx context.Context, dir string) (*pki.CA, error) {
	machines, _, err := s.db.In(estate.Everything()).Endpoints(ctx, estate.EndpointFilter{Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(machines) > 0 {
		return nil, fault.New(fault.Untrusted, "server: ca.pem or ca.key is missing in %s, and machines are enrolled with that CA", dir).
			WithHint("restore both files from a backup; the machines would refuse a server with another CA")
	}
	s.cfg.Log.Warn("a first start was cut off; the CA's certificate is made anew", "folder", dir)
	return pki.FinishCA(dir, caName, s.cfg.Now())
}
