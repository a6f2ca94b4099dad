import { useCallback, useState } from "react";
import type { Choice } from "./DecideDialog";

/** Which patches are selected, in the order in which they were. */
export function useSelection() {
  const [choices, setChoices] = useState<Choice[]>([]);
  const toggle = useCallback((c: Choice) => {
    setChoices((list) =>
      list.some((x) => x.patch === c.patch) ? list.filter((x) => x.patch !== c.patch) : [...list, c],
    );
  }, []);
  const clear = useCallback(() => setChoices([]), []);
  /** Selects all of them, or none when all are already. */
  const toggleAll = useCallback((all: Choice[]) => {
    setChoices((list) => (all.every((c) => list.some((x) => x.patch === c.patch)) ? [] : all));
  }, []);
  const has = (patch: string) => choices.some((c) => c.patch === patch);
  return { choices, toggle, toggleAll, clear, has };
}

export type Selection = ReturnType<typeof useSelection>;
