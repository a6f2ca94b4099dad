import { Alert, Anchor, Button, Group, List, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { AuditLink } from "../audit/AuditLink";
import { CatalogTrouble } from "../catalog/CatalogBar";
import { Empty, Failure, Show } from "../look/Notice";
import { One, Page } from "../look/Page";
import { Health, Tag } from "../look/Tag";
import { ago, count, moment } from "../look/words";
import { MachineMissing } from "../missing/MachineMissing";
import { useMissing } from "../missing/missing";
import { StandingFilter } from "../missing/StandingTag";
import type { Standing } from "../missing/standing";
import { mayAudit, useMe } from "../session/session";
import { History } from "./History";
import { type HostDetail, useHost, useScan } from "./hosts";
import { windows } from "./packages";
import { Software } from "./Software";

export function HostPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const host = useHost(id);
  return (
    <One
      of={host}
      what="the machine"
      title="Machine"
      back={
        <Link to="/machines" className="link">
          ← All machines
        </Link>
      }
    >
      {(h) => (
        <Page
          title={h.hostname || h.id}
          about={h.os}
          actions={h.state === "active" ? <Scan id={h.id} online={h.online} /> : undefined}
        >
          <CatalogTrouble />
          <Due of={h} />
          <Facts of={h} />
          <Missing of={h} />
          <History host={h.id} />
          {h.inventory && <Software of={h} />}
        </Page>
      )}
    </One>
  );
}

function Scan({ id, online }: { id: string; online: boolean }) {
  const scan = useScan(id);
  return (
    <Stack gap={4} align="flex-end">
      <Button variant="default" loading={scan.isPending} onClick={() => scan.mutate()}>
        Scan now
      </Button>
      <Text size="sm" className="quiet" role="status">
        {scan.isSuccess && (online ? "Asked; the answer shows here." : "Asked; it scans when it is back.")}
      </Text>
      {scan.error && <Failure error={scan.error} />}
    </Stack>
  );
}

/** What is due on the machine itself. */
function Due({ of: h }: { of: HostDetail }) {
  const state = h.inventory?.state;
  const restarts = h.restarts_due ?? state?.restarts_due ?? [];
  return (
    <>
      {state?.manager_broken && (
        <Alert color="red" title="The package manager was interrupted" role="status">
          It must be repaired before anything can be installed; Fettle does so at the next deployment.
        </Alert>
      )}
      {h.broken > 0 && (
        <Alert color="red" title={`${count(h.broken, "package")} installed only half`} role="status">
          {h.broken === 1 ? "Its installation was" : "Their installations were"} begun and did not end well. The list
          below names {h.broken === 1 ? "it" : "them"} and says what to do; the whole list of installed software marks
          each in red.
        </Alert>
      )}
      {(h.reboot_due || state?.reboot_due) && (
        <Alert color="yellow" title="A reboot is due" role="status">
          {state?.reboot_reasons?.length ? `Because of ${state.reboot_reasons.join(", ")}.` : null}
        </Alert>
      )}
      {restarts.length > 0 && (
        <Alert
          color="yellow"
          title={`${count(restarts.length, "service")} still ${restarts.length === 1 ? "runs" : "run"} replaced files`}
          role="status"
        >
          <List size="sm">
            {restarts.map((unit) => (
              <List.Item key={unit}>{unit}</List.Item>
            ))}
          </List>
        </Alert>
      )}
    </>
  );
}

