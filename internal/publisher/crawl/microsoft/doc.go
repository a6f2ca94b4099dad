// Package microsoft crawls what Microsoft says of its patches.
//
// The Security Update Guide's CVRF documents (one a month, revised in place)
// name for every CVE the KBs that fix it, with products, builds and what each
// KB replaces. Fetch asks for the list of documents and brings those whose
// date has changed; each is read as a stream and folded by KB and product, so
// that a document of many megabytes becomes a few kilobytes. Parse puts the
// folded months together: advisories by KB, vulnerabilities by CVE, and one
// patch for each KB and platform, with the supersedence between them resolved
// over the years.
//
// Cumulative updates are judged by the operating system's build, never by the
// list of installed KBs alone. See docs/microsoft.md for the rules and for what
// the documents do not say.
//
// Formats: https://github.com/microsoft/MSRC-Microsoft-Security-Updates-API and
// ICASI CVRF 1.1.
package microsoft
