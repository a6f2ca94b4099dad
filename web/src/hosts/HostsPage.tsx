import { Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { CatalogNotes, CatalogTrouble } from "../catalog/CatalogBar";
import { SearchIcon } from "../look/icons";
import { Empty, Show } from "../look/Notice";
import { Page, Sheet } from "../look/Page";
import { Health, Tag } from "../look/Tag";
import { ago, count, moment } from "../look/words";
import { type Host, notes, useHosts } from "./hosts";
import { Summary } from "./Summary";

export function HostsPage() {
  const [typed, setTyped] = useState("");
  const [q] = useDebouncedValue(typed.trim().toLowerCase(), 250);
  const hosts = useHosts(q);
  return (
    <Page title="Machines" about="Every machine that has enrolled, and what it lacks.">
      <CatalogTrouble />
      <Summary />
      <Group justify="space-between">
        <TextInput
          aria-label="Search machines by the beginning of their name"
          placeholder="Name begins with…"
          leftSection={<SearchIcon />}
          value={typed}
          onChange={(e) => setTyped(e.currentTarget.value)}
          w={280}
        />
      </Group>
      <Show of={hosts} what="machines">
        {(data) => {
          const list = data.pages.flatMap((p) => p.items);
          if (list.length === 0) return q ? <NoMatch q={q} clear={() => setTyped("")} /> : <NoMachines />;
          return (
            <Stack gap="sm">
              <HostTable hosts={list} />
              <Group justify="space-between">
                <Text size="sm" className="quiet">
                  {count(list.length, "machine")}
                  {hosts.hasNextPage ? " shown, there are more" : ""}
                </Text>
                {hosts.hasNextPage && (
                  <Button variant="default" loading={hosts.isFetchingNextPage} onClick={() => hosts.fetchNextPage()}>
                    Show more
                  </Button>
                )}
              </Group>
            </Stack>
          );
        }}
      </Show>
      <CatalogNotes />
    </Page>
  );
}

function HostTable({ hosts }: { hosts: Host[] }) {
  const now = new Date();
  return (
    <Sheet label="Machines">
      <thead>
        <tr>
          <th scope="col">Machine</th>
          <th scope="col">Health</th>
          <th scope="col" className="numeric" title="Security updates that the machine lacks">
            Missing security
          </th>
          <th scope="col" className="numeric" title="All updates that the machine lacks, security ones included">
            Missing in all
          </th>
          <th scope="col" className="numeric" title="Updates among them that mend flaws listed by CISA as exploited">
            Exploited
          </th>
          <th scope="col">Operating system</th>
          <th scope="col">Last contact</th>
          <th scope="col">Notes</th>
        </tr>
      </thead>
      <tbody>
        {hosts.map((h) => (
          <tr key={h.id} className="row">
            <td>
              <Link to="/machines/$id" params={{ id: h.id }} className="link">
                {h.hostname || h.id}
              </Link>
            </td>
            <td>
              <Health of={h.health} />
            </td>
            <Figure n={h.missing_security} known={h.health !== "unknown"} />
            <Figure n={h.missing} known={h.health !== "unknown"} />
            <Figure n={h.exploited} known={h.health !== "unknown"} />
            <td>{h.os}</td>
            <td title={moment(h.last_seen)}>
              {h.online ? <Tag tone="good">Online</Tag> : <span className="quiet">{ago(h.last_seen, now)}</span>}
            </td>
            <td className="notes">
              <Group gap={6}>
                {notes(h).map((n) => (
                  <Tag key={n} tone="note">
                    {n}
                  </Tag>
                ))}
              </Group>
            </td>
          </tr>
        ))}
      </tbody>
    </Sheet>
  );
}

/** A number in a table; a dash where nobody knows it. */
function Figure({ n, known }: { n: number; known: boolean }) {
  return (
    <td className={`numeric ${n > 0 && known ? "" : "zero"}`}>
      {known ? n.toLocaleString() : <span title="Not scanned yet">–</span>}
    </td>
  );
}

function NoMatch({ q, clear }: { q: string; clear: () => void }) {
  return (
    <Empty title={`No machine's name begins with “${q}”`}>
      <Button mt="sm" variant="default" onClick={clear}>
        Show all machines
      </Button>
    </Empty>
  );
}

function NoMachines() {
  return (
    <Empty title="No machine has enrolled yet">
      <p>
        On this server run <code>fettle enroll-token</code>. It prints one line; run that line as root on each machine
        to be patched.
      </p>
    </Empty>
  );
}
