import { Link } from "@tanstack/react-router";

/** A patch's id, which leads to its page. */
export function PatchLink({ id }: { id: string }) {
  return (
    <Link to="/patches/$id" params={{ id }} className="link version">
      {id}
    </Link>
  );
}
