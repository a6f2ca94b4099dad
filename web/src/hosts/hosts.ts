import { useInfiniteQuery, useMutation, useQuery } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import type { Tone } from "../look/Tag";
import { count } from "../look/words";
import { useTenant } from "../session/session";

export type Host = Schemas["Host"];
export type HostDetail = Schemas["HostDetail"];

/** What machines are picked by. */
export type With = "bulletins" | "user_only" | "broken" | "reboot_due";

export const withs: { value: With; label: string }[] = [
  { value: "broken", label: "With half-installed packages" },
  { value: "bulletins", label: "With bulletins" },
  { value: "user_only", label: "With users' own products" },
  { value: "reboot_due", label: "With a reboot due" },
];

/** The word of an address, if it is one. */
export function withFrom(word: unknown): With | undefined {
  return withs.find((w) => w.value === word)?.value;
}

/** Machines by the beginning of their names, page after page. */
export function useHosts(q: string, has?: With) {
  const t = useTenant();
  return useInfiniteQuery({
    queryKey: ["hosts", t, q, has],
    queryFn: ({ pageParam }) =>
      answer(
        api.GET("/api/v1/tenants/{t}/hosts", {
          params: { path: { t }, query: { q: q || undefined, with: has, limit: 200, after: pageParam || undefined } },
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

/** What the server says as the machine's problem when nothing worse is the
 * matter: the counts, which are told one by one here. */
const counted = /installed only half|can't be installed by Fettle|belong to single users/;

export interface Note {
  tone: Tone;
  text: string;
  more?: string;
}

/** What else people should know about a machine, in a few words each, the worst first. */
export function notes(h: Host): Note[] {
  const out: Note[] = [];
  if (h.state === "revoked") out.push({ tone: "bad", text: "Shut out" });
  if (h.problem && !counted.test(h.problem)) out.push({ tone: "bad", text: h.problem });
  if (h.broken > 0) out.push({ tone: "bad", text: `${count(h.broken, "package")} half installed`, more: h.problem });
  if (h.bulletins > 0) {
    const more = "Nothing can be installed from them; the machine's page says what to do instead";
    out.push({ tone: "note", text: count(h.bulletins, "bulletin"), more });
  }
  if (h.user_only > 0) {
    const more = "Only single users have them, for themselves; they are the users' to update";
    out.push({ tone: "info", text: `${count(h.user_only, "product")} of single users`, more });
  }
  if (h.reboot_due) out.push({ tone: "note", text: "Reboot due" });
  const n = h.restarts_due?.length ?? 0;
  if (n > 0) {
    out.push({
      tone: "note",
      text: n === 1 ? `${h.restarts_due?.[0]} needs a restart` : `${n} services need a restart`,
    });
  }
  return out;
}
