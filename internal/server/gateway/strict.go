package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/fettlehq/fettle/internal/fault"
)

// maxDepth is how deeply the JSON of agents may nest. Messages of package wire
// need 8.
const maxDepth = 24

// read decodes the whole body of a request into v, strictly.
func read(r *http.Request, v any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return badBody(err)
	}
	return strict(body, v)
}

// badBody keeps the size limit's error and calls the rest the peer's.
func badBody(err error) error {
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return err
	}
	return fault.Wrap(err, fault.Invalid, "the message did not arrive whole")
}

// strict decodes exactly one JSON value: unknown fields, trailing text and
// nesting beyond maxDepth are refused (Invalid).
func strict(body []byte, v any) error {
	if err := checkDepth(body); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fault.Wrap(err, fault.Invalid, "the message is not well-formed")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "the message has something after its end")
	}
	return nil
}

// checkDepth counts brackets outside of strings. It runs before the decoder,
// which would follow nesting thousands deep.
func checkDepth(body []byte) error {
	depth, inString := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fault.New(fault.Invalid, "the message nests more than %d levels deep", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// text is what a machine may call itself: printable, at most 255 bytes.
func text(what, s string) error {
	if len(s) > 255 {
		return fault.New(fault.Invalid, "the %s is longer than 255 bytes", what)
	}
	for _, c := range s {
		if c < ' ' || c == 0x7f || c == '\uFFFD' {
			return fault.New(fault.Invalid, "the %s has an unprintable character", what)
		}
	}
	return nil
}
