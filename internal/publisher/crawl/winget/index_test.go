package winget

import (
	"archive/zip"
	"bytes"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/fault"
)

const (
	indexJSON = `[{"Name":"Tool","PackageId":"Maker.Tool","Version":"2.0","Tags":["a"],"LastUpdate":"2026-08-12T20:44:35+00:00"},{"PackageId":"Git.Git","Version":"2.55.0.3"}]`
	indexCSV  = "\ufeff\"PackageId\",\"Version\",\"Name\"\r\n\"Maker.Tool\",\"2.0\",\"To,ol\"\r\n\"Git.Git\",\"2.55.0.3\",\"Git\"\r\n"
)

func readIndex(data []byte) ([]string, int, error) {
	var out []string
	n, err := ReadIndex(context.Background(), bytes.NewReader(data), int64(len(data)), func(x Indexed) { out = append(out, x.Identifier+" "+x.Version) })
	slices.Sort(out)
	return out, n, err
}

// database makes an index.db with winget's tables.
func database(t testing.TB, statements ...string) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "index.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func schema2(t testing.TB) []byte {
	return database(t, `CREATE TABLE packages(id TEXT NOT NULL, name TEXT NOT NULL, moniker TEXT, latest_version TEXT NOT NULL, arp_min_version TEXT, arp_max_version TEXT, hash BLOB)`,
		`INSERT INTO packages VALUES ('Maker.Tool','Tool',NULL,'2.0',NULL,NULL,NULL), ('Git.Git','Git','git','2.55.0.3',NULL,NULL,NULL)`)
}

func schema1(t testing.TB) []byte {
	return database(t, `CREATE TABLE ids(id TEXT)`, `CREATE TABLE versions(version TEXT)`, `CREATE TABLE manifest(id INT64, name INT64, moniker INT64, version INT64, channel INT64, pathpart INT64)`,
		`INSERT INTO ids(rowid, id) VALUES (7,'Maker.Tool'), (9,'Git.Git')`, `INSERT INTO versions(rowid, version) VALUES (1,'2.0'), (2,'2.55.0.3')`,
		`INSERT INTO manifest(id, version) VALUES (7,1), (9,2)`)
}

func msix(t testing.TB, name string, db []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create(name)
	if err == nil {
		_, err = f.Write(db)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(data []byte) []byte {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return z.EncodeAll(data, nil)
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestIndexForms: every form of index says the same.
func TestIndexForms(t *testing.T) {
	want := []string{"Git.Git 2.55.0.3", "Maker.Tool 2.0"}
	for name, data := range map[string][]byte{
		"json": []byte(indexJSON), "json.zst": zstded([]byte(indexJSON)), "csv": []byte(indexCSV), "csv.gz": gzipped(t, []byte(indexCSV)),
		"schema 1": schema1(t), "schema 2": schema2(t), "db.zst": zstded(schema2(t)), "source.msix": msix(t, "Public/index.db", schema1(t)),
	} {
		if got, n, err := readIndex(data); err != nil || n != 2 || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %d, %v", name, got, n, err)
		}
	}
}

func TestIndexRefused(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing": nil, "a web page": []byte("<!DOCTYPE html>"), "cut json": []byte(indexJSON[:100]), "unended json": []byte(strings.TrimSuffix(indexJSON, "]")),
		"empty json": []byte("[]"), "no version": []byte(`[{"PackageId":"A.B"}]`), "csv without columns": []byte("a,b\n1,2\n"), "ragged csv": []byte("PackageId,Version\n\"a"),
		"cut zstd": zstded([]byte(indexJSON))[:20], "cut gzip": gzipped(t, []byte(indexJSON))[:12], "another database": database(t, `CREATE TABLE t(a)`),
		"damaged database": append([]byte(sqliteMagic), bytes.Repeat([]byte{1}, 200)...), "another package": msix(t, "Other", nil), "damaged package": []byte("PK\x03\x04..."),
		"package of text": msix(t, "Public/index.db", []byte("hello")),
	} {
		if got, n, err := readIndex(data); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, %d, %v", name, got, n, err)
		}
	}
}

func FuzzReadIndex(f *testing.F) {
	f.Add([]byte(indexJSON))
	f.Add([]byte(indexCSV))
	f.Add(zstded([]byte(indexJSON)))
	f.Add(msix(f, "Public/index.db", schema2(f)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<20 {
			return
		}
		if _, n, err := readIndex(data); err != nil && !fault.Is(err, fault.Invalid) || err == nil && n == 0 {
			t.Errorf("%d rows, %v", n, err)
		}
	})
}
