import { Stack } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { Fragment, useId, useState } from "react";
import { SelectAll, SelectBox } from "../approvals/SelectBox";
import type { Selection } from "../approvals/selection";
import { ChevronIcon } from "../look/icons";
import { Sheet } from "../look/Page";
import { Approval, Standing, Tag } from "../look/Tag";
import { count } from "../look/words";
import { Marks } from "./MachineMissing";
import { distinct, type Needed, nameOf } from "./missing";
import { Risk } from "./Proof";

const choice = (p: Needed) => ({ patch: p.patch, label: `${p.product} ${p.version}` });

/** Missing patches; each opens to the machines that lack it, with the reason for each. */
export function PatchTable({ list, selection, whole }: { list: Needed[]; selection: Selection; whole: boolean }) {
  return (
    <Sheet label="Missing patches">
      <thead>
        <tr>
          <th scope="col">
            <SelectAll all={list.map(choice)} selection={selection} />
          </th>
          <th scope="col">Patch</th>
          <th scope="col">Severity</th>
          <th scope="col">Version</th>
          <th scope="col" title={whole ? undefined : "Among the machines loaded so far"}>
            Lacked by
          </th>
          <th scope="col">CVEs</th>
          <th scope="col">Approval</th>
        </tr>
      </thead>
      <tbody>
        {list.map((p) => (
          <Row key={p.patch} of={p} selection={selection} />
        ))}
      </tbody>
    </Sheet>
  );
}

function Row({ of: p, selection }: { of: Needed; selection: Selection }) {
  const [open, setOpen] = useState(false);
  const id = useId();
  return (
    <Fragment>
      <tr className={`row ${selection.has(p.patch) ? "chosen" : ""}`}>
        <td>
          <SelectBox choice={choice(p)} selection={selection} />
        </td>
        <td>
          <button
            type="button"
            className="toggle"
            aria-expanded={open}
            aria-controls={open ? id : undefined}
            onClick={() => setOpen(!open)}
          >
            <ChevronIcon open={open} />
            {p.product}
          </button>
          <div className="reason">{packages(p)}</div>
        </td>
        <td className="marks">
          <Marks of={p} />
        </td>
        <td className="version">{p.version}</td>
        <td className="amount">{count(p.machines, "machine")}</td>
        <td className={p.cves.length ? "amount" : "amount zero"}>
          {p.cves.length ? count(p.cves.length, "CVE") : "none known"}
        </td>
        <td>
          {p.approval === "differs" ? (
            <Tag tone="note" title="It is decided for some of the machines only, or differently">
              Differs by machine
            </Tag>
          ) : (
            <Approval of={p.approval} />
          )}
        </td>
      </tr>
      {open && (
        <tr>
          <td />
          <td colSpan={6} className="detail" id={id}>
            <Stack gap="md">
              <Machines of={p} />
              <Risk advisories={p.advisories} cves={p.cves} epss={Math.max(0, ...p.findings.map((f) => f.epss ?? 0))} />
              <div className="version">{p.patch}</div>
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

function Machines({ of: p }: { of: Needed }) {
  return (
    <table className="grid">
      <thead>
        <tr>
          <th scope="col">Machine</th>
          <th scope="col">Package</th>
          <th scope="col">Why it counts as missing</th>
          <th scope="col">Approval</th>
        </tr>
      </thead>
      <tbody>
        {p.findings.map((f) => (
          <tr key={`${f.endpoint} ${f.package} ${f.arch} ${f.state}`}>
            <td>
              <Link to="/machines/$id" params={{ id: f.endpoint }} className="link">
                {f.hostname || f.endpoint}
              </Link>
            </td>
            <td>
              {nameOf(f)} <Standing of={f.state} />
            </td>
            <td className="reason">{f.reason}</td>
            <td>
              <Approval of={f.approval} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
