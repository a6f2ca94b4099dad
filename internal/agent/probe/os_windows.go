package probe

import "io/fs"

const nonblock = 0

var errNotDir = fs.ErrNotExist
