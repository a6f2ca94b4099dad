import { useInfiniteQuery } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { useTenant } from "../session/session";
import { decidable, type Standing } from "./standing";

/** A finding whose lists are never null. */
export type Finding = Schemas["Finding"] & { advisories: string[]; cves: string[] };

/** Go writes an empty list as null. */
export function whole(f: Schemas["Finding"]): Finding {
  return { ...f, advisories: f.advisories ?? [], cves: f.cves ?? [] };
}

/** What people know the package by: Windows calls some products by a number alone. */
export function nameOf(f: { kind: string; package: string; product: string }): string {
  return f.kind === "arp" && f.product ? f.product : f.package;
}

/** What the list of missing patches is narrowed to. */
export interface Filter {
  q?: string;
  severity?: string;
  security?: boolean;
  exploited?: boolean;
  /** What can be done about it. */
  standing?: Standing;
}

export const severities = ["critical", "important", "moderate", "low", "unknown"];

/** What machines lack, the whole fleet, one of them or of one patch; 1,000 rows at a time. */
export function useMissing(filter: Filter, of: { host?: string; patch?: string } = {}) {
  const t = useTenant();
  return useInfiniteQuery({
    queryKey: ["missing", t, of, filter],
    queryFn: async ({ pageParam }) => {
      const page = await answer(
        api.GET("/api/v1/tenants/{t}/missing", {
          params: {
            path: { t },
            query: {
              ...of,
              q: filter.q || undefined,
              severity: (filter.severity || undefined) as never,
              security: filter.security || undefined,
              exploited: filter.exploited || undefined,
              standing: filter.standing,
              limit: 1000,
              after: pageParam || undefined,
            },
          },
        }),
      );
      return { items: page.items.map(whole), next: page.next };
    },
    initialPageParam: "",
    getNextPageParam: (last) => last.next || undefined,
    placeholderData: (previous) => previous,
    refetchInterval: 30_000,
  });
}

/** One patch with all findings of it that have been loaded. */
export interface Needed {
  patch: string;
  product: string;
  version: string;
  severity: string;
  security: boolean;
  exploited: boolean;
  advisories: string[];
  cves: string[];
  findings: Finding[];
  machines: number;
  /** The decision, or "differs" when it is not the same for all the machines. */
  approval: string;
  /** How its findings stand, each standing once. */
  standings: Standing[];
  /** Whether there is anything to decide: on some machine it could be installed. */
  decidable: boolean;
}

const rank: Record<string, number> = { critical: 5, important: 4, moderate: 3, unknown: 2, low: 1 };

/** Orders by what should be looked at first: exploited, security, severity, then by name. */
export function byUrgency(
  a: { exploited?: boolean; security: boolean; severity: string; product: string; package?: string },
  b: typeof a,
): number {
  return (
    Number(b.exploited ?? false) - Number(a.exploited ?? false) ||
    Number(b.security) - Number(a.security) ||
    (rank[b.severity] ?? 0) - (rank[a.severity] ?? 0) ||
    a.product.localeCompare(b.product) ||
    (a.package ?? "").localeCompare(b.package ?? "")
  );
}

/** Gathers findings by patch, the most urgent first. */
export function byPatch(findings: Finding[]): Needed[] {
  const all = new Map<string, Finding[]>();
  for (const f of findings) {
    const list = all.get(f.patch);
    if (list) list.push(f);
    else all.set(f.patch, [f]);
  }
  return [...all.entries()].map(([patch, list]) => gather(patch, list)).sort(byUrgency);
}

function gather(patch: string, findings: Finding[]): Needed {
  const first = findings[0] as Finding;
  const worst = findings.reduce((a, f) => ((rank[f.severity] ?? 0) > (rank[a.severity] ?? 0) ? f : a), first);
  const open = findings.filter((f) => decidable(f.standing));
  const decisions = new Set((open.length > 0 ? open : findings).map((f) => f.approval));
  return {
    patch,
    product: first.product || first.package,
    version: first.available,
    severity: worst.severity,
    security: findings.some((f) => f.security),
    exploited: findings.some((f) => f.exploited),
    advisories: distinct(findings.flatMap((f) => f.advisories)),
    cves: distinct(findings.flatMap((f) => f.cves)),
    findings,
    machines: new Set(findings.map((f) => f.endpoint)).size,
    approval: decisions.size === 1 ? (open[0] ?? first).approval : "differs",
    standings: [...new Set(findings.map((f) => f.standing))],
    decidable: open.length > 0,
  };
}

export function distinct(words: string[]): string[] {
  return [...new Set(words)].sort();
}

/** The newest CVEs first: CVE-2025-10 before CVE-2025-9, both before CVE-2024-1. */
export function newestFirst(cves: string[]): string[] {
  const parts = (id: string) => id.split("-").map((p) => Number.parseInt(p, 10) || 0);
  return [...cves].sort((a, b) => {
    const [, ya = 0, na = 0] = parts(a);
    const [, yb = 0, nb = 0] = parts(b);
    return yb - ya || nb - na;
  });
}
