package fs

import (
	"errors"
	"io"
	"os"
	"path"

	"github.com/fettlehq/fettle/internal/authentic"
	"github.com/fettlehq/fettle/internal/blob"
	"github.com/fettlehq/fettle/internal/fault"
)

// Partial is a payload that comes in pieces, across restarts: Size says how much there is, Write adds to it, Commit makes
// it visible. It is a fetch.Sink. One goroutine at a time uses it.
type Partial struct {
	store  *Store
	key    blob.Key
	size   int64
	file   *os.File
	digest *authentic.Digest
	owed   int64 // bytes that the store expects from it
	closed bool
}

func partialName(k blob.Key) string { return path.Join("partial", string(k)) }

// Partial opens what has come of a payload of that size (-1: not known), or starts it. The hash of what is there is
// taken first, which reads it once. Errors: fault.Conflict when it is open already, fault.Exhausted when the rest of it,
// beside what others still need, would eat into the disk's reserve; what has come stays.
func (s *Store) Partial(key blob.Key, size int64) (*Partial, error) {
	if err := key.Check(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	busy := s.open[key]
	s.open[key] = true
	s.mu.Unlock()
	if busy {
		return nil, fault.New(fault.Conflict, "blob: payload %s is being received already", short(key))
	}
	p := &Partial{store: s, key: key, size: size, digest: authentic.NewDigest(string(key), size)}
	var err error
	if p.file, err = s.root.OpenFile(partialName(key), os.O_RDWR|os.O_CREATE, 0o640); err != nil {
		p.release()
		return nil, wrap(err, key)
	}
	if _, err := io.Copy(p.digest, p.file); err != nil { // longer than it may be, or unreadable
		if err := p.Restart(); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	if rest := max(size-p.Size(), 0); rest > 0 || size < 0 {
		if err := s.claim(rest); err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.owed = rest
	}
	return p, nil
}

// owe tells the store how many bytes are still to come.
func (p *Partial) owe(n int64) {
	p.store.expect(n - p.owed)
	p.owed = n
}

// Size returns the number of bytes that are there.
func (p *Partial) Size() int64 { return p.digest.Size() }

// Write adds bytes. It fails with fault.Untrusted when the payload would become longer than announced and with
// fault.Exhausted when the disk is full; then what fitted is kept for later.
func (p *Partial) Write(b []byte) (int, error) {
	at := p.digest.Size()
	n, err := p.file.Write(b)
	if _, err := p.digest.Write(b[:n]); err != nil {
		return 0, errors.Join(err, p.rewind(at))
	}
	if err != nil {
		return n, wrap(err, p.key)
	}
	p.owe(max(p.size-p.Size(), 0))
	return n, nil
}

// rewind cuts the file to what the digest knows.
func (p *Partial) rewind(size int64) error {
	if err := p.file.Truncate(size); err != nil {
		return wrap(err, p.key)
	}
	if _, err := p.file.Seek(size, io.SeekStart); err != nil {
		return wrap(err, p.key)
	}
	return nil
}

// Restart throws away what is there.
func (p *Partial) Restart() error {
	p.digest = authentic.NewDigest(string(p.key), p.size)
	p.owe(max(p.size, 0))
	return p.rewind(0)
}

// Commit verifies the payload and makes it visible. When it is not the one that its key names, it is thrown away
// (fault.Untrusted); when it is only not whole yet, call Commit later.
func (p *Partial) Commit() error {
	if p.closed {
		return fault.New(fault.Internal, "blob: payload %s is closed already", short(p.key))
	}
	if p.size >= 0 && p.Size() < p.size {
		return fault.New(fault.Conflict, "blob: payload %s has %d of %d bytes", short(p.key), p.Size(), p.size)
	}
	if err := p.digest.Check(); err != nil {
		return errors.Join(err, p.Restart())
	}
	if err := p.file.Sync(); err != nil {
		return wrap(err, p.key)
	}
	if err := p.Close(); err != nil {
		return err
	}
	if err := p.store.publish(partialName(p.key), p.key); err != nil {
		return wrap(err, p.key)
	}
	return nil
}

// Close keeps what is there for a later Partial. After Commit it does nothing.
func (p *Partial) Close() error {
	if p.closed {
		return nil
	}
	p.closed = true
	p.owe(0)
	p.release()
	if err := p.file.Close(); err != nil {
		return wrap(err, p.key)
	}
	return nil
}

func (p *Partial) release() {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	delete(p.store.open, p.key)
}