function Facts({ of: h }: { of: HostDetail }) {
  const me = useMe();
  const inv = h.inventory;
  const now = new Date();
  return (
    <SimpleGrid className="panel" cols={{ base: 1, md: 2 }} p="md">
      <dl className="facts">
        <dt>Health</dt>
        <dd>
          <Health of={h.health} />
        </dd>
        <dt>Contact</dt>
        <dd>
          {h.online ? <Tag tone="good">Online</Tag> : <Tag tone="plain">Offline</Tag>}{" "}
          <span className="quiet" title={moment(h.last_seen)}>
            last check-in {ago(h.last_seen, now)}
          </span>
        </dd>
        <dt>Scanned</dt>
        <dd title={moment(inv?.scanned)}>{inv ? ago(inv.scanned, now) : "not yet"}</dd>
        <dt>Packages</dt>
        <dd>{inv ? `${count(inv.packages, "package")} installed` : "not known yet"}</dd>
        {mayAudit(me.data) && (
          <>
            <dt>Audit log</dt>
            <dd>
              <AuditLink q={h.id}>Entries about it</AuditLink>
            </dd>
          </>
        )}
      </dl>
      <dl className="facts">
        <dt>Addresses</dt>
        <dd>{h.addresses?.length ? h.addresses.join(", ") : "none reported"}</dd>
        {inv?.os.family === "windows" ? (
          <>
            <dt>Windows</dt>
            <dd>{windows(inv.os)}</dd>
          </>
        ) : (
          <>
            <dt>Kernel</dt>
            <dd>{kernel(inv)}</dd>
          </>
        )}
        <dt>Hardware</dt>
        <dd>{hardware(inv)}</dd>
        <dt>Agent</dt>
        <dd>
          version {h.agent_version || "unknown"}, platform {h.platform || "unknown"}
        </dd>
      </dl>
    </SimpleGrid>
  );
}

function kernel(inv: HostDetail["inventory"]): string {
  const running = inv?.state.running_kernel;
  const newest = inv?.state.newest_kernel;
  if (!running) return "not known yet";
  return newest && newest !== running ? `${running} runs, ${newest} is installed` : `${running} runs`;
}

function hardware(inv: HostDetail["inventory"]): string {
  const hw = inv?.hardware;
  if (!hw) return "not known yet";
  const parts = [
    [hw.vendor, hw.model].filter(Boolean).join(" "),
    hw.cores ? count(hw.cores, "core") : "",
    hw.memory_mib ? `${(hw.memory_mib / 1024).toFixed(1)} GiB memory` : "",
    hw.virtual ? `virtual (${hw.virtual})` : "",
  ];
  return parts.filter(Boolean).join(", ") || "nothing reported";
}

function Missing({ of: h }: { of: HostDetail }) {
  const [standing, setStanding] = useState<Standing>();
  const missing = useMissing({ standing }, { host: h.id });
  return (
    <Stack gap="sm">
      <Group justify="space-between">
        <Title order={2} size="h4">
          Missing patches
        </Title>
        <StandingFilter value={standing} onChange={setStanding} size="xs" />
      </Group>
      {(h.health !== "unknown" || h.missing > 0) && (
        <Text size="sm" className="quiet">
          {summary(h)}
        </Text>
      )}
      <Show of={missing} what="what it lacks">
        {(data) => {
          const findings = data.pages.flatMap((p) => p.items);
          if (findings.length === 0) {
            return standing ? <NoneOfThese clear={() => setStanding(undefined)} /> : <None of={h} />;
          }
          return (
            <>
              <MachineMissing findings={findings} />
              {missing.hasNextPage && (
                <Anchor component="button" onClick={() => missing.fetchNextPage()}>
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

/** What a machine lacks, in one line. */
export function summary(h: HostDetail): string {
  const parts = [
    h.missing === 0
      ? "No update missing"
      : `${count(h.missing, "update")} missing, ${h.missing_security.toLocaleString()} for security, ` +
        `${h.exploited.toLocaleString()} against exploited flaws`,
  ];
  if (h.bulletins > 0) {
    const verb = h.bulletins === 1 ? "is a bulletin" : "are bulletins";
    parts.push(`${h.bulletins.toLocaleString()} of them ${verb}, which nothing can be installed from`);
  }
  if (h.user_only > 0) parts.push(`besides, ${count(h.user_only, "product")} of single users`);
  if (h.broken > 0) parts.push(`${count(h.broken, "package")} half installed`);
  return parts.join("; ");
}

function NoneOfThese({ clear }: { clear: () => void }) {
  return (
    <Empty title="Nothing fits this filter">
      <Button variant="default" onClick={clear}>
        Show everything that it lacks
      </Button>
    </Empty>
  );
}

function None({ of: h }: { of: HostDetail }) {
  if (h.health === "unknown") {
    return (
      <Empty title="Not known yet">
        {h.inventory
          ? `The catalog has nothing for ${h.platform}. Add its vendor's archives to the publisher.`
          : "The machine has not been scanned yet. Press “Scan now”, or wait for its next check-in."}
      </Empty>
    );
  }
  return <Empty title="Nothing is missing">The machine has all that the catalog offers for it.</Empty>;
}
