import { Checkbox } from "@mantine/core";
import type { Choice } from "./DecideDialog";
import type { Selection } from "./selection";

/** Selects one patch. */
export function SelectBox({ choice, selection }: { choice: Choice; selection: Selection }) {
  return (
    <Checkbox
      size="sm"
      aria-label={`Select ${choice.label}`}
      checked={selection.has(choice.patch)}
      onChange={() => selection.toggle(choice)}
    />
  );
}

/** Selects all patches of a table. */
export function SelectAll({ all, selection }: { all: Choice[]; selection: Selection }) {
  const chosen = all.filter((c) => selection.has(c.patch)).length;
  return (
    <Checkbox
      size="sm"
      aria-label="Select all patches that are shown"
      label="Select all"
      classNames={{ labelWrapper: "said" }}
      checked={all.length > 0 && chosen === all.length}
      indeterminate={chosen > 0 && chosen < all.length}
      onChange={() => selection.toggleAll(all)}
    />
  );
}
