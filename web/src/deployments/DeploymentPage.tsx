import { Alert, Button, Group, Stack, Title } from "@mantine/core";
import { Link, useParams } from "@tanstack/react-router";
import { Fragment, useId, useState } from "react";
import { ChevronIcon } from "../look/icons";
import { Empty, Show } from "../look/Notice";
import { Page, Sheet } from "../look/Page";
import { Progress, Tag } from "../look/Tag";
import { ago, count, moment } from "../look/words";
import { mayDeploy, useMe } from "../session/session";
import { machines } from "./DeploymentsPage";
import { type Deployment, type Task, takeable, tally, useDeployment, useTasks } from "./deployments";
import { RollbackDialog } from "./RollbackDialog";

export function DeploymentPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const deployment = useDeployment(id);
  return (
    <Stack gap="xs">
      <Link to="/deployments" className="link">
        ← All deployments
      </Link>
      {!deployment.data && deployment.error && (
        <Title order={1} size="h2">
          Deployment
        </Title>
      )}
      <Show of={deployment} what="the deployment">
        {(d) => (
          <Page title={d.name || d.id} about={`Started ${moment(d.created)} by ${d.created_by}`}>
            {d.reason && (
              <Alert color="yellow" title={d.status === "halted" ? "Halted" : "Ended early"} role="status">
                {d.reason}
              </Alert>
            )}
            <Facts of={d} />
            <Tasks of={d} />
          </Page>
        )}
      </Show>
    </Stack>
  );
}

function Facts({ of: d }: { of: Deployment }) {
  return (
    <dl className="facts panel" style={{ padding: "1rem" }}>
      <dt>Status</dt>
      <dd>
        <Progress of={d.status} /> {d.operation === "rollback" && <Tag tone="warn">Rollback</Tag>}{" "}
        {d.dry_run && <Tag tone="info">Dry run: nothing is installed</Tag>}
      </dd>
      {d.cause && (
        <>
          <dt>Reason</dt>
          <dd>{d.cause}</dd>
        </>
      )}
      <dt>Size</dt>
      <dd>
        {count(d.patches?.length ?? 0, "patch", "patches")} on {count(machines(d), "machine")} in{" "}
        {count(d.rings?.length ?? 0, "ring")}
      </dd>
      <dt>Machines</dt>
      <dd>{tally(d.counts) || "no task yet"}</dd>
    </dl>
  );
}

function Tasks({ of: d }: { of: Deployment }) {
  const tasks = useTasks(d.id);
  return (
    <Stack gap="sm">
      <Title order={2} size="h4">
        Tasks
      </Title>
      <Show of={tasks} what="tasks">
        {(data) => {
          const list = data.pages.flatMap((p) => p.items);
          if (list.length === 0) return <Empty title="No task yet">Tasks are made when the first ring starts.</Empty>;
          return (
            <>
              <Sheet label="Tasks of this deployment">
                <thead>
                  <tr>
                    <th scope="col">Machine</th>
                    <th scope="col">Ring</th>
                    <th scope="col">State</th>
                    <th scope="col">Patches</th>
                    <th scope="col">Attempt</th>
                    <th scope="col">Since</th>
                  </tr>
                </thead>
                <tbody>
                  {list.map((task) => (
                    <Row key={task.id} of={task} within={d} ring={d.rings?.[task.ring]?.name} />
                  ))}
                </tbody>
              </Sheet>
              {tasks.hasNextPage && (
                <Button variant="default" onClick={() => tasks.fetchNextPage()}>
                  Show more tasks
                </Button>
              )}
            </>
          );
        }}
      </Show>
    </Stack>
  );
}

function Row({ of: task, within, ring }: { of: Task; within: Deployment; ring?: string }) {
  const [open, setOpen] = useState(false);
  const id = useId();
  return (
    <Fragment>
      <tr className="row">
        <td>
          <button
            type="button"
            className="toggle"
            aria-expanded={open}
            aria-controls={open ? id : undefined}
            onClick={() => setOpen(!open)}
          >
            <ChevronIcon open={open} />
            {task.hostname || task.endpoint}
          </button>
        </td>
        <td>{ring ?? task.ring + 1}</td>
        <td>
          <Progress of={task.state} />{" "}
          {task.progress ? <span className="quiet">{task.progress} % of this step</span> : null}
          {task.reason && <div className="reason">{task.reason}</div>}
        </td>
        <td>{count(task.patches?.length ?? 0, "patch", "patches")}</td>
        <td>{task.attempt === 0 ? "not begun" : `attempt ${task.attempt}`}</td>
        <td title={moment(task.since)}>{ago(task.since, new Date())}</td>
      </tr>
      {open && (
        <tr>
          <td colSpan={6} className="detail" id={id}>
            <Outcome of={task} within={within} />
          </td>
        </tr>
      )}
    </Fragment>
  );
}

/** What the task did on the machine, else what it plans. */
function Outcome({ of: task, within }: { of: Task; within: Deployment }) {
  const failures = task.result?.failures ?? [];
  const changes = task.result?.changes ?? task.plan?.changes ?? [];
  return (
    <Stack gap="sm">
      {failures.map((f) => (
        <Alert key={f.package} color="red" title={`${f.package} ${f.version ?? ""} failed`}>
          {f.reason}
        </Alert>
      ))}
      {changes.length === 0 ? (
        <span className="quiet">The machine has not said yet what changes.</span>
      ) : (
        <table className="grid">
          <thead>
            <tr>
              <th scope="col">Package</th>
              <th scope="col">From</th>
              <th scope="col">To</th>
              <th scope="col">Why</th>
            </tr>
          </thead>
          <tbody>
            {changes.map((c) => (
              <tr key={`${c.package} ${c.from} ${c.to}`}>
                <td>{c.package}</td>
                <td className="version">{c.from || "newly installed"}</td>
                <td className="version">{c.to || "removed"}</td>
                <td>{c.why}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <Group gap="md">
        <Link to="/machines/$id" params={{ id: task.endpoint }} className="link">
          Open the machine
        </Link>
        <RollBack of={task} within={within} />
      </Group>
    </Stack>
  );
}

/** Offers the way back where there is one, to whoever may take it. */
function RollBack({ of: task, within }: { of: Task; within: Deployment }) {
  const me = useMe();
  const [asking, setAsking] = useState(false);
  const patches = takeable(within, task);
  if (patches.length === 0 || !mayDeploy(me.data)) return null;
  return (
    <>
      <Button variant="default" size="xs" onClick={() => setAsking(true)}>
        Roll back…
      </Button>
      {asking && (
        <RollbackDialog
          patches={patches}
          machines={[{ id: task.endpoint, name: task.hostname || task.endpoint }]}
          close={() => setAsking(false)}
        />
      )}
    </>
  );
}
