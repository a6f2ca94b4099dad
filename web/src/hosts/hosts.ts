import { useInfiniteQuery, useMutation, useQuery } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { useTenant } from "../session/session";

export type Host = Schemas["Host"];
export type HostDetail = Schemas["HostDetail"];

/** Machines by the beginning of their names, page after page. */
export function useHosts(q: string) {
  const t = useTenant();
  return useInfiniteQuery({
    queryKey: ["hosts", t, q],
    queryFn: ({ pageParam }) =>
      answer(
        api.GET("/api/v1/tenants/{t}/hosts", {
          params: { path: { t }, query: { q: q || undefined, limit: 200, after: pageParam || undefined } },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next || undefined,
    placeholderData: (previous) => previous,
    refetchInterval: 30_000,
  });
}

export function useHost(id: string) {
  const t = useTenant();
  return useQuery({
    queryKey: ["host", t, id],
    queryFn: () => answer(api.GET("/api/v1/tenants/{t}/hosts/{id}", { params: { path: { t, id } } })),
    refetchInterval: 15_000,
  });
}

export function useScan(id: string) {
  const t = useTenant();
  return useMutation({
    mutationFn: () => answer(api.POST("/api/v1/tenants/{t}/hosts/{id}/scan", { params: { path: { t, id } } })),
  });
}

/** What else people should know about a machine, in a few words each. */
export function notes(h: Host): string[] {
  const out: string[] = [];
  if (h.state === "revoked") out.push("Shut out");
  if (h.problem) out.push(h.problem);
  if (h.reboot_due) out.push("Reboot due");
  const n = h.restarts_due?.length ?? 0;
  if (n > 0) out.push(n === 1 ? `${h.restarts_due?.[0]} needs a restart` : `${n} services need a restart`);
  return out;
}
