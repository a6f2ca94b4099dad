// Package store holds all SQL of the server, one file per noun.
//
// The same text of SQL and the same migrations run on SQLite and PostgreSQL:
// times are UTC milliseconds, flags SMALLINT, documents the JSON of a word.
// Packages sqlite and postgres open a database, storetest holds the suite that
// both pass.
//
// A tenant's rows are reached only through DB.In(scope): every query that it
// makes begins with the scope's condition, and a write outside the scope is
// refused with fault.Denied. A row outside the scope reads as fault.NotFound.
// What has no tenant (sessions, jobs) stands on DB itself.
//
// Below that, every statement says whose rows it may see (Sight): Pool takes
// nothing without. PostgreSQL holds it to that by row-level security, also
// where a condition was forgotten; on SQLite the conditions are the only wall.
// Who sees more than one tenant's rows by its own decision is listed in a test.
// A new table of tenants' rows has a column tenant, which a further migration in
// postgres/wall.go walls in, and a row in storetest.Furnish.
//
// Errors: fault.NotFound, fault.Conflict for a duplicate or a row that has
// moved on, fault.Invalid for input that can't be kept, fault.Exhausted for a
// full disk, fault.Unavailable when the database can't be reached or stays
// busy, fault.Cancelled when the context ends.
package store
