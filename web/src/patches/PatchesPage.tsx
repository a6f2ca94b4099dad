import { Button, Group, Stack } from "@mantine/core";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { CatalogTrouble } from "../catalog/CatalogBar";
import { useStatus } from "../catalog/catalog";
import { Choice, Foot, SearchField, Tick, tidy } from "../look/Filters";
import { Empty, Show } from "../look/Notice";
import { Page } from "../look/Page";
import { Sheet } from "../look/Sheet";
import { Approval, Exploited, Severity, Tag } from "../look/Tag";
import { count, sentence } from "../look/words";
import { severities } from "../missing/missing";
import { type PatchFilter, type PatchRow, usePatches } from "./patches";

export function PatchesPage() {
  const filter = useSearch({ strict: false }) as PatchFilter;
  const patches = usePatches(filter);
  return (
    <Page title="Patches" about="What the catalog has: missing somewhere, installed everywhere, or for nobody here.">
      <CatalogTrouble />
      <Filters filter={filter} />
      <Show of={patches} what="patches">
        {(data) => {
          const list = data.pages.flatMap((p) => p.items);
          if (list.length === 0) return <None narrowed={Object.keys(filter).length > 0} />;
          return (
            <Stack gap="sm">
              <Table list={list} />
              <Foot of={patches}>
                {count(list.length, "patch", "patches")}
                {patches.hasNextPage ? " shown, there are more" : ""}
              </Foot>
            </Stack>
          );
        }}
      </Show>
    </Page>
  );
}

const approvals = ["awaiting_approval", "approved", "declined"];

function Filters({ filter }: { filter: PatchFilter }) {
  const navigate = useNavigate();
  const set = (more: PatchFilter) =>
    navigate({ to: "/patches", search: (old: PatchFilter) => tidy({ ...old, ...more }), replace: true });
  return (
    <Group gap="md" className="filters">
      <SearchField
        label="Search by product, version, CVE or advisory"
        placeholder="Product, version, CVE, advisory"
        value={filter.q}
        onChange={(q) => set({ q })}
      />
      <Choice
        label="Severity"
        any="Any severity"
        of={severities}
        value={filter.severity}
        onChange={(severity) => set({ severity })}
        w={150}
      />
      <Choice
        label="Decision"
        any="Any decision"
        of={approvals}
        value={filter.approval}
        onChange={(approval) => set({ approval })}
        w={180}
      />
      <Tick label="Missing somewhere" value={filter.needed} onChange={(needed) => set({ needed })} />
      <Tick label="Security only" value={filter.security} onChange={(security) => set({ security })} />
      <Tick label="Bulletins only" value={filter.bulletin} onChange={(bulletin) => set({ bulletin })} />
    </Group>
  );
}

function Table({ list }: { list: PatchRow[] }) {
  return (
    <Sheet label="Patches" head={["Patch", "Version", "Severity", "Lacked by", "CVEs", "Approval"]}>
      {list.map((p) => (
        <tr key={p.id} className="row">
          <td className="name">
            <Link to="/patches/$id" params={{ id: p.id }} className="link">
              {p.product}
            </Link>
            <div className="reason">{[p.platform, ...p.advisories.slice(0, 3)].join(", ")}</div>
          </td>
          <td className="version">{p.version}</td>
          <td className="marks">
            <Group gap={6}>
              <Severity of={p.severity} />
              {p.class === "security" ? <Tag tone="info">Security</Tag> : <Tag tone="plain">{sentence(p.class)}</Tag>}
              {p.exploited && <Exploited />}
              {p.bulletin && (
                <Tag tone="note" title="There is nothing that Fettle may install; its page says what to do instead">
                  Bulletin
                </Tag>
              )}
            </Group>
          </td>
          <td className={p.needed_by ? "amount" : "amount zero"}>
            {p.needed_by ? count(p.needed_by, "machine") : "no machine"}
          </td>
          <td className={p.cves ? "amount" : "amount zero"}>{p.cves ? count(p.cves, "CVE") : "none"}</td>
          <td>{p.bulletin ? <span className="quiet">Nothing to install</span> : <Approval of={p.approval} />}</td>
        </tr>
      ))}
    </Sheet>
  );
}

function None({ narrowed }: { narrowed: boolean }) {
  const navigate = useNavigate();
  const { data } = useStatus();
  if (narrowed) {
    return (
      <Empty title="No patch fits these filters">
        <Button mt="sm" variant="default" onClick={() => navigate({ to: "/patches", search: {} })}>
          Show the whole catalog
        </Button>
      </Empty>
    );
  }
  return (
    <Empty title="The catalog is empty">
      {data?.catalog.version
        ? "Its publisher has found no patch yet; its notes on the page Machines say why."
        : "Patches are listed here once the first catalog has arrived. “fettle doctor” says what holds it up."}
    </Empty>
  );
}
