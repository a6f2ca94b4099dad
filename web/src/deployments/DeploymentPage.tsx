import { Alert, Button, Group, Select, Stack, Text, Title } from "@mantine/core";
import { Link, useParams } from "@tanstack/react-router";
import { Fragment, useId, useState } from "react";
import { AuditLink } from "../audit/AuditLink";
import { Empty, Show } from "../look/Notice";
import { One, Page } from "../look/Page";
import { Sheet, Table } from "../look/Sheet";
import { Progress, Tag } from "../look/Tag";
import { Toggle } from "../look/Toggle";
import { ago, count, moment } from "../look/words";
import { PatchLink } from "../patches/PatchLink";
import { mayDeploy, useMe } from "../session/session";
import { machines } from "./DeploymentsPage";
import {
  type Deployment,
  leftOut,
  live,
  staying,
  type Task,
  type TaskFilter,
  takeable,
  tally,
  useDeployment,
  useLeftOut,
  useTasks,
} from "./deployments";
import { LeftOutList } from "./LeftOut";
import { Advance } from "./Progress";
import { RollbackDialog } from "./RollbackDialog";

export function DeploymentPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const deployment = useDeployment(id);
  return (
    <One
      of={deployment}
      what="the deployment"
      title="Deployment"
      back={
        <Link to="/deployments" className="link">
          ← All deployments
        </Link>
      }
    >
      {(d) => (
        <Page
          title={d.name || d.id}
          about={`Started ${moment(d.created)} by ${d.created_by}`}
          actions={<AuditLink q={d.id}>In the audit log</AuditLink>}
        >
          {d.reason && (
            <Alert color="yellow" title={d.status === "halted" ? "Halted" : "Ended early"} role="status">
              {d.reason}
            </Alert>
          )}
          <LeftOut of={d} />
          <Facts of={d} />
          <Patches of={d} />
          <Tasks of={d} />
        </Page>
      )}
    </One>
  );
}

/** What a new deployment does not touch, told to whoever made it. */
function LeftOut({ of: d }: { of: Deployment }) {
  const left = Object.entries(useLeftOut(d.id));
  if (left.length === 0) return null;
  return (
    <Alert color="yellow" title="Not everything that was asked for is part of it" role="status">
      <ul className="plain">
        {left.map(([why, n]) => (
          <li key={why}>
            {count(n, "finding")} {why}
          </li>
        ))}
      </ul>
    </Alert>
  );
}

/** The patches, each with its own page; many are folded away. */
function Patches({ of: d }: { of: Deployment }) {
  const ids = d.patches ?? [];
  if (ids.length === 0) return null;
  const List = ids.length > 1 ? "ol" : "ul";
  return (
    <details className="panel" open={ids.length <= 5}>
      <summary>
        <Text component="span" size="sm" fw={600}>
          {count(ids.length, "patch", "patches")}
          {ids.length > 1 &&
            (d.operation === "rollback" ? ", taken back from the last to the first" : ", in this order")}
        </Text>
      </summary>
      <List className="plain inset">
        {ids.map((id) => (
          <li key={id}>
            <PatchLink id={id} />
          </li>
        ))}
      </List>
    </details>
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
      <dt>Progress</dt>
      <dd>
        <Advance of={d} />
      </dd>
    </dl>
  );
}

const filters: { value: TaskFilter; label: string }[] = [
  { value: "", label: "All tasks" },
  { value: "open", label: "Under way" },
  { value: "verified", label: "Verified" },
  { value: "failed", label: "Failed" },
  { value: "left_out", label: "With patches left out" },
];

function Tasks({ of: d }: { of: Deployment }) {
  const [filter, setFilter] = useState<TaskFilter>("");
  const tasks = useTasks(d.id, filter);
  return (
    <Stack gap="sm">
      <Group justify="space-between">
        <Title order={2} size="h4">
          Tasks
        </Title>
        <Select
          aria-label="Which tasks to list"
          data={filters}
          value={filter}
          onChange={(to) => setFilter((to ?? "") as TaskFilter)}
          allowDeselect={false}
          size="xs"
          w={210}
        />
      </Group>
      <Show of={tasks} what="tasks">
        {(data) => {
          const list = data.pages.flatMap((p) => p.items);
          if (list.length === 0 && filter !== "") {
            return (
              <Empty title="No task fits">
                <Button variant="default" onClick={() => setFilter("")}>
                  Show all tasks
                </Button>
              </Empty>
            );
          }
          if (list.length === 0) return <Empty title="No task yet">Tasks are made when the first ring starts.</Empty>;
          return (
            <>
              <Sheet
                label="Tasks of this deployment"
                head={["Machine", "Ring", "State", "Patches", "Attempt", "Since"]}
              >
                {list.map((task) => (
                  <Row key={task.id} of={task} within={d} ring={d.rings?.[task.ring]?.name} />
                ))}
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
  const left = leftOut(task).length;
  return (
    <Fragment>
      <tr className="row">
        <td>
          <Toggle open={open} of={id} onChange={setOpen}>
            {task.hostname || task.endpoint}
          </Toggle>
        </td>
        <td>{ring ?? task.ring + 1}</td>
        <td>
          <Progress of={task.state} />{" "}
          {task.progress ? <span className="quiet">{task.progress} % of this step</span> : null}
          {task.reason && <div className="reason">{task.reason}</div>}
        </td>
        <td>
          {count(task.patches?.length ?? 0, "patch", "patches")}{" "}
          {left > 0 && (
            <Tag tone="note" title="The machine leaves them out; open the task to see which and why">
              {left.toLocaleString()} left out
            </Tag>
          )}
        </td>
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
      <LeftOutList of={leftOut(task)} />
      {changes.length === 0 ? (
        <span className="quiet">
          {live(task.state) ? "The machine has not said yet what changes." : "Nothing was changed."}
        </span>
      ) : (
        <Table head={["Package", "From", "To", "Why"]}>
          {changes.map((c) => (
            <tr key={`${c.package} ${c.from} ${c.to}`}>
              <td>{c.package}</td>
              <td className="version">{c.from || "newly installed"}</td>
              <td className="version">{c.to || "removed"}</td>
              <td>{c.why}</td>
            </tr>
          ))}
        </Table>
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
          patches={patches.map((id) => ({ id, label: id }))}
          staying={staying(within, task)}
          machines={[{ id: task.endpoint, name: task.hostname || task.endpoint }]}
          close={() => setAsking(false)}
        />
      )}
    </>
  );
}
