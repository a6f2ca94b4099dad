import { Alert, Text } from "@mantine/core";
import { bytes, capital, count, span } from "../look/words";
import { type Payloads, useStatus } from "./catalog";

/** Where it is seen at once: the server's disk has no room for more files of vendors. */
export function DiskTrouble() {
  const { data } = useStatus();
  return data?.payloads ? <DiskNotice of={data.payloads} /> : null;
}

/** What is the matter with the disk, what comes of it and what to do; nothing when there is room. */
export function DiskNotice({ of: p }: { of: Payloads }) {
  if (!p.error) return null;
  return (
    <Alert color="red" role="alert" title="The server's disk has no room for more files of vendors">
      <Text size="sm">{capital(p.error)}.</Text>
      <Text size="sm">
        Until there is room no machine can be given what the server does not have yet: such deployments wait, and go on
        by themselves afterwards.
      </Text>
      <Text size="sm">
        Free space on that disk or make it larger; <code>keep_free_mib</code> in the server's settings says how much
        files of vendors leave free. {idle(p)}
      </Text>
    </Alert>
  );
}

/** What leaves by itself. */
function idle(p: Payloads): string {
  if (p.idle === 0 || p.keep_idle_seconds < 0) return "";
  const what = `${count(p.idle, "file")} (${bytes(p.idle_bytes)}) that nobody needs now`;
  return `${what} will be removed after ${span(p.keep_idle_seconds)} without use; a shorter keep_payloads does it sooner.`;
}
