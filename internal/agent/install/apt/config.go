package apt

import (
	"fmt"
	"os"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/fault"
)

func (w *workspace) writeConfig() error {
	if err := os.WriteFile(w.path("apt.conf"), []byte(w.config()), 0o644); err != nil {
		return fault.Wrap(err, diskCode(err), "apt: write the configuration")
	}
	return nil
}

// config is read by apt after the machine's own configuration ("-c"), so that
// it wins; $APT_CONFIG is read before apt.conf.d and would not. Freshness is
// the signed repository's business (its timestamp role), so Valid-Until is not
// looked at: a deployment may come a week after its approval. The sandbox user
// is off because everything is a local file that was verified by hash, in a
// folder that others can't enter. apt.conf(5).
func (w *workspace) config() string {
	return fmt.Sprintf(`Dir::State::lists "%[1]s/lists";
Dir::Cache "%[1]s/cache";
Dir::Cache::archives "archives";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "%[1]s/sources";
Acquire::Languages "none";
Acquire::GzipIndexes "false";
Acquire::Check-Valid-Until "false";
Acquire::ForceHash "SHA256";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::IndexTargets::deb::Packages::CompressionTypes "uncompressed";
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "false";
APT::Get::Remove "false";
APT::Get::AutomaticRemove "false";
APT::Get::Always-Include-Phased-Updates "true";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Color "0";
APT::Keep-Downloaded-Packages "true";
Binary::apt-get::APT::Keep-Downloaded-Packages "true";
Dpkg::Use-Pty "1";
Dpkg::Progress-Fancy "0";
DPkg::Lock::Timeout "%[2]d";
Dpkg::Options { %[3]s };
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
`, w.dir, int(lockTimeout.Seconds()), quoted(conffileOptions(w.job.Conffile)))
}

// conffileOptions are dpkg's options for the policy. They come after those of
// the machine's apt.conf and dpkg.cfg and undo what those say of it.
func conffileOptions(policy deploy.Conffile) []string {
	if policy == deploy.TakeNew {
		return []string{"--force-confnew", "--no-force-confold", "--no-force-confdef"}
	}
	return []string{"--force-confdef", "--force-confold", "--no-force-confnew"}
}

func quoted(words []string) (out string) {
	for _, word := range words {
		out += `"` + word + `"; `
	}
	return out
}
