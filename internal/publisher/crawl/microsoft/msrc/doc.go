// Package msrc reads the documents of Microsoft's Security Response Center:
// CVRF, one a month, and CSAF, one a vulnerability.
//
// Both are folded to the same form, a Month: what each KB fixes in each
// product. A CVRF document is read as a stream, one vulnerability at a time.
//
// Formats: https://github.com/microsoft/MSRC-Microsoft-Security-Updates-API,
// ICASI CVRF 1.1 and OASIS CSAF 2.0.
package msrc
