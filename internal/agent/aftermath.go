package agent

import (
	"context"
	"path"
	"runtime"
	"slices"
	"time"

	"github.com/fettlehq/fettle/internal/deploy"
	"github.com/fettlehq/fettle/internal/inventory"
	"github.com/fettlehq/fettle/internal/run"
)

// restartTimeout bounds the restart of one service.
const restartTimeout = 3 * time.Minute

// keptUp are units that are reported and never restarted by Fettle: restarting
// them ends sessions, cuts the network or takes the agent down. The choice
// follows what needrestart leaves alone by default.
var keptUp = []string{
	"dbus*.service", "systemd-*.service", "user@*.service", "getty@*.service", "serial-getty@*.service",
	"fettle-agent.service", "display-manager.service", "gdm*.service", "lightdm.service", "sddm.service",
	"NetworkManager.service", "networking.service", "wpa_supplicant.service", "docker.service", "containerd.service",
	"libvirtd.service", "qemu*.service", "wg-quick@*.service", "openvpn*.service",
}

// aftermath looks at the machine after an installation: which services run
// replaced files, restarted where the order asks for it, and whether a reboot
// became due. Result.RebootDue is about this installation: a reboot that was
// due before for the same reasons is not its affair.
func aftermath(ctx context.Context, root string, before inventory.State, restart bool, r *deploy.Result) error {
	if r.RebootDue && root == "/" { // an installer said so; before the scan, which is to find it
		_ = noteRebootDue("an installation of Fettle's is completed by a restart") // the result says it in any case
	}
	snap, _, err := takeInventory(ctx, root)
	if err != nil {
		return err
	}
	if restart && root == "/" && runtime.GOOS == "linux" {
		if r.Restarted = restartUnits(ctx, run.OS{}, snap.State.RestartsDue); len(r.Restarted) > 0 {
			if snap, _, err = takeInventory(ctx, root); err != nil {
				return err
			}
		}
	}
	r.RestartsDue = snap.State.RestartsDue
	// What the installer itself said counts in any case (exit code 3010).
	r.RebootDue = r.RebootDue || rebootBecameDue(before, snap.State)
	return nil
}

func rebootBecameDue(before, after inventory.State) bool {
	if !after.RebootDue || !before.RebootDue {
		return after.RebootDue
	}
	return slices.ContainsFunc(after.RebootReasons, func(reason string) bool { return !slices.Contains(before.RebootReasons, reason) })
}

// restartUnits restarts what may be restarted and returns what came up again.
// try-restart leaves a unit alone that was stopped meanwhile.
func restartUnits(ctx context.Context, runner run.Runner, units []string) (restarted []string) {
	for _, u := range units {
		if slices.ContainsFunc(keptUp, func(pattern string) bool { ok, _ := path.Match(pattern, u); return ok }) {
			continue
		}
		res, err := runner.Run(ctx, run.Cmd{Argv: []string{"systemctl", "try-restart", "--", u}, Timeout: restartTimeout})
		if err == nil && res.ExitCode == 0 {
			restarted = append(restarted, u)
		}
	}
	return restarted
}
