// Package pefile reads what a Windows program says of itself: for which processor it is and its version resource.
package pefile
