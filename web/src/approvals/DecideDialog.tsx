import { Button, Group, ScrollArea, Select, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { Dialog } from "../look/Dialog";
import { Failure } from "../look/Notice";
import { count } from "../look/words";
import { type Decision, useDecide, useGroups } from "./approvals";

/** A patch as the dialog names it. */
export interface Choice {
  patch: string;
  label: string;
}

interface Props {
  decision: Decision["decision"];
  choices: Choice[];
  close: () => void;
  done: (said: string) => void;
}

const everyone = "";

/** Asks for whom and why, and sends the decision. */
export function DecideDialog({ decision, choices, close, done }: Props) {
  const [reason, setReason] = useState("");
  const [group, setGroup] = useState(everyone);
  const [review, setReview] = useState("");
  const groups = useGroups(true);
  const decide = useDecide();
  const approve = decision === "approve";
  const what = count(choices.length, "patch", "patches");
  const names = groups.data?.items ?? [];

  const submit = (event: FormEvent) => {
    event.preventDefault();
    const body: Decision = { decision, patches: choices.map((c) => c.patch) };
    if (reason.trim()) body.reason = reason.trim();
    if (group) body.group = group;
    if (review) body.review = new Date(`${review}T00:00:00`).toISOString();
    const whom = group ? `the group ${names.find((g) => g.id === group)?.name ?? group}` : "every machine";
    decide.mutate(body, {
      onSuccess: () => done(`${approve ? "Approved" : "Declined"} ${what} for ${whom}.`),
    });
  };

  return (
    <Dialog title={`${approve ? "Approve" : "Decline"} ${what}`} close={close} size="lg">
      <form onSubmit={submit}>
        <Stack gap="md">
          {decide.error && <Failure error={decide.error} />}
          <ScrollArea.Autosize mah={160} type="auto">
            <ul className="cves">
              {choices.map((c) => (
                <li key={c.patch} title={c.patch}>
                  {c.label}
                </li>
              ))}
            </ul>
          </ScrollArea.Autosize>
          {names.length > 0 && (
            <Select
              label="For"
              data={[
                { value: everyone, label: "Every machine" },
                ...names.map((g) => ({ value: g.id, label: g.name })),
              ]}
              value={group}
              onChange={(v) => setGroup(v ?? everyone)}
              allowDeselect={false}
            />
          )}
          <Textarea
            label="Reason"
            description={
              approve ? "May be left empty; it stands in the audit log" : "Auditors and the next administrator will ask"
            }
            required={!approve}
            autosize
            minRows={2}
            data-autofocus
            value={reason}
            onChange={(e) => setReason(e.currentTarget.value)}
          />
          {!approve && (
            <TextInput
              type="date"
              label="Look at it again on"
              description="May be left empty"
              value={review}
              onChange={(e) => setReview(e.currentTarget.value)}
            />
          )}
          <Text size="sm" className="quiet">
            {approve
              ? "Approving installs nothing by itself: a deployment does, within its windows."
              : "Declining beats approving: the patches are not installed until the decision is withdrawn."}
          </Text>
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button type="submit" color={approve ? undefined : "red.8"} loading={decide.isPending}>
              {approve ? "Approve" : "Decline"} {what}
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
