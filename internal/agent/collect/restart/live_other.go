//go:build !windows

package restart

import "github.com/fettlehq/fettle/internal/fault"

// live: only Windows has such processes.
func live() machine { return nowhere{} }

type nowhere struct{}

func (nowhere) Services() (map[uint32][]string, error) {
	return nil, fault.New(fault.Unsupported, "restart: this is no Windows machine")
}

func (nowhere) Modules(uint32) []module { return nil }

func (nowhere) Identity(string) (string, bool) { return "", false }

func (nowhere) Users([]string) ([]string, error) { return nil, nil }
