// Package journey drives whole programs of Fettle as a person would, and
// compares what they say with the field's own tools.
package journey
