import { Select } from "@mantine/core";
import { Approval, Tag } from "../look/Tag";
import { type Standing, standingFrom, standings } from "./standing";

/** Why a finding is not simply missing; nothing for those that are. */
export function StandingTag({ of }: { of: Standing }) {
  const { tag, means } = standings[of];
  if (!tag) return null;
  return (
    <Tag tone={tag[0]} title={means}>
      {tag[1]}
    </Tag>
  );
}

/** The decision about a finding, or why there is none to make. */
export function Decided({ standing, approval }: { standing: Standing; approval: string }) {
  const { instead, means } = standings[standing];
  if (!instead) return <Approval of={approval} />;
  return (
    <span className="quiet" title={means}>
      {instead}
    </span>
  );
}

/** Narrows a list of findings to what can be done about them. */
export function StandingFilter({
  value,
  onChange,
  size,
}: {
  value: Standing | undefined;
  onChange: (to: Standing | undefined) => void;
  size?: "xs" | "sm";
}) {
  return (
    <Select
      aria-label="What can be done"
      placeholder="Whatever can be done"
      data={Object.entries(standings).map(([value, words]) => ({ value, label: words.choice }))}
      value={value ?? null}
      onChange={(word) => onChange(standingFrom(word))}
      clearable
      clearButtonProps={{ "aria-label": "Whatever can be done" }}
      w={250}
      size={size}
    />
  );
}
