//go:build !windows

package network

import "github.com/fettlehq/fettle/internal/inventory"

func adapters() ([]inventory.Interface, error) { return nil, nil }
