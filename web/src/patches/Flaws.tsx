import { Anchor, Group, Text, Title } from "@mantine/core";
import { useState } from "react";
import { Sheet } from "../look/Sheet";
import { Exploited, Severity } from "../look/Tag";
import { percent } from "../look/words";
import { Reference } from "../missing/Proof";
import type { PatchDetail } from "./patches";

const few = 10;

/** The flaws that a patch mends, the worst first. */
export function Flaws({ of: d }: { of: PatchDetail }) {
  const [all, setAll] = useState(false);
  const list = [...d.vulnerabilities].sort(
    (a, b) =>
      Number(Boolean(b.kev)) - Number(Boolean(a.kev)) || (b.cvss ?? 0) - (a.cvss ?? 0) || a.id.localeCompare(b.id),
  );
  const fixed = d.patch.cves?.length ?? 0;
  return (
    <div>
      <Title order={2} size="h4" mb="sm">
        Flaws that it mends
      </Title>
      {list.length === 0 ? (
        <Text size="sm" className="quiet">
          {fixed > 0 ? d.patch.cves?.map((c) => c.id).join(", ") : "The vendor names none."}
        </Text>
      ) : (
        <Sheet
          label="Flaws that it mends"
          head={[
            "CVE",
            "Severity",
            { name: "CVSS", title: "Common Vulnerability Scoring System, 0 to 10", numeric: true },
            { name: "EPSS", title: "How likely it is used in attacks within 30 days (FIRST)", numeric: true },
            "What it is",
          ]}
        >
          {list.slice(0, all ? undefined : few).map((v) => (
            <tr key={v.id} className="row">
              <td className="amount">
                <Reference name={v.id} />
              </td>
              <td>
                <Group gap={6}>
                  <Severity of={v.severity ?? "unknown"} />
                  {v.kev && <Exploited />}
                </Group>
              </td>
              <td className="numeric">{v.cvss ? v.cvss.toFixed(1) : "–"}</td>
              <td className="numeric">{v.epss ? percent(v.epss) : "–"}</td>
              <td className="reason">{v.description || v.impact || "not described"}</td>
            </tr>
          ))}
        </Sheet>
      )}
      {list.length > few && !all && (
        <Anchor component="button" type="button" mt="sm" onClick={() => setAll(true)}>
          Show all {list.length.toLocaleString()}
        </Anchor>
      )}
    </div>
  );
}
