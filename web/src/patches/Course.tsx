import { Button, Text, Title } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { type Deployment, leftOut, tally, useDeployments, useTasks } from "../deployments/deployments";
import { Name } from "../deployments/Name";
import { Show } from "../look/Notice";
import { Sheet } from "../look/Sheet";
import { Progress } from "../look/Tag";
import { ago, moment } from "../look/words";

/** The deployments that a patch was part of, and the machines that left it out. */
export function Course({ patch }: { patch: string }) {
  const deployments = useDeployments(patch);
  const now = new Date();
  return (
    <div>
      <Title order={2} size="h4" mb="sm">
        Deployments of it
      </Title>
      <Show of={deployments} what="its deployments">
        {(data) => {
          const list = data.pages.flatMap((p) => p.items);
          return (
            <>
              {list.length === 0 ? (
                <Text size="sm" className="quiet">
                  {deployments.hasNextPage ? "None among the newest." : "None yet."}
                </Text>
              ) : (
                <Sheet
                  label="Deployments of this patch"
                  head={["Deployment", "Status", "Machines by state", "Left it out", "Started"]}
                >
                  {list.map((d) => (
                    <tr key={d.id} className="row">
                      <td>
                        <Name id={d.id} name={d.name} operation={d.operation} dry_run={d.dry_run} />
                      </td>
                      <td>
                        <Progress of={d.status} />
                      </td>
                      <td>{tally(d.counts) || <span className="quiet">no task yet</span>}</td>
                      <td>
                        <WhoLeftIt of={d} patch={patch} />
                      </td>
                      <td title={moment(d.created)}>
                        {ago(d.created, now)} <span className="quiet">by {d.created_by}</span>
                      </td>
                    </tr>
                  ))}
                </Sheet>
              )}
              {deployments.hasNextPage && (
                <Button mt="sm" variant="default" onClick={() => deployments.fetchNextPage()}>
                  Show older ones
                </Button>
              )}
            </>
          );
        }}
      </Show>
    </div>
  );
}

/** The machines of a deployment that left the patch out, the first few with the reason. */
function WhoLeftIt({ of: d, patch }: { of: Deployment; patch: string }) {
  const tasks = useTasks(d.id, "left_out", patch);
  const list = tasks.data?.pages.flatMap((p) => p.items) ?? [];
  if (list.length === 0) return <span className="quiet">{tasks.isPending ? "…" : "nobody"}</span>;
  return (
    <>
      {list.slice(0, 3).map((t) => (
        <div key={t.id}>
          <Link to="/machines/$id" params={{ id: t.endpoint }} className="link">
            {t.hostname || t.endpoint}
          </Link>
          <div className="reason">{leftOut(t).find((r) => r.patch === patch)?.reason}</div>
        </div>
      ))}
      {list.length > 3 && <span className="quiet">and more; the deployment names them</span>}
    </>
  );
}
