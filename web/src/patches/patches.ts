import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { recordOf } from "../missing/Proof";
import { useTenant } from "../session/session";

export type PatchRow = Schemas["PatchRow"];
export type PatchDetail = Schemas["PatchDetail"];
export type Holder = Schemas["Holder"];

/** What the list of patches is narrowed to. */
export interface PatchFilter {
  q?: string;
  severity?: string;
  security?: boolean;
  needed?: boolean;
  bulletin?: boolean;
  approval?: string;
}

/** The catalog's patches, page after page. */
export function usePatches(filter: PatchFilter) {
  const t = useTenant();
  return useInfiniteQuery({
    queryKey: ["patches", t, filter],
    queryFn: ({ pageParam }) =>
      answer(
        api.GET("/api/v1/tenants/{t}/patches", {
          params: {
            path: { t },
            query: {
              q: filter.q || undefined,
              severity: (filter.severity || undefined) as never,
              approval: (filter.approval || undefined) as never,
              security: filter.security || undefined,
              needed: filter.needed || undefined,
              bulletin: filter.bulletin || undefined,
              limit: 100,
              after: pageParam || undefined,
            },
          },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next || undefined,
    placeholderData: (previous) => previous,
    refetchInterval: 30_000,
  });
}

/** One patch with all that is known of it. */
export function usePatch(id: string) {
  const t = useTenant();
  return useQuery({
    queryKey: ["patch", t, id],
    queryFn: () => answer(api.GET("/api/v1/tenants/{t}/patches/{id}", { params: { path: { t, id } } })),
    refetchInterval: 30_000,
  });
}

/** Who has the patch; asked only where it can be taken back. */
export function useHolders(id: string, enabled: boolean) {
  const t = useTenant();
  return useInfiniteQuery({
    queryKey: ["holders", t, id],
    queryFn: ({ pageParam }) =>
      answer(
        api.GET("/api/v1/tenants/{t}/patches/{id}/holders", {
          params: { path: { t, id }, query: { limit: 200, after: pageParam || undefined } },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next || undefined,
    refetchInterval: 30_000,
    enabled,
  });
}

/** A place where the vendor says more. */
export interface Place {
  label: string;
  href: string;
}

const mostPlaces = 6;

/** Where the vendor writes about a patch, the most telling first: updates of
 * Microsoft by their number, then what the advisories refer to, then where the
 * file is offered. Nothing but the web's own addresses. */
export function placesOf(d: Pick<PatchDetail, "patch" | "advisories">): Place[] {
  const out = new Map<string, Place>();
  const add = (href: string | undefined, label: string) => {
    if (href && isWeb(href) && !out.has(href)) out.set(href, { href, label });
  };
  for (const id of d.patch.advisories ?? []) add(recordOf(id), id);
  for (const a of d.advisories) {
    for (const href of a.references ?? []) add(href, out.size === 0 ? a.id : hostOf(href));
  }
  if (out.size === 0) {
    for (const item of d.patch.items ?? []) add(item.p.url, hostOf(item.p.url ?? ""));
  }
  return [...out.values()].slice(0, mostPlaces);
}

function isWeb(href: string): boolean {
  return URL.canParse(href) && ["https:", "http:"].includes(new URL(href).protocol);
}

function hostOf(href: string): string {
  return URL.canParse(href) ? new URL(href).hostname : href;
}

/** "7-Zip 24.08". */
export function nameOfPatch(p: { product: string; version: string }): string {
  return `${p.product} ${p.version}`.trim();
}
