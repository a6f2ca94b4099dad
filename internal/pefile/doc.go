// Package pefile reads what a Windows program (.exe, .dll, .sys) says of itself: for which processor it is and its version
// resource, as GetFileVersionInfo and VerQueryValue give it.
//
// Formats: Microsoft's "PE Format" and "VS_VERSIONINFO structure". It is used instead of debug/pe, which also wants a sound
// symbol table, and packed programs often have none; and it runs on any system, so that a server can look at payloads.
// Nothing in the file is believed: each offset is checked, and at most some hundred kB are read however large the file is.
// Language files (.mui) are not looked for.
package pefile
