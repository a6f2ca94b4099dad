import type { CSSProperties, ReactNode } from "react";

/** A column: its name, or a box that selects all rows. */
export type Column =
  | string
  | { name: string; title?: string; numeric?: boolean; unseen?: boolean }
  | { box: ReactNode };

/** A table that has its place on a page. Where it is wider than that, it scrolls
 * in a region of its own that the keyboard reaches. */
export function Sheet({ label, head, children }: { label: string; head: Column[]; children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard (WCAG 2.1.1).
    <section className="panel scroll" aria-label={label} tabIndex={0}>
      <Table head={head}>{children}</Table>
    </section>
  );
}

/** A table of rows; on a narrow screen each row is a card whose cells cards.css
 * labels with the names of their columns. */
export function Table({ head, children }: { head: Column[]; children: ReactNode }) {
  return (
    <table className="grid" style={labels(head)}>
      <thead>
        <tr>
          {head.map((column, i) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: a column is its place.
            <Head key={i} of={typeof column === "string" ? { name: column } : column} />
          ))}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  );
}

function Head({ of: column }: { of: Exclude<Column, string> }) {
  if ("box" in column) return <th scope="col">{column.box}</th>;
  return (
    <th scope="col" className={column.numeric ? "numeric" : undefined} title={column.title}>
      {column.unseen ? <span className="unseen">{column.name}</span> : column.name}
    </th>
  );
}

/** How cards.css names the cells of the first column, the second and so on. */
export function labels(head: Column[]): CSSProperties {
  const name = (c: Column) => (typeof c === "string" ? c : "box" in c || c.unseen ? "" : c.name);
  return Object.fromEntries(head.map((c, i) => [`--column-${i + 1}`, JSON.stringify(name(c))]));
}
