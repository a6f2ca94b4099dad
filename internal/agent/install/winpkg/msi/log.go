package msi

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf16"
)

const (
	// maxLogLine bounds one line of a log in bytes; the rest of a longer one
	// is dropped.
	maxLogLine = 4 << 10
	// kept is how many lines are kept before the place of the failure.
	kept = 30
	// maxLog bounds how much of a log is read, in bytes.
	maxLog = 512 << 20
)

// excerpt is what a log of msiexec (/l*v) says about a failure.
type excerpt struct {
	// before are the last lines up to the first "Return value 3", where the
	// failing action ended; all later ones are those of its callers. Without
	// such a line they are the log's last.
	before []string
	failed bool // there was such a line
	// held are the lines that name processes which keep files in use.
	held []string
}

func readLog(path string) excerpt {
	f, err := os.Open(path)
	if err != nil {
		return excerpt{}
	}
	defer f.Close()
	return parseLog(io.LimitReader(f, maxLog))
}

// parseLog reads a log in UTF-16 (with its mark) or in single bytes. Memory
// does not grow with it.
func parseLog(r io.Reader) excerpt {
	var x excerpt
	lines(r, func(line string) {
		if strings.Contains(line, "is being held in use") && len(x.held) < 5 {
			x.held = append(x.held, trimmed(line))
		}
		if x.failed || line == "" || secret(line) {
			return
		}
		x.before = append(x.before, line)
		if len(x.before) > kept {
			x.before = slices.Delete(x.before, 0, 1)
		}
		x.failed = strings.Contains(line, "Return value 3.")
	})
	return x
}

// secret reports lines with the values of properties, which may be passwords.
// They never leave the machine.
func secret(line string) bool {
	return strings.HasPrefix(line, "Property(") || strings.Contains(line, "Command Line:") || strings.Contains(line, "PROPERTY CHANGE:")
}

// lines calls each with every line, decoded and without its end.
func lines(r io.Reader, each func(string)) {
	br := bufio.NewReaderSize(r, 64<<10)
	mark, _ := br.Peek(2)
	wide := bytes.Equal(mark, []byte{0xff, 0xfe})
	if wide {
		_, _ = br.Discard(2)
	}
	var line []byte
	end := func() {
		each(strings.TrimRight(decode(line, wide), "\r"))
		line = line[:0]
	}
	for {
		low, err := br.ReadByte()
		high := byte(0)
		if wide && err == nil {
			high, err = br.ReadByte()
		}
		switch {
		case err != nil:
			if len(line) > 0 {
				end()
			}
			return
		case low == '\n' && high == 0:
			end()
		case len(line) >= maxLogLine: // the rest of the line is dropped
		case wide:
			line = append(line, low, high)
		default:
			line = append(line, low)
		}
	}
}

func decode(line []byte, wide bool) string {
	if !wide {
		return strings.ToValidUTF8(strings.ReplaceAll(string(line), "\x00", ""), "�")
	}
	units := make([]uint16, len(line)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(line[2*i:])
	}
	return strings.ReplaceAll(string(utf16.Decode(units)), "\x00", "")
}

// reason puts the lines that explain into one sentence: the installer's own
// errors where there are some, else the last words before the failing action
// ended, and who holds files.
func (x excerpt) reason() string {
	var out []string
	for _, l := range x.before {
		if t := trimmed(l); telling(t) && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	for i := len(x.before) - 1; x.failed && i >= 0 && len(out) == 0; i-- {
		if t := trimmed(x.before[i]); !strings.HasPrefix(t, "Action ") && strings.ContainsAny(t, "abcdefghijklmnopqrstuvwxyz") {
			out = append(out, t)
		}
	}
	out = out[max(0, len(out)-3):]
	for _, h := range x.held {
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return strings.Join(out, " | ")
}

// telling reports whether a line names an error: "Error 1920. Service ...",
// "Product: X -- Error 1720...", "CustomAction Y returned actual error code 1".
func telling(t string) bool {
	return strings.HasPrefix(t, "Error ") || strings.HasPrefix(t, "ERROR") || strings.Contains(t, " -- ") ||
		strings.Contains(t, "returned actual error code") || strings.Contains(t, "-- Error") || strings.HasPrefix(t, "Info 1603")
}

// trimmed drops the prefix "MSI (s) (0C:D4) [10:11:12:345]: " and blanks.
func trimmed(line string) string {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "MSI (") {
		if _, rest, ok := strings.Cut(line, "]: "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return line
}
