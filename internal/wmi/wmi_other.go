//go:build !windows

package wmi

import (
	"context"

	"github.com/fettlehq/fettle/internal/fault"
)

// Query is Windows' alone: it gives fault.Unsupported.
func Query(_ context.Context, namespace, wql string, _ ...string) ([]Row, error) {
	if err := check(namespace, wql); err != nil {
		return nil, err
	}
	return nil, fault.New(fault.Unsupported, "wmi: this machine has no Windows Management Instrumentation")
}

// Objects is Windows' alone: it gives fault.Unsupported.
func Objects(ctx context.Context, namespace, wql string, _ ...string) ([]map[string]any, error) {
	_, err := Query(ctx, namespace, wql)
	return nil, err
}

// Any is Windows' alone: it gives fault.Unsupported.
func Any(ctx context.Context, namespace, wql string) (bool, error) {
	_, err := Query(ctx, namespace, wql)
	return false, err
}
