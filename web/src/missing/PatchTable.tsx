import { Stack, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { Fragment, useId, useState } from "react";
import { SelectAll, SelectBox } from "../approvals/SelectBox";
import type { Selection } from "../approvals/selection";
import { Sheet, Table } from "../look/Sheet";
import { Tag } from "../look/Tag";
import { Toggle } from "../look/Toggle";
import { count } from "../look/words";
import { PatchLink } from "../patches/PatchLink";
import { Marks } from "./MachineMissing";
import { distinct, type Finding, type Needed, nameOf } from "./missing";
import { Risk } from "./Proof";
import { Decided, StandingTag } from "./StandingTag";
import type { Standing } from "./standing";
import { WhatToDo } from "./WhatToDo";

const choice = (p: Needed) => ({ patch: p.patch, label: `${p.product} ${p.version}` });

/** Missing patches; each opens to the machines that lack it, with the reason for each. */
export function PatchTable({ list, selection, whole }: { list: Needed[]; selection: Selection; whole: boolean }) {
  return (
    <Sheet
      label="Missing patches"
      head={[
        { box: <SelectAll all={list.filter((p) => p.decidable).map(choice)} selection={selection} /> },
        "Patch",
        "Severity",
        "Version",
        { name: "Lacked by", title: whole ? undefined : "Among the machines loaded so far" },
        "CVEs",
        "Approval",
      ]}
    >
      {list.map((p) => (
        <Row key={p.patch} of={p} selection={selection} />
      ))}
    </Sheet>
  );
}

function Row({ of: p, selection }: { of: Needed; selection: Selection }) {
  const [open, setOpen] = useState(false);
  const id = useId();
  return (
    <Fragment>
      <tr className={`row ${selection.has(p.patch) ? "chosen" : ""}`}>
        <td>{p.decidable && <SelectBox choice={choice(p)} selection={selection} />}</td>
        <td className="name">
          <Toggle open={open} of={id} onChange={setOpen}>
            {p.product}
          </Toggle>
          {packages(p) !== p.product && <div className="reason">{packages(p)}</div>}
        </td>
        <td className="marks">
          <Marks of={p} />
        </td>
        <td className="version">{p.version}</td>
        <td className="amount">{count(p.machines, "machine")}</td>
        <td className={p.cves.length ? "amount" : "amount zero"}>
          {p.cves.length ? count(p.cves.length, "CVE") : "none"}
        </td>
        <td>
          {p.approval === "differs" && p.decidable ? (
            <Tag tone="note" title="It is decided for some of the machines only, or differently">
              Differs by machine
            </Tag>
          ) : (
            <Decided standing={p.decidable ? "installable" : firstOf(p)} approval={p.approval} />
          )}
        </td>
      </tr>
      {open && (
        <tr>
          <td />
          <td colSpan={6} className="detail" id={id}>
            <Stack gap="md">
              {firstOfEach(p.findings).map((f) => (
                <WhatToDo key={f.standing} of={f} />
              ))}
              <Table head={machineColumns}>
                <MachineRows of={p.findings} />
              </Table>
              <Risk advisories={p.advisories} cves={p.cves} epss={Math.max(0, ...p.findings.map((f) => f.epss ?? 0))} />
              <Text size="sm">
                <span className="quiet">All about it:</span> <PatchLink id={p.patch} />
              </Text>
            </Stack>
          </td>
        </tr>
      )}
    </Fragment>
  );
}

/** Which installed packages the patch updates; the first few by name. */
function packages(p: Needed): string {
  const names = distinct(p.findings.map(nameOf));
  const shown = names.slice(0, 4).join(", ");
  return names.length > 4 ? `${shown} and ${count(names.length - 4, "more package")}` : shown;
}

/** One finding of each standing: what is to be done is the same for all of them. */
function firstOfEach(findings: Finding[]): Finding[] {
  return [...new Map([...findings].reverse().map((f) => [f.standing, f])).values()];
}

function firstOf(p: Needed): Standing {
  return p.standings[0] ?? "unknown";
}

/** The columns of MachineRows. */
export const machineColumns = ["Machine", "Package", "Why it counts as missing", "Approval"];

/** The machines of some findings, with the reason for each. */
export function MachineRows({ of: findings }: { of: Finding[] }) {
  return findings.map((f) => (
    <tr key={`${f.endpoint} ${f.package} ${f.arch} ${f.state}`}>
      <td>
        <Link to="/machines/$id" params={{ id: f.endpoint }} className="link">
          {f.hostname || f.endpoint}
        </Link>
      </td>
      <td>
        {nameOf(f)} <StandingTag of={f.standing} />
      </td>
      <td className="reason">{f.reason}</td>
      <td>
        <Decided standing={f.standing} approval={f.approval} />
      </td>
    </tr>
  ));
}
