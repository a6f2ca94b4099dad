package hardware

import (
	"bytes"
	"strings"

	"github.com/fettlehq/fettle/internal/inventory"
)

// The structures of the System Management BIOS Reference Specification
// (DMTF DSP0134, chapter 7) that are read, and where their texts are named.
const (
	smbiosHeader   = 4
	smbiosFirmware = 0 // BIOS Information: 5 is the version
	smbiosSystem   = 1 // System Information: 4 maker, 5 product, 7 serial number
	smbiosEnd      = 127
)

// smbios takes maker, model, serial number and firmware version out of the
// firmware's tables. They come from the machine's maker and are often filled
// with nonsense, so nothing in them is believed.
func smbios(table []byte, h *inventory.Hardware) {
	for len(table) >= smbiosHeader {
		kind, length := table[0], int(table[1])
		if length < smbiosHeader || length > len(table) || kind == smbiosEnd {
			return
		}
		fixed, texts := table[:length], table[length:]
		end := bytes.Index(texts, []byte{0, 0})
		if end < 0 {
			return
		}
		list := bytes.Split(texts[:end], []byte{0})
		set := func(into *string, at int) {
			if at < len(fixed) && fixed[at] > 0 && int(fixed[at]) <= len(list) {
				if text := maker(list[fixed[at]-1]); text != "" {
					*into = text
				}
			}
		}
		switch kind {
		case smbiosFirmware:
			set(&h.Firmware, 5)
		case smbiosSystem:
			set(&h.Vendor, 4)
			set(&h.Model, 5)
			set(&h.Serial, 7)
		}
		table = texts[end+2:]
	}
}

// maker is a text of the tables, "" for those that makers forget to fill in.
func maker(b []byte) string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(b), ""))
	switch strings.ToLower(text) {
	case "to be filled by o.e.m.", "default string", "not specified", "system manufacturer", "system product name", "system serial number", "none":
		return ""
	}
	return text
}
