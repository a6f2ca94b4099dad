import { Alert, Text } from "@mantine/core";
import { Tag } from "../look/Tag";
import { ago, count, moment } from "../look/words";
import { type Damaged, useStatus } from "./catalog";

/** On the page that is seen first: files of vendors that the server's disk damaged. */
export function DamagedFiles() {
  const { data } = useStatus();
  return <DamagedNotice files={data?.payloads?.damaged ?? []} now={new Date()} />;
}

/** What happened to them, whether it was mended, and what to do; nothing when there are none. */
export function DamagedNotice({ files, now }: { files: Damaged[]; now: Date }) {
  if (files.length === 0) return null;
  const open = files.filter((f) => !f.mended).length;
  const which = count(files.length, "file");
  return (
    <Alert
      color={open > 0 ? "red" : "yellow"}
      role={open > 0 ? "alert" : "status"}
      title={`The server's disk damaged ${which} within the last week`}
    >
      <Text size="sm">
        {open === 0 ? "Mended: good copies are here again. " : `${count(open, "file")} without a good copy. `}
        The damaged bytes were set aside; no machine installs them.
      </Text>
      <Text size="sm">
        Look at the disk and the memory of the machine that the server runs on.
        {open > 0 &&
          " What a task or the catalog needs is fetched anew by itself; the server's log says why it can't be."}
      </Text>
      <details>
        <summary>Which {files.length === 1 ? "file" : "files"}</summary>
        <ul className="plain" aria-label="Damaged files">
          {[...files]
            .sort((a, b) => b.at.localeCompare(a.at))
            .map((f) => (
              <li key={f.sha256}>
                <span className="version">{f.sha256}</span>, found <span title={moment(f.at)}>{ago(f.at, now)}</span>{" "}
                {f.mended ? <Tag tone="good">Fetched anew</Tag> : <Tag tone="bad">No good copy</Tag>}
              </li>
            ))}
        </ul>
        <Text size="sm" mt="xs">
          The audit log has each of them as payload.damaged; “fettle doctor” says the same.
        </Text>
      </details>
    </Alert>
  );
}
