package authenticode

import (
	"bytes"
	"crypto"
	"crypto/subtle"
	"encoding/binary"
	"hash"
	"io"
	"slices"

	"github.com/fettlehq/fettle/internal/cfb"
	"github.com/fettlehq/fettle/internal/fault"
)

// The streams of a Windows Installer file that hold its signature and, for some, the hash over names, times and flags.
const (
	msiSignature   = "\x05DigitalSignature"
	msiSignatureEx = "\x05MsiDigitalSignatureEx"
)

// msi is a compound file. Its signature covers the streams in the order of their names and the storages' class
// identifiers; with the second stream, their names and times too. Free sectors and what stands behind the last one go
// unsigned, by design: nothing that reads the file as an MSI sees them.
type msi struct {
	file *cfb.File
}

func openMSI(r io.ReaderAt, size int64) (*msi, error) {
	f, err := cfb.Open(r, size)
	if err != nil {
		return nil, compound(err)
	}
	return &msi{file: f}, nil
}

func (m *msi) blobs() ([][]byte, error) {
	e := m.file.Root().Child(msiSignature)
	if e == nil || e.Kind != cfb.Stream || e.Size == 0 {
		return nil, refuse(Unsigned, "it has no signature")
	}
	b, err := m.file.Read(e, maxBlob)
	return [][]byte{b}, compound(err)
}

func (m *msi) digest(alg crypto.Hash) ([]byte, error) {
	h := alg.New()
	if e := m.file.Root().Child(msiSignatureEx); e != nil {
		want, err := m.file.Read(e, 64)
		if err != nil {
			return nil, compound(err)
		}
		meta := alg.New()
		hashMeta(meta, m.file.Root())
		got := meta.Sum(nil)
		if subtle.ConstantTimeCompare(want, got) != 1 {
			return nil, refuse(Tampered, "its names or times were changed after it was signed")
		}
		h.Write(got)
	}
	if err := m.hashContent(h, m.file.Root()); err != nil {
		return nil, compound(err)
	}
	return h.Sum(nil), nil
}

// hashContent hashes streams, and storages from the inside out.
func (m *msi) hashContent(h hash.Hash, storage *cfb.Entry) error {
	for _, e := range inOrder(storage) {
		var err error
		if e.Kind == cfb.Storage {
			err = m.hashContent(h, e)
		} else {
			err = m.file.Copy(h, e)
		}
		if err != nil {
			return err
		}
	}
	h.Write(storage.ClassID[:])
	return nil
}

// hashMeta hashes what describes a storage and all in it.
func hashMeta(h hash.Hash, storage *cfb.Entry) {
	hashDescription(h, storage)
	for _, e := range inOrder(storage) {
		if e.Kind == cfb.Storage {
			hashMeta(h, e)
		} else {
			hashDescription(h, e)
		}
	}
}

func hashDescription(h hash.Hash, e *cfb.Entry) {
	if e.Kind != cfb.Root {
		h.Write(e.RawName)
	}
	if e.Kind == cfb.Stream {
		h.Write(binary.LittleEndian.AppendUint32(nil, uint32(e.Size)))
	} else {
		h.Write(e.ClassID[:])
	}
	h.Write(e.State[:])
	if e.Kind != cfb.Root {
		h.Write(e.Created[:])
		h.Write(e.Modified[:])
	}
}

// inOrder sorts a storage's entries by the bytes of their names and leaves out the signature in the root.
func inOrder(storage *cfb.Entry) []*cfb.Entry {
	list := slices.DeleteFunc(slices.Clone(storage.Children), func(e *cfb.Entry) bool {
		return storage.Kind == cfb.Root && e.Kind == cfb.Stream && (e.Name() == msiSignature || e.Name() == msiSignatureEx)
	})
	slices.SortStableFunc(list, func(a, b *cfb.Entry) int { return bytes.Compare(a.RawName, b.RawName) })
	return list
}

// compound turns what package cfb says of a damaged file into a refusal.
func compound(err error) error {
	if err == nil || fault.CodeOf(err) == fault.Unavailable || isRefusal(err) {
		return err
	}
	f := refuse(Malformed, "it is cut off or damaged")
	return f.WithHint("%s", fault.Public(err))
}
