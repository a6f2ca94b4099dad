import type { ReactNode } from "react";
import { ChevronIcon } from "./icons";

/** The head of a row that opens: whether it is open, and the id of what it opens. */
export function Toggle({
  open,
  of,
  onChange,
  children,
}: {
  open: boolean;
  of: string;
  onChange: (open: boolean) => void;
  children: ReactNode;
}) {
  return (
    <button
      type="button"
      className="toggle"
      aria-expanded={open}
      aria-controls={open ? of : undefined}
      onClick={() => onChange(!open)}
    >
      <ChevronIcon open={open} />
      {children}
    </button>
  );
}
