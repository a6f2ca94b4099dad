import { Link } from "@tanstack/react-router";
import { Tag } from "../look/Tag";

/** A deployment by its name, with what sets it apart. */
export function Name({
  id,
  name,
  operation,
  dry_run,
  emergency,
}: {
  id: string;
  name?: string;
  operation?: string;
  dry_run?: boolean;
  emergency?: boolean;
}) {
  return (
    <>
      <Link to="/deployments/$id" params={{ id }} className="link">
        {name || id}
      </Link>{" "}
      {operation === "rollback" && <Tag tone="warn">Rollback</Tag>} {dry_run && <Tag tone="info">Dry run</Tag>}{" "}
      {emergency && <Tag tone="warn">Emergency</Tag>}
    </>
  );
}
