import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { mayAudit, useMe } from "../session/session";

/** The way to what the audit log has of something, for whoever may read it. */
export function AuditLink({ q, action, children }: { q: string; action?: string; children: ReactNode }) {
  const me = useMe();
  if (!mayAudit(me.data)) return null;
  return (
    <Link to="/audit" search={action ? { q, action } : { q }} className="link">
      {children}
    </Link>
  );
}
