package script

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fettlehq/fettle/internal/catalog"
	"github.com/fettlehq/fettle/internal/patch"
	"github.com/fettlehq/fettle/internal/repo/publish"
)

const platform = "debian-12-amd64"

// The archives of the made-up catalog.
const (
	stable   = "aaaaaaaaaaaaaaaa"
	security = "bbbbbbbbbbbbbbbb"
)

// madeUp is a small catalog: an exploited hole in openssl, a plain tzdata, and
// billing, whose installation fails. Version 2 knows a newer openssl, version 3
// also an application that can be taken back.
func madeUp(version int64, now time.Time) catalog.Contents {
	openssl := fix("openssl", "3.0.17-1~deb12u3", patch.Critical, "libssl3", "openssl")
	if version > 1 {
		openssl = fix("openssl", "3.0.18-1~deb12u1", patch.Critical, "libssl3", "openssl")
	}
	openssl.Advisories = []string{"DSA-5764-1"}
	openssl.CVEs = []patch.CVEFix{{ID: "CVE-2026-1001", FixedIn: openssl.Version}}
	tzdata := fix("tzdata", "2026a-0+deb12u1", patch.Unknown, "tzdata")
	tzdata.Classification, tzdata.Archives, tzdata.Items[0].Arch = patch.Update, []string{stable}, "all"
	tzdata.Items[0].Archives = nil
	billing := fix("billing", "1.1-1", patch.Moderate, "billing")
	all := []patch.Patch{billing, openssl, tzdata}
	if version > 2 {
		all = append(all, app("ledger", "1.0", ""), app("ledger", "2.0", "1.0"))
	}
	archive := func(id, label, codename string, isSecurity bool) catalog.Archive {
		return catalog.Archive{
			ID: id, Label: label, Origin: "Debian", Suite: codename, Codename: codename, Path: codename, Security: isSecurity,
			Date: now.UTC().Truncate(time.Second), Signers: []string{"0123456789ABCDEF"},
			InRelease: blobOf("InRelease of " + codename),
		}
	}
	return catalog.Contents{
		Header: catalog.Header{
			Format: catalog.Format, Platform: platform, Version: version, Created: now.UTC().Truncate(time.Second),
			Archives: []catalog.Archive{archive(stable, "Debian", "bookworm", false), archive(security, "Debian-Security", "bookworm-security", true)},
		},
		Patches:    all,
		Advisories: []patch.Advisory{{ID: "DSA-5764-1", Vendor: "debian", Title: "openssl security update", Severity: patch.Critical, CVEs: []string{"CVE-2026-1001"}}},
		Vulnerabilities: []patch.Vulnerability{{
			ID: "CVE-2026-1001", Severity: patch.Critical, CVSS: 9.8, EPSS: 0.91, KEV: &patch.KEV{Added: "2026-11-01", Due: "2026-11-22"},
		}},
	}
}

// fix is a security patch of one source package.
func fix(source, version string, severity patch.Severity, packages ...string) patch.Patch {
	p := patch.Patch{
		ID: patch.ID("debian-12:amd64:" + source + ":" + version), Vendor: "debian", Platform: platform, Product: source, Version: version,
		Classification: patch.Security, Severity: severity, Archives: []string{security}, Install: patch.Manifest{Kind: "apt"},
		Evidence: patch.Evidence{Verdict: patch.Vouched, Checks: []string{"InRelease is signed by 0123456789ABCDEF", "the index names the hash"}},
	}
	for _, name := range packages {
		file := name + "_" + version + "_amd64.deb"
		b := blobOf(file)
		p.Items = append(p.Items, patch.Item{
			Kind: "dpkg", Name: name, Arch: "amd64", Version: version, Payload: patch.Payload{SHA256: b.SHA256, Size: b.Size, Name: "pool/" + file},
		})
	}
	return p
}

// app is a version of an application with an installer of its own, which
// restores the version before it.
func app(name, version, restores string) patch.Patch {
	p := fix(name, version, patch.Low, name)
	p.Classification = patch.Application
	p.Install = patch.Manifest{Kind: "exe", Argv: []string{"{payload}", "/S"}, UninstallArgv: []string{"{uninstall}", "/S"}}
	if restores != "" {
		p.Install.Restores = fix(name, restores, patch.Low, name).ID
	}
	return p
}

func blobOf(text string) catalog.Blob {
	sum := sha256.Sum256([]byte(text))
	return catalog.Blob{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(text))}
}

// fill signs the catalog and puts the files that it names beside it.
func fill(r *publish.Repository, c catalog.Contents, now time.Time) error {
	ctx := context.Background()
	var texts []string
	for _, a := range c.Header.Archives {
		texts = append(texts, "InRelease of "+a.Codename)
	}
	for _, p := range c.Patches {
		for _, it := range p.Items {
			texts = append(texts, strings.TrimPrefix(it.Payload.Name, "pool/"))
		}
	}
	for _, text := range texts {
		if _, err := r.AddPayload(ctx, strings.NewReader(text)); err != nil {
			return err
		}
	}
	var shard bytes.Buffer
	if err := catalog.Encode(&shard, c); err != nil {
		return err
	}
	sum := sha256.Sum256(shard.Bytes())
	custom, err := json.Marshal(map[string]any{
		"platform": platform, "version": c.Header.Version, "created": c.Header.Created,
		"sha256": hex.EncodeToString(sum[:]), "size": shard.Len(),
	})
	if err != nil {
		return err
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		return err
	}
	if _, err := r.Add(ctx, "catalog/"+platform+".shard.zst", bytes.NewReader(enc.EncodeAll(shard.Bytes(), nil)), custom); err != nil {
		return err
	}
	_, err = r.Publish(ctx, now)
	return err
}
