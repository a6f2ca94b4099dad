import { Alert, Group, Stack, Text } from "@mantine/core";
import { CopyLine } from "../look/CopyLine";
import { Failure, Waiting } from "../look/Notice";
import { Tag } from "../look/Tag";
import { count } from "../look/words";
import { mayAudit, useMe } from "../session/session";
import { useVerdict, type Verdict } from "./audit";

/** Whether the entries are those that were written. */
export function Chain() {
  const me = useMe();
  const may = mayAudit(me.data, "*");
  const verdict = useVerdict(may);
  if (!may) {
    return (
      <Text size="sm" className="quiet">
        Whether the log is whole is checked by people with a role on the whole server.
      </Text>
    );
  }
  if (verdict.data) return <Outcome of={verdict.data} />;
  if (verdict.error) return <Failure error={verdict.error} again={verdict.refetch} />;
  return <Waiting what="the check of the whole log" />;
}

/** What checking the chains of hashes gave. */
export function Outcome({ of: v }: { of: Verdict }) {
  if (!v.ok) {
    return (
      <Alert color="red" role="alert" title="The audit log was changed behind the server's back">
        <Text size="sm">The first that does not fit: {v.problem}.</Text>
        <Text size="sm">
          What stands before it is whole. Compare the rest with an export or a backup that was kept elsewhere, and find
          out who can write the server's database; a damaged disk can do the same.
        </Text>
      </Alert>
    );
  }
  return (
    <details className="panel">
      <summary>
        <Group component="span" display="inline-flex" gap="xs" wrap="nowrap" maw="92%" align="flex-start">
          <Tag tone="good">Whole</Tag>
          <Text component="span" size="sm">
            All {count(v.entries, "entry", "entries")} of all logs checked: none was changed, moved or removed.
          </Text>
        </Group>
      </summary>
      <Stack gap="xs" px="md" pb="md">
        <Text size="sm" className="advice">
          Each entry holds the hash of the one before. Whoever can write the server's database could still write a whole
          log anew; then its last hashes are others. So keep this line, or an export, somewhere else.
        </Text>
        <CopyLine label="One hash over the last entries of all logs" text={v.head} />
      </Stack>
    </details>
  );
}
