import { Anchor, Group, SegmentedControl, Stack, TextInput, Title } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { useState } from "react";
import { SearchIcon } from "../look/icons";
import { Empty, Show } from "../look/Notice";
import { Sheet } from "../look/Sheet";
import { Tag } from "../look/Tag";
import { Reference } from "../missing/Proof";
import type { HostDetail } from "./hosts";
import { kinds, ownerOf, type Software as Product, titleOf, useSoftware } from "./packages";

/** What a machine has: on Windows the programs first, elsewhere its packages. */
export function Software({ of: h }: { of: HostDetail }) {
  const onWindows = h.inventory?.os.family === "windows";
  const [kind, setKind] = useState(onWindows ? "arp" : "");
  const [typed, setTyped] = useState("");
  const [q, setQ] = useState("");
  const search = useDebouncedCallback((text: string) => setQ(text.trim()), 250);
  const software = useSoftware(h.id, q, kind);
  return (
    <Stack gap="sm">
      <Group justify="space-between">
        <Title order={2} size="h4">
          Installed software
        </Title>
        <Group gap="sm">
          {onWindows && (
            <SegmentedControl aria-label="What to list" size="xs" data={kinds} value={kind} onChange={setKind} />
          )}
          <TextInput
            aria-label="Search installed software"
            placeholder={onWindows ? "Name or publisher" : "Name"}
            size="xs"
            leftSection={<SearchIcon />}
            value={typed}
            onChange={(e) => {
              setTyped(e.currentTarget.value);
              search(e.currentTarget.value);
            }}
          />
        </Group>
      </Group>
      <Show of={software} what="installed software">
        {(data) => {
          const list = data.pages.flatMap((p) => p.items);
          if (list.length === 0) {
            return q ? (
              <Empty title={`Nothing is called “${q}”`}>
                Try a part of the name{onWindows && ", or another list"}.
              </Empty>
            ) : (
              <Empty title="Nothing of this kind was found">The machine's last scan names none.</Empty>
            );
          }
          return (
            <>
              <List list={list} onWindows={onWindows} />
              {software.hasNextPage && (
                <Anchor component="button" onClick={() => software.fetchNextPage()}>
                  Show more
                </Anchor>
              )}
            </>
          );
        }}
      </Show>
    </Stack>
  );
}

function List({ list, onWindows }: { list: Product[]; onWindows: boolean }) {
  if (list.every((p) => p.k === "kb")) {
    return (
      <ul className="cves panel" style={{ padding: "1rem" }}>
        {list.map((p) => (
          <li key={p.n}>
            <Reference name={p.n} />
          </li>
        ))}
      </ul>
    );
  }
  return (
    <Sheet
      label="Installed software"
      head={["Name", "Version", onWindows ? "Publisher" : "Source", onWindows ? "For" : "Architecture"]}
    >
      {list.map((p) => (
        <tr key={`${p.k} ${p.n} ${p.a} ${p.v} ${p.sc}`} className="row">
          <td title={p.t ? p.n : undefined}>
            {titleOf(p)} {p.hold && <Tag tone="info">Held</Tag>} {p.broken && <Tag tone="bad">{p.broken}</Tag>}
          </td>
          <td className="version">{p.v || <span className="quiet">none</span>}</td>
          <td>{onWindows ? p.p : p.s || p.n}</td>
          <td>{onWindows ? <For of={p} /> : p.a}</td>
        </tr>
      ))}
    </Sheet>
  );
}

/** For whom a program is installed, and whether it is one for 32 bits. */
function For({ of: p }: { of: Product }) {
  const owner = ownerOf(p);
  return (
    <>
      {owner ? <Tag tone="note">{owner} alone</Tag> : "every user"}
      {p.a === "386" && <span className="quiet">, 32-bit</span>}
    </>
  );
}
