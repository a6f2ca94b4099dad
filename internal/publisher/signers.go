package publisher

import (
	"strings"
	"time"

	"github.com/fettlehq/fettle/internal/fault"
	"github.com/fettlehq/fettle/internal/publisher/lab"
)

// Signers lists who signs the products of a publisher's catalog, by its
// configuration. It may be called while the publisher runs.
func Signers(cfg Config) ([]lab.Signer, error) { return lab.Signers(cfg.Data) }

// AcceptSigner lets a signer sign a product; see lab.Accept. It may be called
// while the publisher runs, which takes it up with its next run.
// fault.Conflict means that the configuration names the product's signer.
func AcceptSigner(cfg Config, product, name string, only bool, now time.Time) (lab.Signer, error) {
	for id := range cfg.Authenticode.Publishers {
		if strings.EqualFold(id, product) {
			return lab.Signer{}, fault.New(fault.Conflict, "publisher: the configuration names who signs %s", product).
				WithHint("Change authenticode.publishers; what is accepted here does not count beside it.")
		}
	}
	return lab.Accept(cfg.Data, product, name, only, now)
}
