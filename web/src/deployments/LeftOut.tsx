import { Text } from "@mantine/core";
import { PatchLink } from "../patches/PatchLink";

/** Patches that a machine left out, with the reason for each. */
export function LeftOutList({ of: list }: { of: { patch: string; reason: string }[] }) {
  if (list.length === 0) return null;
  return (
    <div>
      <Text size="sm" fw={600}>
        Left out by the machine
      </Text>
      <ul className="plain">
        {list.map((r) => (
          <li key={r.patch}>
            <PatchLink id={r.patch} />
            <div className="reason">{r.reason}</div>
          </li>
        ))}
      </ul>
    </div>
  );
}
