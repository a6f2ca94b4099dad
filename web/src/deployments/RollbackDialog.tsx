import { Button, Checkbox, Group, ScrollArea, Stack, Text, Textarea } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { Dialog } from "../look/Dialog";
import { Failure } from "../look/Notice";
import { count } from "../look/words";
import { useRollback } from "./deployments";

interface Props {
  patches: { id: string; label: string }[];
  machines: { id: string; name: string; offline?: boolean }[];
  /** What was installed with them and can't be taken back. */
  staying?: { patch: string; reason: string }[];
  /** What the machines have afterwards, where it is known. */
  outcome?: string;
  /** What the patch does to the machine. */
  reboot?: string;
  close: () => void;
}

/** Asks why, says what comes of it, and takes patches back on machines that have them. */
export function RollbackDialog({ patches, machines, staying = [], outcome, reboot, close }: Props) {
  const [reason, setReason] = useState("");
  const [keep, setKeep] = useState(false);
  const rollback = useRollback();
  const navigate = useNavigate();
  const what = count(patches.length, "patch", "patches");
  const where = machines.length === 1 ? (machines[0]?.name ?? "") : count(machines.length, "machine");
  const offline = machines.filter((m) => m.offline).length;

  const submit = (event: FormEvent) => {
    event.preventDefault();
    rollback.mutate(
      {
        patches: patches.map((p) => p.id),
        endpoints: machines.map((m) => m.id),
        reason: reason.trim(),
        keep_approval: keep,
      },
      {
        onSuccess: (made) => {
          close();
          navigate({ to: "/deployments/$id", params: { id: made.id } });
        },
      },
    );
  };

  return (
    <Dialog title={`Roll back ${what} on ${where}`} close={close} size="lg">
      <form onSubmit={submit}>
        <Stack gap="md">
          {rollback.error && <Failure error={rollback.error} />}
          <ScrollArea.Autosize mah={160} type="auto">
            <ul className="cves">
              {patches.map((p) => (
                <li key={p.id} title={p.id}>
                  {p.label}
                </li>
              ))}
            </ul>
          </ScrollArea.Autosize>
          {staying.length > 0 && (
            <ScrollArea.Autosize mah={120} type="auto">
              <Text size="sm" fw={600}>
                What stays
              </Text>
              <ul className="plain">
                {staying.map((s) => (
                  <li key={s.patch}>{s.reason}.</li>
                ))}
              </ul>
            </ScrollArea.Autosize>
          )}
          {machines.length > 1 && (
            <ScrollArea.Autosize mah={100} type="auto">
              <Text size="sm">On {machines.map((m) => m.name).join(", ")}</Text>
            </ScrollArea.Autosize>
          )}
          <div>
            <Text size="sm" fw={600}>
              What comes of it
            </Text>
            <ul className="plain">
              <li>
                {outcome ??
                  "Each is uninstalled, and the version before it is installed again where the catalog names one"}
                .
              </li>
              <li>
                Flaws that the {patches.length === 1 ? "patch mends are" : "patches mend are"} open there again, and
                whoever uses the product may be interrupted.
              </li>
              {(reboot === "always" || reboot === "maybe") && (
                <li>
                  {machines.length === 1 ? "The machine" : "The machines"}{" "}
                  {reboot === "always" ? "must" : "may have to"} restart: that is left to you.
                </li>
              )}
              <li>
                It begins at once
                {offline > 0 &&
                  `; ${count(offline, "machine")} ${offline === 1 ? "is" : "are"} offline and follow${offline === 1 ? "s" : ""} when back`}
                .
              </li>
            </ul>
          </div>
          <Textarea
            label="Reason"
            description="Auditors and the next administrator will ask"
            required
            autosize
            minRows={2}
            data-autofocus
            value={reason}
            onChange={(e) => setReason(e.currentTarget.value)}
          />
          <Checkbox
            label="Leave the approvals as they are"
            description="Otherwise the patches are declined for exactly these machines, so that no deployment puts them back"
            checked={keep}
            onChange={(e) => setKeep(e.currentTarget.checked)}
          />
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button type="submit" color="red.8" loading={rollback.isPending}>
              Roll back {what}
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
