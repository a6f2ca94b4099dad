import { useQuery } from "@tanstack/react-query";
import { answer, api, type Schemas } from "../api/client";
import { useMe } from "../session/session";

export type Status = Schemas["Status"];
export type Catalog = Status["catalog"];
export type Payloads = Schemas["PayloadStatus"];
export type Damaged = Schemas["DamagedPayload"];

/** How the server and its catalog stand, asked every 30 seconds. */
export function useStatus() {
  const me = useMe();
  return useQuery({
    queryKey: ["status"],
    queryFn: () => answer(api.GET("/api/v1/status")),
    refetchInterval: 30_000,
    enabled: Boolean(me.data),
  });
}

/** Whether the signature's time has run out: then nothing newer can be trusted to exist or not. */
export function expired(c: Catalog, now: Date): boolean {
  const at = Date.parse(c.expires);
  return at > 0 && at <= now.getTime();
}

/** A fingerprint short enough to compare by eye. */
export function shortKey(key: string): string {
  return key.length > 16 ? `${key.slice(0, 8)}…` : key;
}
