import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { useTenant } from "../session/session";

export type Deployment = Schemas["Deployment"];
export type Task = Schemas["Task"];

/** While something runs it is asked every 2 seconds, else rarely. */
const pace = (live: boolean) => (live ? 2_000 : 30_000);

const ended = ["planned", "verified", "failed", "no_longer_applicable", "cancelled", "expired"];

/** Whether a task can still change. */
export function live(state: string): boolean {
  return !ended.includes(state);
}

/** All deployments, or those of one patch, the newest first. */
export function useDeployments(patch?: string) {
  const t = useTenant();
  return useInfiniteQuery({
    queryKey: ["deployments", t, patch],
    queryFn: ({ pageParam }) =>
      answer(
        api.GET("/api/v1/tenants/{t}/deployments", {
          params: { path: { t }, query: { patch, limit: 100, after: pageParam || undefined } },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next || undefined,
    refetchInterval: (q) => pace(q.state.data?.pages.some((p) => p.items.some((d) => d.status === "running")) ?? false),
  });
}

export function useDeployment(id: string) {
  const t = useTenant();
  return useQuery({
    queryKey: ["deployment", t, id],
    queryFn: () => answer(api.GET("/api/v1/tenants/{t}/deployments/{id}", { params: { path: { t, id } } })),
    refetchInterval: (q) => pace(q.state.data?.status === "running"),
  });
}

/** What the list of tasks is narrowed to. */
export type TaskFilter = "" | "open" | "failed" | "verified" | "left_out";

const states: Partial<Record<TaskFilter, string[]>> = {
  open: [
    "queued",
    "awaiting_approval",
    "scheduled",
    "planning",
    "staging",
    "downloading",
    "staged",
    "waiting_for_window",
    "waiting_for_user",
    "waking",
    "installing",
    "waiting_for_reboot",
    "rebooting",
    "verifying",
    "retry_planned",
  ],
  failed: ["failed", "expired"],
  verified: ["verified", "planned"],
};

/** The tasks of a deployment; of "left_out" also only those that left one patch out. */
export function useTasks(id: string, filter: TaskFilter, patch?: string) {
  const t = useTenant();
  return useInfiniteQuery({
    queryKey: ["tasks", t, id, filter, patch],
    queryFn: ({ pageParam }) =>
      answer(
        api.GET("/api/v1/tenants/{t}/deployments/{id}/tasks", {
          params: {
            path: { t, id },
            query: {
              limit: 200,
              after: pageParam || undefined,
              state: states[filter],
              left_out: filter === "left_out" || undefined,
              patch,
            },
          },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next || undefined,
    placeholderData: (previous) => previous,
    refetchInterval: (q) => pace(q.state.data?.pages.some((p) => p.items.some((task) => live(task.state))) ?? false),
  });
}

/** What deployments did on a machine, the newest first. */
export function useHostTasks(id: string, leftOut: boolean) {
  const t = useTenant();
  return useInfiniteQuery({
    queryKey: ["host tasks", t, id, leftOut],
    queryFn: ({ pageParam }) =>
      answer(
        api.GET("/api/v1/tenants/{t}/hosts/{id}/tasks", {
          params: {
            path: { t, id },
            query: { left_out: leftOut || undefined, limit: 10, after: pageParam || undefined },
          },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next || undefined,
    placeholderData: (previous) => previous,
    refetchInterval: (q) => pace(q.state.data?.pages.some((p) => p.items.some((task) => live(task.state))) ?? false),
  });
}

/** "3 verified, 1 failed" in the order of a task's life; empty when nothing is counted. */
export function tally(counts: Record<string, number> | undefined): string {
  return Object.entries(counts ?? {})
    .filter(([, n]) => n > 0)
    .sort(([a], [b]) => Number(live(a)) - Number(live(b)) || a.localeCompare(b))
    .map(([state, n]) => `${n.toLocaleString()} ${state.replaceAll("_", " ")}`)
    .join(", ");
}

/** A rollback as it is asked for. */
export interface Rollback {
  patches: string[];
  endpoints: string[];
  reason: string;
  keep_approval: boolean;
}

export function useRollback() {
  const t = useTenant();
  const client = useQueryClient();
  return useMutation({
    mutationFn: (ask: Rollback) =>
      answer(
        api.POST("/api/v1/tenants/{t}/deployments", {
          params: { path: { t } },
          body: { ...ask, operation: "rollback" },
        }),
      ),
    onSuccess: (made) => {
      client.setQueryData(["left out", made.id], made.left_out);
      for (const queryKey of [["deployments"], ["holders"], ["missing"], ["patch"]])
        client.invalidateQueries({ queryKey });
    },
  });
}

/** What was left out when the deployment was made, by the reason; the server
 * tells it once, to whoever made it. */
export function useLeftOut(id: string): Record<string, number> {
  return useQuery<Record<string, number>>({ queryKey: ["left out", id], enabled: false, gcTime: 3_600_000 }).data ?? {};
}

/** What a machine's plan or its installation left out, with the reason for each. */
export function leftOut(task: Pick<Task, "plan" | "result">): { patch: string; reason: string }[] {
  const all = [...(task.plan?.refused ?? []), ...(task.result?.refused ?? [])];
  return [...new Map(all.map((r) => [r.patch, r])).values()];
}

/** Which patches of a task stay when the others are taken back, and why. */
export function staying(d: Deployment, task: Task): { patch: string; reason: string }[] {
  const left = new Set(task.plan?.refused?.map((r) => r.patch));
  const mine = new Set((task.patches ?? []).map((p) => p.id).filter((id) => !left.has(id)));
  return (d.one_way ?? []).filter((o) => mine.has(o.patch));
}

/** Which patches of a task can be taken back: those that its machine has proven to have. */
export function takeable(d: Deployment, task: Task): string[] {
  if (d.operation === "rollback" || d.dry_run || task.state !== "verified") return [];
  const left = new Set(task.plan?.refused?.map((r) => r.patch));
  return (task.patches ?? []).map((p) => p.id).filter((id) => d.reversible?.includes(id) && !left.has(id));
}
