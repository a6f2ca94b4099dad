// Package bench measures what docs/performance.md says: whole programs against
// their peers in the same run, taking turns, so that a busy machine slows both.
// Nothing here fails because something is slow; the report says what meets its
// goal and what misses it. `make bench` runs it.
package bench
