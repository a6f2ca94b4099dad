import { Button } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { DiskTrouble } from "../catalog/Disk";
import { Empty, Show } from "../look/Notice";
import { Page } from "../look/Page";
import { Sheet } from "../look/Sheet";
import { Progress } from "../look/Tag";
import { ago, count, moment } from "../look/words";
import { type Deployment, tally, useDeployments } from "./deployments";
import { Name } from "./Name";

export function DeploymentsPage() {
  const deployments = useDeployments();
  return (
    <Page title="Deployments" about="What was and is being installed or taken back, newest first.">
      <DiskTrouble />
      <Show of={deployments} what="deployments">
        {(data) => {
          const list = data.pages.flatMap((p) => p.items);
          if (list.length === 0) return <None />;
          return (
            <>
              <Table list={list} />
              {deployments.hasNextPage && (
                <Button variant="default" onClick={() => deployments.fetchNextPage()}>
                  Show older ones
                </Button>
              )}
            </>
          );
        }}
      </Show>
    </Page>
  );
}

function Table({ list }: { list: Deployment[] }) {
  const now = new Date();
  return (
    <Sheet label="Deployments" head={["Deployment", "Status", "Size", "Machines by state", "Started"]}>
      {list.map((d) => (
        <tr key={d.id} className="row">
          <td>
            <Name id={d.id} name={d.name} operation={d.operation} dry_run={d.dry_run} emergency={d.emergency} />
          </td>
          <td>
            <Progress of={d.status} />
            {(d.reason || d.cause) && <div className="reason">{d.reason || d.cause}</div>}
          </td>
          <td>
            {count(d.patches?.length ?? 0, "patch", "patches")}, {count(machines(d), "machine")}
          </td>
          <td>{tally(d.counts) || <span className="quiet">no task yet</span>}</td>
          <td title={moment(d.created)}>
            {ago(d.created, now)} <span className="quiet">by {d.created_by}</span>
          </td>
        </tr>
      ))}
    </Sheet>
  );
}

export function machines(d: Deployment): number {
  return new Set(d.rings?.flatMap((r) => r.endpoints ?? [])).size;
}

function None() {
  return (
    <Empty title="Nothing has been deployed yet">
      <p>
        Approve patches on the page <Link to="/missing">Missing patches</Link>, then run <code>fettle deploy</code>.
        With <code>--dry-run</code> it shows what would be installed and installs nothing.
      </p>
    </Empty>
  );
}
