import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { capital, plain } from "../look/words";
import { useTenant } from "../session/session";

export type Entry = Schemas["AuditEntry"];
export type Verdict = Schemas["AuditVerdict"];

/** What the log is narrowed to; days are the reader's own, as 2026-11-22. */
export interface AuditFilter {
  /** The server's own log instead of the tenant's. */
  server?: boolean;
  actor?: string;
  action?: string;
  q?: string;
  from?: string;
  to?: string;
}

/** Reads a filter out of an address. */
export function auditFilterFrom(s: Record<string, unknown>): AuditFilter {
  const text = (v: unknown) => (v === undefined ? "" : String(v));
  const day = (v: unknown) => (typeof v === "string" && !Number.isNaN(midnight(v)) ? v : "");
  return {
    server: s.server === true,
    actor: text(s.actor),
    action: text(s.action),
    q: text(s.q),
    from: day(s.from),
    to: day(s.to),
  };
}

function midnight(day: string, later = 0): number {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(day)) return Number.NaN;
  const at = new Date(`${day}T00:00:00`);
  at.setDate(at.getDate() + later); // a day may have 23 hours
  return at.getTime();
}

/** The moments between which the days of a filter lie, the last day included. */
export function between(f: AuditFilter): { from?: string; to?: string } {
  const moment = (at: number) => new Date(at).toISOString();
  return {
    ...(f.from && { from: moment(midnight(f.from)) }),
    ...(f.to && { to: moment(midnight(f.to, 1)) }),
  };
}

/** The entries of a log, newest first, page after page. */
export function useAudit(filter: AuditFilter) {
  const t = useTenant();
  return useInfiniteQuery({
    queryKey: ["audit", t, filter],
    queryFn: ({ pageParam }) => {
      const query = {
        actor: filter.actor || undefined,
        action: filter.action || undefined,
        q: filter.q || undefined,
        ...between(filter),
        limit: 100,
        after: pageParam || undefined,
      };
      return answer(
        filter.server
          ? api.GET("/api/v1/audit", { params: { query } })
          : api.GET("/api/v1/tenants/{t}/audit", { params: { path: { t }, query } }),
      );
    },
    initialPageParam: "",
    getNextPageParam: (last) => last.next || undefined,
    placeholderData: (previous) => previous,
  });
}

/** Whether all chains are whole. The server reads every entry for it, so it is asked once a visit. */
export function useVerdict(enabled: boolean) {
  return useQuery({
    queryKey: ["audit-verify"],
    queryFn: () => answer(api.GET("/api/v1/audit/verify")),
    enabled,
    staleTime: 5 * 60_000,
    refetchOnWindowFocus: false,
  });
}

/** What can be done and is recorded, as the server names it; the rest is shown by its name. */
const deeds: Record<string, string> = {
  approve: "Approve patches",
  decline: "Decline patches",
  "approvals.create": "Approve or decline patches",
  "approvals.withdraw": "Withdraw a decision",
  "deployments.create": "Begin a deployment",
  "deployments.halt": "Halt a deployment",
  "deployments.resume": "Let a deployment go on",
  "deployments.cancel": "End a deployment",
  "endpoint.copied": "Copy of a machine noticed",
  "endpoint.enrol": "Enrol a machine",
  "endpoint.foreign_task": "Ask for another machine's task",
  "endpoint.renew": "Renew a machine's certificate",
  "groups.create": "Add a group",
  "groups.delete": "Remove a group",
  "groups.put": "Choose a group's machines",
  "hosts.revoke": "Shut a machine out",
  "hosts.scan": "Ask a machine for a scan",
  "keys.create": "Make an API key",
  "keys.delete": "End an API key",
  "payload.damaged": "Damaged file found",
  "payloads.collect": "Remove files that nobody needs",
  "session.create": "Sign in",
  "session.delete": "Sign out",
  "setup.run": "Make the first administrator",
  "sites.put": "Add or change a site",
  "sync.run": "Bring the catalog up to date",
  "tenants.create": "Add a tenant",
  "tokens.create": "Make an enrolment token",
  "tokens.delete": "End an enrolment token",
  "users.create": "Add a person",
  "users.delete": "Remove a person",
  "users.password": "Replace a password",
};

/** What actions are picked by: the beginnings of their names. */
export function topics(server: boolean): { value: string; label: string }[] {
  return server
    ? [
        { value: "session", label: "Signing in and out" },
        { value: "users", label: "People" },
        { value: "keys", label: "API keys" },
        { value: "tenants", label: "Tenants" },
        { value: "sync", label: "Catalog" },
        { value: "payload", label: "Files of vendors" },
      ]
    : [
        { value: "approvals", label: "Approvals" },
        { value: "deployments", label: "Deployments" },
        { value: "hosts", label: "Machines, by people" },
        { value: "endpoint", label: "Machines, by themselves" },
        { value: "groups", label: "Groups" },
        { value: "tokens", label: "Enrolment tokens" },
        { value: "sites", label: "Sites" },
      ];
}

export interface Deed {
  text: string;
  outcome: "done" | "failed" | "denied";
}

/** An action in words, and whether it was done. */
export function deedOf(action: string, object = ""): Deed {
  const end = /\.(failed|denied)$/.exec(action);
  let name = end ? action.slice(0, end.index) : action;
  // A decision's object says which of the two it was.
  if (name === "approvals.create" && /^(approve|decline)$/.test(object)) name = object;
  return { text: deeds[name] ?? capital(plain(name)), outcome: (end?.[1] as Deed["outcome"]) ?? "done" };
}

const kinds: Record<string, string> = {
  user: "a person",
  key: "an API key",
  local: "the command line on the server",
  system: "by itself",
  stranger: "nobody who is known",
};

/** What kind of actor did it, in words. */
export function kindOf(kind: string): string {
  return kinds[kind] ?? kind;
}

/** The patches that the detail of a decision or a rollback ends with. */
export function patchesOf(detail: string | undefined): string[] {
  const words = (detail ?? "").split(" ").map((w) => w.replace(/[,;]$/, ""));
  return [...new Set(words.filter((w) => /^[a-z0-9][^\s:()]*:[^\s:()]+:[^\s()]+$/.test(w)))];
}

/** The page of what an entry is about, if there is one. */
export function placeOf(e: Entry): { to: "/deployments/$id" | "/machines/$id"; id: string } | undefined {
  if (!e.object || e.object.includes("/")) return undefined; // the path of a request that was refused
  if (e.action.startsWith("deployments.")) return { to: "/deployments/$id", id: e.object };
  if (/^(hosts|endpoint)\./.test(e.action)) return { to: "/machines/$id", id: e.object };
  return undefined;
}
