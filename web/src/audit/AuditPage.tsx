import { Button, Group, SegmentedControl, Select, Stack, TextInput } from "@mantine/core";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { Fragment, useId, useState } from "react";
import { Foot, SearchField, tidy } from "../look/Filters";
import { Empty, Show } from "../look/Notice";
import { Page } from "../look/Page";
import { Sheet } from "../look/Sheet";
import { Tag } from "../look/Tag";
import { Toggle } from "../look/Toggle";
import { count, moment } from "../look/words";
import { PatchLink } from "../patches/PatchLink";
import { mayAudit, useMe, useTenant } from "../session/session";
import { type AuditFilter, deedOf, type Entry, kindOf, patchesOf, placeOf, topics, useAudit } from "./audit";
import { Chain } from "./Chain";

export function AuditPage() {
  const me = useMe();
  const filter = useSearch({ strict: false }) as AuditFilter;
  const may = mayAudit(me.data, filter.server ? "*" : undefined);
  return (
    <Page
      title="Audit log"
      about="Who did what and when, newest first; also what failed and what was refused."
      actions={may && <Export server={filter.server} />}
    >
      {may ? (
        <>
          <Chain />
          <Filters filter={filter} />
          <List filter={filter} />
        </>
      ) : (
        <Empty title="Your role may not read the audit log">
          Someone with the role auditor or admin can; an administrator can give you that role.
        </Empty>
      )}
    </Page>
  );
}

function Export({ server }: { server?: boolean }) {
  const t = useTenant();
  return (
    <Button
      variant="default"
      component="a"
      href={server ? "/api/v1/audit/export" : `/api/v1/tenants/${t}/audit/export`}
      download={server ? "fettle-audit.ndjson" : `fettle-audit-${t}.ndjson`}
      title="Every entry with its hash, one JSON object a line"
    >
      Save the whole log
    </Button>
  );
}

/** The filters live in the address, so that a view can be shared. */
function Filters({ filter }: { filter: AuditFilter }) {
  const me = useMe();
  const navigate = useNavigate();
  const set = (more: AuditFilter) =>
    navigate({ to: "/audit", search: (old: AuditFilter) => tidy({ ...old, ...more }), replace: true });
  return (
    <Group gap="md" className="filters">
      {mayAudit(me.data, "*") && (
        <SegmentedControl
          aria-label="Which log"
          data={[
            { value: "", label: "Machines and patches" },
            { value: "server", label: "The server itself" },
          ]}
          value={filter.server ? "server" : ""}
          onChange={(to) => set({ server: to === "server", action: "" })}
        />
      )}
      <SearchField
        label="Search by target or detail"
        placeholder="Target or detail"
        value={filter.q}
        onChange={(q) => set({ q })}
      />
      <SearchField
        label="Done by: the whole name"
        placeholder="Who: the whole name"
        value={filter.actor}
        onChange={(actor) => set({ actor })}
      />
      <Select
        aria-label="What was done"
        placeholder="Whatever was done"
        data={topics(filter.server ?? false)}
        value={filter.action || null}
        onChange={(action) => set({ action: action ?? "" })}
        clearable
        clearButtonProps={{ "aria-label": "Whatever was done" }}
        w={220}
      />
      <Day label="From" value={filter.from} onChange={(from) => set({ from })} />
      <Day label="To" value={filter.to} onChange={(to) => set({ to })} />
    </Group>
  );
}

function Day({
  label,
  value,
  onChange,
}: {
  label: string;
  value: string | undefined;
  onChange: (day: string) => void;
}) {
  return (
    <TextInput
      type="date"
      aria-label={label === "From" ? "First day" : "Last day"}
      leftSection={<span className="quiet before">{label}</span>}
      leftSectionWidth={58}
      value={value ?? ""}
      onChange={(e) => onChange(e.currentTarget.value)}
      w={190}
    />
  );
}

