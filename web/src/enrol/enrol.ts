import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";

export type NewToken = Schemas["NewToken"];
export type Token = Schemas["Token"];
export type TokenRow = Schemas["EstateToken"];

/** How long a token may live, as the server writes durations. */
export const lives = [
  { value: "1h", label: "1 hour" },
  { value: "8h", label: "8 hours" },
  { value: "24h", label: "24 hours" },
  { value: "168h", label: "7 days" },
  { value: "720h", label: "30 days" },
  { value: "2160h", label: "90 days" },
];

/** The most that the server takes. */
export const mostUses = 100_000;

/** Tokens that were made before, the newest first; asked often while machines come in. */
export function useTokens(tenant: string) {
  return useQuery({
    queryKey: ["tokens", tenant],
    queryFn: async () => {
      const path = { t: tenant };
      const list = await answer(api.GET("/api/v1/tenants/{t}/tokens", { params: { path, query: { limit: 1000 } } }));
      return list.items.sort((a, b) => b.created.localeCompare(a.created));
    },
    refetchInterval: 5_000,
  });
}

export function useNewToken(tenant: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: NewToken) =>
      answer(api.POST("/api/v1/tenants/{t}/tokens", { params: { path: { t: tenant } }, body })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["tokens", tenant] }),
    gcTime: 0, // the secret is not kept
  });
}

export function useEndToken(tenant: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (id: string) =>
      answer(api.DELETE("/api/v1/tenants/{t}/tokens/{id}", { params: { path: { t: tenant, id } } })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["tokens", tenant] }),
  });
}

/** Where machines stand. */
export function useSites(tenant: string) {
  return useQuery({
    queryKey: ["sites", tenant],
    queryFn: () =>
      answer(api.GET("/api/v1/tenants/{t}/sites", { params: { path: { t: tenant }, query: { limit: 1000 } } })),
  });
}

export type TokenState = "open" | "used up" | "expired" | "ended";

/** Whether a token still lets machines in. */
export function stateOf(t: Pick<TokenRow, "revoked" | "expires" | "used" | "uses">, now: Date): TokenState {
  if (t.revoked && Date.parse(t.revoked) > 0) return "ended";
  if (Date.parse(t.expires) <= now.getTime()) return "expired";
  return t.used >= t.uses ? "used up" : "open";
}

/** How many uses were typed; nothing for what the server would refuse. */
export function usesFrom(text: string): number | undefined {
  if (!/^\d+$/.test(text.trim())) return undefined;
  const n = Number(text);
  return n >= 1 && n <= mostUses ? n : undefined;
}
