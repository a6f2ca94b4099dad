//go:build !windows

package release

func nativeArchitecture() string { return "" }
