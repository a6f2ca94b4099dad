import { Group, Stack, Text } from "@mantine/core";
import { Fragment, useId, useState } from "react";
import { DecideBar } from "../approvals/DecideBar";
import { SelectAll, SelectBox } from "../approvals/SelectBox";
import { type Selection, useSelection } from "../approvals/selection";
import { Sheet } from "../look/Sheet";
import { Exploited, Severity, Tag } from "../look/Tag";
import { Toggle } from "../look/Toggle";
import { count } from "../look/words";
import { PatchLink } from "../patches/PatchLink";
import { byUrgency, type Finding, nameOf } from "./missing";
import { Evidence, Risk } from "./Proof";
import { Decided, StandingTag } from "./StandingTag";
import { decidable, type Standing } from "./standing";
import { WhatToDo } from "./WhatToDo";

const choice = (f: Finding) => ({ patch: f.patch, label: `${f.product || f.package} ${f.available}` });

/** What one machine lacks, package by package, with the reason for each. */
export function MachineMissing({ findings }: { findings: Finding[] }) {
  const selection = useSelection();
  const sorted = [...findings].sort(byUrgency);
  const open = sorted.filter((f) => decidable(f.standing));
  const choices = [...new Map(open.map((f) => [f.patch, choice(f)])).values()];
  return (
    <Stack gap="sm">
      <Sheet
        label="Missing patches of this machine"
        head={[
          { box: <SelectAll all={choices} selection={selection} /> },
          "Package and reason",
          "Severity",
          "Installed",
          "Available",
          "CVEs",
          "Approval",
        ]}
      >
        {sorted.map((f) => (
          <Row key={`${f.package} ${f.arch} ${f.available} ${f.state}`} of={f} selection={selection} />
        ))}
      </Sheet>
      <DecideBar choices={selection.choices} clear={selection.clear} />
    </Stack>
  );
}

function Row({ of: f, selection }: { of: Finding; selection: Selection }) {
  const [open, setOpen] = useState(false);
  const id = useId();
  return (
    <Fragment>
      <tr className={`row ${selection.has(f.patch) ? "chosen" : ""}`}>
        <td>{decidable(f.standing) && <SelectBox choice={choice(f)} selection={selection} />}</td>
        <td className="name">
          <Toggle open={open} of={id} onChange={setOpen}>
            {nameOf(f)}
            <Arch of={f} />
          </Toggle>
          <div className="reason">{f.reason}</div>
        </td>
        <td className="marks">
          <Marks of={f} />
        </td>
        <td className="version">{f.installed}</td>
        <td className="version">{f.available}</td>
        <td className={f.cves.length ? "amount" : "amount zero"}>
          {f.cves.length ? count(f.cves.length, "CVE") : "none"}
        </td>
        <td>
          <Decided standing={f.standing} approval={f.approval} />
        </td>
      </tr>
      {open && (
        <tr>
          <td />
          <td colSpan={6} className="detail" id={id}>
            <Detail of={f} />
          </td>
        </tr>
      )}
    </Fragment>
  );
}

/** Severity, and what else makes a finding urgent or not. */
export function Marks({
  of: f,
}: {
  of: { severity: string; security: boolean; exploited?: boolean; standings?: Standing[]; standing?: Standing };
}) {
  return (
    <Group gap={6}>
      <Severity of={f.severity} />
      {f.security ? <Tag tone="info">Security</Tag> : <Tag tone="plain">Not security</Tag>}
      {f.exploited && <Exploited />}
      {(f.standings ?? (f.standing ? [f.standing] : [])).map((s) => (
        <StandingTag key={s} of={s} />
      ))}
    </Group>
  );
}

function Detail({ of: f }: { of: Finding }) {
  return (
    <Stack gap="md">
      <WhatToDo of={f} />
      <Evidence of={f} />
      <Risk advisories={f.advisories} cves={f.cves} epss={f.epss} />
      <Text size="sm">
        <span className="quiet">Patch</span> <PatchLink id={f.patch} />
        {f.archive && (
          <>
            {" "}
            <span className="quiet">from</span> {f.archive}
          </>
        )}
      </Text>
    </Stack>
  );
}

/** For which processor a package is, where that tells it from another; amd64 goes without saying on Windows. */
function Arch({ of: f }: { of: Finding }) {
  if (f.kind === "arp") return f.arch === "386" ? <span className="quiet">32-bit</span> : null;
  return f.arch && f.arch !== "all" ? <span className="quiet">:{f.arch}</span> : null;
}
