import { Button, Checkbox, Group, Modal, ScrollArea, Stack, Text, Textarea } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { Failure } from "../look/Notice";
import { count } from "../look/words";
import { useRollback } from "./deployments";

interface Props {
  patches: string[];
  machines: { id: string; name: string }[];
  close: () => void;
}

/** Asks why, and takes patches back on machines that have them. */
export function RollbackDialog({ patches, machines, close }: Props) {
  const [reason, setReason] = useState("");
  const [keep, setKeep] = useState(false);
  const rollback = useRollback();
  const navigate = useNavigate();
  const what = count(patches.length, "patch", "patches");
  const where = machines.length === 1 ? (machines[0]?.name ?? "") : count(machines.length, "machine");

  const submit = (event: FormEvent) => {
    event.preventDefault();
    rollback.mutate(
      { patches, endpoints: machines.map((m) => m.id), reason: reason.trim(), keep_approval: keep },
      {
        onSuccess: (made) => {
          close();
          navigate({ to: "/deployments/$id", params: { id: made.id } });
        },
      },
    );
  };

  return (
    <Modal
      opened
      onClose={close}
      title={`Roll back ${what} on ${where}`}
      size="lg"
      centered
      closeButtonProps={{ "aria-label": "Close" }}
      attributes={{ header: { role: "none" } }}
    >
      <form onSubmit={submit}>
        <Stack gap="md">
          {rollback.error && <Failure error={rollback.error} />}
          <ScrollArea.Autosize mah={160} type="auto">
            <ul className="cves">
              {patches.map((id) => (
                <li key={id} className="version">
                  {id}
                </li>
              ))}
            </ul>
          </ScrollArea.Autosize>
          <Text size="sm">
            Each is uninstalled, and the version before it is installed again where the catalog names one. It begins at
            once.
          </Text>
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
            <Button type="submit" color="red" loading={rollback.isPending}>
              Roll back {what}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
