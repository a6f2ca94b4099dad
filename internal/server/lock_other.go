//go:build !unix

package server

import "os"

// lockFolder does nothing here: servers run on Unix-like systems, this file
// only lets the package build elsewhere.
func lockFolder(string) (*os.File, error) { return nil, nil } //nolint:nilnil // there is nothing to release
