import { Button, Group, Stack } from "@mantine/core";
import { useNavigate, useSearch } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { DecideBar } from "../approvals/DecideBar";
import { useSelection } from "../approvals/selection";
import { CatalogTrouble } from "../catalog/CatalogBar";
import { useStatus } from "../catalog/catalog";
import { Choice, Foot, SearchField, Tick, tidy } from "../look/Filters";
import { Empty, Show } from "../look/Notice";
import { Page } from "../look/Page";
import { count } from "../look/words";
import { byPatch, type Filter, severities, useMissing } from "./missing";
import { PatchTable } from "./PatchTable";
import { StandingFilter } from "./StandingTag";

export function MissingPage() {
  const filter = useSearch({ strict: false }) as Filter;
  const missing = useMissing(filter);
  const selection = useSelection();
  const narrowed = Object.keys(tidy(filter)).length > 0;
  return (
    <Page title="Missing patches" about="What the fleet lacks, patch by patch; the most urgent first.">
      <CatalogTrouble />
      <Filters filter={filter} />
      <Show of={missing} what="missing patches">
        {(data) => {
          const findings = data.pages.flatMap((p) => p.items);
          if (findings.length === 0) return narrowed ? <NoMatch /> : <NothingMissing />;
          const list = byPatch(findings);
          const machines = new Set(findings.map((f) => f.endpoint)).size;
          return (
            <Stack gap="sm">
              <PatchTable list={list} selection={selection} whole={!missing.hasNextPage} />
              <Foot of={missing} more="Load more machines">
                {count(list.length, "patch", "patches")} for {count(findings.length, "installed package")} on{" "}
                {count(machines, "machine")}
                {missing.hasNextPage ? " so far; there are more machines" : ""}
              </Foot>
            </Stack>
          );
        }}
      </Show>
      <DecideBar choices={selection.choices} clear={selection.clear} />
    </Page>
  );
}

/** The filters live in the address, so that a view can be shared and the back button works. */
function Filters({ filter }: { filter: Filter }) {
  const navigate = useNavigate();
  const set = (more: Filter) =>
    navigate({ to: "/missing", search: (old: Filter) => tidy({ ...old, ...more }), replace: true });
  return (
    <Group gap="md" className="filters">
      <SearchField
        label="Search by package, CVE or advisory"
        placeholder="Package, CVE or advisory"
        value={filter.q}
        onChange={(q) => set({ q })}
      />
      <Choice
        label="Severity"
        any="Any severity"
        of={severities}
        value={filter.severity}
        onChange={(severity) => set({ severity })}
        w={170}
      />
      <StandingFilter value={filter.standing} onChange={(standing) => set({ standing })} />
      <Tick label="Security only" value={filter.security} onChange={(security) => set({ security })} />
      <Tick label="Exploited only" value={filter.exploited} onChange={(exploited) => set({ exploited })} />
    </Group>
  );
}

function NoMatch(): ReactNode {
  const navigate = useNavigate();
  return (
    <Empty title="No missing patch fits these filters">
      <Button mt="sm" variant="default" onClick={() => navigate({ to: "/missing", search: {}, reloadDocument: false })}>
        Show everything that is missing
      </Button>
    </Empty>
  );
}

/** "Nothing is missing" is said only when somebody looked. */
function NothingMissing(): ReactNode {
  const { data } = useStatus();
  if (!data?.catalog.version || !data.counts.endpoints) {
    return (
      <Empty title="Nobody has looked yet">
        Patches are found missing once the catalog is here and a machine has enrolled and was scanned.
      </Empty>
    );
  }
  return (
    <Empty title="No patch is missing">
      Every machine that was scanned has all that catalog {data.catalog.version} offers for it.
    </Empty>
  );
}
