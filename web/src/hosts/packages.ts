import { useInfiniteQuery } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { useTenant } from "../session/session";

/** A package or product of a machine; the keys are short because machines have thousands. */
export type Software = Schemas["InventoryPackage"];

/** The kinds that Windows reports, as people call them. */
export const kinds = [
  { value: "arp", label: "Programs" },
  { value: "appx", label: "Apps" },
  { value: "kb", label: "Updates" },
  { value: "cbs", label: "Components" },
];

/** What a machine has, page after page. */
export function useSoftware(id: string, q: string, kind: string) {
  const t = useTenant();
  return useInfiniteQuery({
    queryKey: ["software", t, id, q, kind],
    queryFn: ({ pageParam }) =>
      answer(
        api.GET("/api/v1/tenants/{t}/hosts/{id}/packages", {
          params: {
            path: { t, id },
            query: { q: q || undefined, kind: kind || undefined, limit: 100, after: pageParam || undefined },
          },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next || undefined,
    placeholderData: (previous) => previous,
  });
}

/** What people know it by. */
export function titleOf(p: Software): string {
  return p.t || p.n;
}

/** Who has it, when that is not the whole machine. */
export function ownerOf(p: Software): string {
  return p.sc?.startsWith("user:") ? p.sc.slice("user:".length) : "";
}

/** "Enterprise, version 22H2, build 10.0.19045.4291". */
export function windows(os: Schemas["InventoryOS"]): string {
  const parts = [
    os.edition,
    os.codename ? `version ${os.codename}` : "",
    os.build ? `build ${os.build}` : "",
    os.arch === "386" ? "32-bit" : "",
  ];
  return parts.filter(Boolean).join(", ") || "nothing reported";
}
