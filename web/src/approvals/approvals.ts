import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { answer, api } from "../api/client";
import { useTenant } from "../session/session";

/** A decision as it is sent. */
export interface Decision {
  decision: "approve" | "decline";
  patches: string[];
  group?: string;
  reason?: string;
  /** When a decline is to be looked at again, RFC 3339. */
  review?: string;
}

export function useDecide() {
  const t = useTenant();
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: Decision) =>
      answer(api.POST("/api/v1/tenants/{t}/approvals", { params: { path: { t } }, body })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["missing"] }),
  });
}

/** Groups of machines, for which a decision can be made. */
export function useGroups(enabled: boolean) {
  const t = useTenant();
  return useQuery({
    queryKey: ["groups", t],
    queryFn: () => answer(api.GET("/api/v1/tenants/{t}/groups", { params: { path: { t } } })),
    enabled,
  });
}
