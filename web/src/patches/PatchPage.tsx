import { Button, Group, Stack, Text, Title } from "@mantine/core";
import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import type { Decision } from "../approvals/approvals";
import { DecideDialog } from "../approvals/DecideDialog";
import { AuditLink } from "../audit/AuditLink";
import { Empty, Show } from "../look/Notice";
import { One, Page } from "../look/Page";
import { Sheet } from "../look/Sheet";
import { Approval, Exploited, Severity, Tag } from "../look/Tag";
import { bytes, count, moment, plain, sentence } from "../look/words";
import { useMissing } from "../missing/missing";
import { MachineRows, machineColumns } from "../missing/PatchTable";
import { mayDecide, useMe } from "../session/session";
import { Course } from "./Course";
import { Flaws } from "./Flaws";
import { InsteadOf, Places } from "./Instead";
import { PatchLink } from "./PatchLink";
import { nameOfPatch, type PatchDetail, placesOf, usePatch } from "./patches";
import { TakeBack } from "./TakeBack";

export function PatchPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const patch = usePatch(id);
  return (
    <One
      of={patch}
      what="the patch"
      title="Patch"
      back={
        <Link to="/patches" className="link">
          ← All patches
        </Link>
      }
    >
      {(d) => (
        <Page title={nameOfPatch(d.patch)} about={d.patch.title} actions={<Decide of={d} />}>
          {bulletin(d) && (
            <section className="panel" style={{ padding: "1rem" }} aria-label="What to do instead">
              <InsteadOf of={d} />
            </section>
          )}
          <Facts of={d} />
          <Lacking id={id} />
          {!bulletin(d) && <TakeBack of={d} />}
          {!bulletin(d) && <Course patch={id} />}
          <Flaws of={d} />
        </Page>
      )}
    </One>
  );
}

/** Whether nothing can be installed from it. */
function bulletin(d: PatchDetail): boolean {
  return d.patch.evidence.verdict === "unproven";
}

function Decide({ of: d }: { of: PatchDetail }) {
  const me = useMe();
  const [asking, setAsking] = useState<Decision["decision"] | null>(null);
  const [said, setSaid] = useState("");
  if (bulletin(d) || !mayDecide(me.data)) return null;
  return (
    <Stack gap={4} align="flex-end">
      <Group gap="xs">
        <Button variant="default" onClick={() => setAsking("decline")}>
          Decline…
        </Button>
        <Button onClick={() => setAsking("approve")}>Approve…</Button>
      </Group>
      <Text size="sm" className="quiet" role="status">
        {said}
      </Text>
      {asking && (
        <DecideDialog
          decision={asking}
          choices={[{ patch: d.patch.id, label: nameOfPatch(d.patch) }]}
          close={() => setAsking(null)}
          done={(text) => {
            setAsking(null);
            setSaid(text);
          }}
        />
      )}
    </Stack>
  );
}

const reboots: Record<string, string> = {
  never: "no restart",
  maybe: "the machine says afterwards whether it must restart",
  always: "the machine must restart afterwards",
};

const verdicts: Record<string, string> = {
  proven: "Proven: its bytes were fetched and are what the vendor signed",
  vouched: "Vouched for: the vendor's signed index names its hash",
  delegated: "Left to Windows Update on each machine, which fetches it and checks Microsoft's signature itself",
  unproven: "Not proven: nothing is installed from it",
};

function Facts({ of: d }: { of: PatchDetail }) {
  const p = d.patch;
  const size = (p.items ?? []).reduce((sum, i) => sum + i.p.size, 0);
  return (
    <dl className="facts panel" style={{ padding: "1rem" }}>
      <dt>Severity</dt>
      <dd>
        <Group gap={6}>
          <Severity of={p.severity} />
          {p.class === "security" ? <Tag tone="info">Security</Tag> : <Tag tone="plain">{sentence(p.class)}</Tag>}
          {d.vulnerabilities.some((v) => v.kev) && <Exploited />}
        </Group>
      </dd>
      <dt>Approval</dt>
      <dd>
        {bulletin(d) ? <span className="quiet">Nothing to install</span> : <Approval of={d.approval} />}
        <Decisions of={d} />
      </dd>
      <dt>For</dt>
      <dd>
        {p.platform}, by {p.vendor}
        {p.released && `, released ${moment(p.released)}`}
      </dd>
      {!bulletin(d) && (
        <>
          <dt>Brings</dt>
          <dd>
            {p.items?.length
              ? `${count(p.items.length, "package")}${size > 0 ? `, ${bytes(size)}` : ""}`
              : "what its installer brings"}
            {p.install.reboot && reboots[p.install.reboot] ? `; ${reboots[p.install.reboot]}` : ""}
          </dd>
        </>
      )}
      {p.requires?.length ? (
        <>
          <dt>Needs first</dt>
          <dd>
            {p.requires.map((id) => (
              <div key={id}>
                <PatchLink id={id} />
              </div>
            ))}
          </dd>
        </>
      ) : null}
      <dt>Authenticity</dt>
      <dd>
        {verdicts[p.evidence.verdict] ?? plain(p.evidence.verdict)}
        {!bulletin(d) &&
          p.evidence.checks?.map((check) => (
            <div key={check} className="reason">
              {check}
            </div>
          ))}
      </dd>
      {!bulletin(d) && placesOf(d).length > 0 && (
        <>
          <dt>The vendor says</dt>
          <dd>
            <Places of={d} />
          </dd>
        </>
      )}
      <dt>Id</dt>
      <dd className="version">{p.id}</dd>
      <dt>Signed record</dt>
      <dd className="version">sha256:{d.digest}</dd>
    </dl>
  );
}

/** Who decided what for whom. */
function Decisions({ of: d }: { of: PatchDetail }) {
  if (d.approvals.length === 0) return null;
  const lines = d.approvals.map((a) => {
    const whom = a.endpoint ? `machine ${a.endpoint}` : a.group ? `group ${a.group}` : "every machine";
    return (
      <div key={a.id} className="reason">
        {sentence(a.decision)}d for {whom} by {a.by}, {moment(a.at)}
        {a.reason && `: ${a.reason}`}
      </div>
    );
  });
  return (
    <>
      {lines}
      <AuditLink q={d.patch.id} action="approvals">
        Decisions in the audit log
      </AuditLink>
    </>
  );
}

function Lacking({ id }: { id: string }) {
  const missing = useMissing({}, { patch: id });
  return (
    <div>
      <Title order={2} size="h4" mb="sm">
        Machines that lack it
      </Title>
      <Show of={missing} what="who lacks it">
        {(data) => {
          const findings = data.pages.flatMap((p) => p.items);
          if (findings.length === 0)
            return (
              <Empty title="No machine lacks it">Every machine that was scanned has it, or has no use for it.</Empty>
            );
          return (
            <>
              <Sheet label="Machines that lack it" head={machineColumns}>
                <MachineRows of={findings} />
              </Sheet>
              {missing.hasNextPage && (
                <Button mt="sm" variant="default" onClick={() => missing.fetchNextPage()}>
                  Show more machines
                </Button>
              )}
            </>
          );
        }}
      </Show>
    </div>
  );
}
