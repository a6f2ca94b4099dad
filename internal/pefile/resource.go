package pefile

// The resource tree has three levels: type, name, language. Each entry is an id (or, with the top bit, the offset of a
// name) and an offset, which with the top bit leads to the next level.
const (
	typeVersion   = 16 // RT_VERSION
	nameVersion   = 1  // VS_VERSION_INFO
	deeper        = 1 << 31
	treeHeader    = 16
	treeEntry     = 8
	maxTreeLevel  = 4096     // entries of one level that are looked at
	maxVersion    = 64 << 10 // a VS_VERSIONINFO counts its length in 16 bits
	english       = 0x409
	anyLanguage   = -1
	notFound      = -1
	dataEntrySize = 16
)

// versionResource finds the version resource: nil if there is none. Of several languages the neutral one is taken, else US
// English, else the first: Windows would prefer that of the user, but what is read here must be the same for everyone.
func (f *file) versionResource(root int64) ([]byte, error) {
	at, err := f.child(root, 0, typeVersion)
	if err == nil && at >= 0 {
		at, err = f.descend(root, at, nameVersion)
	}
	if err == nil && at >= 0 {
		at, err = f.descend(root, at, 0, english)
	}
	if err != nil || at < 0 {
		return nil, err
	}
	if at&deeper != 0 {
		return nil, damaged("its resources lie too deep")
	}
	entry, err := f.load(root+at, dataEntrySize)
	if err != nil {
		return nil, err
	}
	if len(entry) < dataEntrySize {
		return nil, damaged("its version resource is cut off")
	}
	return f.load(int64(le32(entry, 0)), min(int64(le32(entry, 4)), maxVersion))
}

// descend goes one level down to the first of the ids that is there, else to the first entry.
func (f *file) descend(root, at int64, ids ...int) (int64, error) {
	if at&deeper == 0 {
		return 0, damaged("its resources end too early")
	}
	for _, id := range append(ids, anyLanguage) {
		next, err := f.child(root, at&^deeper, id)
		if err != nil || next >= 0 {
			return next, err
		}
	}
	return notFound, nil
}

// child looks for an id in one level of the tree and returns where it leads, notFound if it isn't there.
func (f *file) child(root, level int64, id int) (int64, error) {
	head, err := f.load(root+level, treeHeader)
	if err != nil {
		return 0, err
	}
	if len(head) < treeHeader {
		return 0, damaged("its resources are cut off")
	}
	count := min(int64(le16(head, 12))+int64(le16(head, 14)), maxTreeLevel)
	entries, err := f.load(root+level+treeHeader, count*treeEntry)
	if err != nil {
		return 0, err
	}
	for ; len(entries) >= treeEntry; entries = entries[treeEntry:] {
		if id == anyLanguage || le32(entries, 0) == uint32(id) {
			return int64(le32(entries, 4)), nil
		}
	}
	return notFound, nil
}
