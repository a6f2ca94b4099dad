import { Button, Group, Select, Stack, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { CatalogNotes, CatalogTrouble } from "../catalog/CatalogBar";
import { DamagedFiles } from "../catalog/Damaged";
import { DiskTrouble } from "../catalog/Disk";
import { Foot } from "../look/Filters";
import { SearchIcon } from "../look/icons";
import { Empty, Show } from "../look/Notice";
import { Page } from "../look/Page";
import { Sheet } from "../look/Sheet";
import { Health, Tag } from "../look/Tag";
import { ago, count, moment } from "../look/words";
import { mayEnrol, useMe } from "../session/session";
import { type Host, notes, useHosts, type With, withFrom, withs } from "./hosts";
import { Summary } from "./Summary";

export function HostsPage() {
  const [typed, setTyped] = useState("");
  const [q] = useDebouncedValue(typed.trim().toLowerCase(), 250);
  const { with: has } = useSearch({ strict: false }) as { with?: With };
  const navigate = useNavigate();
  const narrow = (to: With | undefined) => navigate({ to: "/machines", search: to ? { with: to } : {}, replace: true });
  const hosts = useHosts(q, has);
  return (
    <Page
      title="Machines"
      about="Every machine that has enrolled, and what it lacks."
      actions={<Add variant="filled" />}
    >
      <CatalogTrouble />
      <DiskTrouble />
      <DamagedFiles />
      <Summary />
      <Group gap="md" className="filters">
        <TextInput
          aria-label="Search machines by the beginning of their name"
          placeholder="Name begins with…"
          leftSection={<SearchIcon />}
          value={typed}
          onChange={(e) => setTyped(e.currentTarget.value)}
          w={280}
        />
        <Select
          aria-label="Which machines"
          placeholder="Whatever they have"
          data={withs}
          value={has ?? null}
          onChange={(word) => narrow(withFrom(word))}
          clearable
          clearButtonProps={{ "aria-label": "Whatever they have" }}
          w={250}
        />
      </Group>
      <Show of={hosts} what="machines">
        {(data) => {
          const list = data.pages.flatMap((p) => p.items);
          if (list.length === 0) {
            if (!q && !has) return <NoMachines />;
            const clear = () => {
              setTyped("");
              narrow(undefined);
            };
            return <NoMatch q={q} has={has} clear={clear} />;
          }
          return (
            <Stack gap="sm">
              <HostTable hosts={list} />
              <Foot of={hosts}>
                {count(list.length, "machine")}
                {hosts.hasNextPage ? " shown, there are more" : ""}
              </Foot>
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
    <Sheet
      label="Machines"
      head={[
        "Machine",
        "Health",
        "Notes",
        { name: "Missing security", title: "Security updates that the machine lacks", numeric: true },
        { name: "Missing in all", title: "All updates that the machine lacks, security ones included", numeric: true },
        { name: "Exploited", title: "Updates among them that mend flaws listed by CISA as exploited", numeric: true },
        "Last contact",
      ]}
    >
      {hosts.map((h) => (
        <tr key={h.id} className="row">
          <td className="machine">
            <Link to="/machines/$id" params={{ id: h.id }} className="link">
              {h.hostname || h.id}
            </Link>
            <div className="reason">{h.os}</div>
          </td>
          <td>
            <Health of={h.health} />
          </td>
          <td className="notes">
            <Group gap={6}>
              {notes(h).map((n) => (
                <Tag key={n.text} tone={n.tone} title={n.more}>
                  {n.text}
                </Tag>
              ))}
            </Group>
          </td>
          <Figure n={h.missing_security} known={h.health !== "unknown"} />
          <Figure n={h.missing} known={h.health !== "unknown"} />
          <Figure n={h.exploited} known={h.health !== "unknown"} />
          <td title={moment(h.last_seen)}>
            {h.online ? <Tag tone="good">Online</Tag> : <span className="quiet">{ago(h.last_seen, now)}</span>}
          </td>
        </tr>
      ))}
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

function NoMatch({ q, has, clear }: { q: string; has?: With; clear: () => void }) {
  return (
    <Empty title={has ? "No machine fits these filters" : `No machine's name begins with “${q}”`}>
      <Button mt="sm" variant="default" onClick={clear}>
        Show all machines
      </Button>
    </Empty>
  );
}

/** The way to the page that adds machines, for whoever may. */
function Add({ variant }: { variant: "filled" | "default" }) {
  const me = useMe();
  if (!mayEnrol(me.data)) return null;
  return (
    <Button variant={variant} renderRoot={(props) => <Link to="/add-machines" {...props} />}>
      Add machines
    </Button>
  );
}

function NoMachines() {
  const me = useMe();
  return (
    <Empty title="No machine has enrolled yet">
      {mayEnrol(me.data) ? (
        <Stack gap="sm" align="center">
          One line, run on a machine, enrols it and pins this server.
          <Add variant="default" />
        </Stack>
      ) : (
        "Someone with the role operator can add machines here."
      )}
    </Empty>
  );
}
