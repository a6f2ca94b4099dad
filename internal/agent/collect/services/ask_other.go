//go:build !windows

package services

func ask() (map[string]status, error) { return nil, nil }