function List({ filter }: { filter: AuditFilter }) {
  const entries = useAudit(filter);
  return (
    <Show of={entries} what="the audit log">
      {(data) => {
        const list = data.pages.flatMap((p) => p.items);
        if (list.length === 0) return <None filter={filter} />;
        return (
          <Stack gap="sm">
            <Table list={list} />
            <Foot of={entries} more="Show older ones">
              {count(list.length, "entry", "entries")}
              {entries.hasNextPage ? " shown, there are older ones" : ""}
            </Foot>
          </Stack>
        );
      }}
    </Show>
  );
}

function Table({ list }: { list: Entry[] }) {
  return (
    <Sheet label="Audit log" head={["What", "Who", "Target", "When"]}>
      {list.map((e) => (
        <Row key={`${e.tenant} ${e.seq}`} of={e} />
      ))}
    </Sheet>
  );
}

function Row({ of: e }: { of: Entry }) {
  const [open, setOpen] = useState(false);
  const id = useId();
  const deed = deedOf(e.action, e.object);
  return (
    <Fragment>
      <tr className="row">
        <td className="name">
          <Toggle open={open} of={id} onChange={setOpen}>
            {deed.text}
          </Toggle>{" "}
          {deed.outcome === "failed" && <Tag tone="bad">Failed</Tag>}
          {deed.outcome === "denied" && <Tag tone="warn">Refused</Tag>}
        </td>
        <td>{e.actor}</td>
        <td>
          <Target of={e} />
          {e.detail && <div className="reason brief">{e.detail}</div>}
        </td>
        <td className="amount">{moment(e.at)}</td>
      </tr>
      {open && (
        <tr>
          <td colSpan={4} className="detail" id={id}>
            <Whole of={e} />
          </td>
        </tr>
      )}
    </Fragment>
  );
}

function Target({ of: e }: { of: Entry }) {
  const place = placeOf(e);
  if (!place) return <span className="version">{e.object}</span>;
  return (
    <Link to={place.to} params={{ id: place.id }} className="link version">
      {e.object}
    </Link>
  );
}

/** All that an entry says. */
function Whole({ of: e }: { of: Entry }) {
  const patches = patchesOf(e.detail);
  return (
    <dl className="facts">
      <dt>Entry</dt>
      <dd>
        {e.seq.toLocaleString()} of {e.tenant ? `the log of ${e.tenant}` : "the server's log"}
      </dd>
      <dt>Time</dt>
      <dd>{new Date(e.at).toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" })}</dd>
      <dt>Who</dt>
      <dd>
        {e.actor} <span className="quiet">({kindOf(e.kind)})</span>
      </dd>
      <dt>Action</dt>
      <dd className="version">{e.action}</dd>
      <dt>Target</dt>
      <dd>
        <Target of={e} />
      </dd>
      <dt>Detail</dt>
      <dd>{e.detail || <span className="quiet">none</span>}</dd>
      {patches.length > 0 && (
        <>
          <dt>Patches</dt>
          <dd>
            {patches.map((p) => (
              <div key={p}>
                <PatchLink id={p} />
              </div>
            ))}
          </dd>
        </>
      )}
      <dt>Hash</dt>
      <dd className="version">{e.hash}</dd>
      <dt>Hash before</dt>
      <dd className="version">{e.prev || "none: it is the first"}</dd>
    </dl>
  );
}

function None({ filter }: { filter: AuditFilter }) {
  const navigate = useNavigate();
  const { server, ...narrowed } = tidy(filter);
  if (Object.keys(narrowed).length === 0) {
    return <Empty title="Nothing was recorded yet">What is changed here from now on stands in this log.</Empty>;
  }
  return (
    <Empty title="No entry fits these filters">
      {filter.q && "An entry about more than 100 patches names the first 100 of them."}
      <div>
        <Button
          mt="sm"
          variant="default"
          onClick={() => navigate({ to: "/audit", search: server ? { server } : {}, replace: true })}
        >
          Show the whole log
        </Button>
      </div>
    </Empty>
  );
}
