//go:build !windows

package wua

import (
	"context"

	"github.com/fettlehq/fettle/internal/fault"
)

// COM is Windows Update of this machine: there is none.
func COM(context.Context) (Session, error) {
	return nil, fault.New(fault.Unsupported, "wua: there is no Windows Update on this system")
}
