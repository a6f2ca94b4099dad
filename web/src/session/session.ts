import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { answer, api, asProblem, type Schemas } from "../api/client";

export type Me = Schemas["Me"];

const key = ["me"];

/** Who is signed in; null for nobody. */
export function useMe() {
  return useQuery({
    queryKey: key,
    queryFn: async (): Promise<Me | null> => {
      try {
        return await answer(api.GET("/api/v1/me"));
      } catch (error) {
        if (asProblem(error).status === 401) return null;
        throw error;
      }
    },
    staleTime: 60_000,
  });
}

/** After anything that changes who is signed in, all that was known is forgotten. */
function useForget() {
  const client = useQueryClient();
  return async () => {
    client.removeQueries({ predicate: (q) => q.queryKey[0] !== key[0] });
    await client.invalidateQueries({ queryKey: key });
  };
}

export function useSignIn() {
  const forget = useForget();
  return useMutation({
    mutationFn: (body: { name: string; password: string }) => answer(api.POST("/api/v1/session", { body })),
    onSuccess: forget,
  });
}

export function useSignOut() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: () => answer(api.DELETE("/api/v1/session")),
    onSuccess: () => {
      client.setQueryData(key, null);
      client.removeQueries({ predicate: (q) => q.queryKey[0] !== key[0] });
    },
  });
}

export function useSetup() {
  const forget = useForget();
  return useMutation({
    mutationFn: (body: { token: string; name: string; password: string }) =>
      answer(api.POST("/api/v1/setup", { body })),
    onSuccess: forget,
  });
}

/** The tenant that the person works in: the first that they may enter, else the one that every server has. */
export function tenantOf(me: Me | null | undefined): string {
  return me?.tenants[0]?.id ?? "main";
}

export function useTenant(): string {
  return tenantOf(useMe().data);
}

/** Whether the person may approve and decline in the tenant. The server
 * decides; this only keeps buttons away that it would refuse. */
export function mayDecide(me: Me | null | undefined): boolean {
  return may(me, "approve_patch");
}

/** Whether the person may deploy and roll back in the tenant. */
export function mayDeploy(me: Me | null | undefined): boolean {
  return may(me, "run_deploy");
}

/** Whether the person may add machines to the tenant, or else to the one that he works in. */
export function mayEnrol(me: Me | null | undefined, tenant?: string): boolean {
  return may(me, "manage_hosts", tenant);
}

/** Whether the person may read the audit log of the tenant, or with "*" the server's own. */
export function mayAudit(me: Me | null | undefined, tenant?: string): boolean {
  return may(me, "read_audit", tenant);
}

type Right = "approve_patch" | "run_deploy" | "manage_hosts" | "read_audit";

function may(me: Me | null | undefined, what: Right, tenant?: string): boolean {
  const within = ["*", tenant ?? tenantOf(me)];
  return within.some((scope) => me?.permissions[scope]?.includes(what));
}
