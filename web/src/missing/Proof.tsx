import { Stack, Text } from "@mantine/core";
import { Table } from "../look/Sheet";
import { moment, percent } from "../look/words";
import { type Finding, newestFirst } from "./missing";

const outcomes: Record<string, string> = {
  true: "holds",
  false: "does not hold",
  unknown: "can't be answered",
};

/** Which tests decided that a machine lacks the patch, with what they found. */
export function Evidence({ of: f }: { of: Finding }) {
  if (!f.evidence?.length) return <Text size="sm">No test was recorded.</Text>;
  return (
    <Table head={["Test", "Wanted", "Found on the machine", "Outcome"]}>
      {f.evidence.map((e) => (
        <tr key={`${e.test} ${e.want}`}>
          <td className="version">{e.test}</td>
          <td className="version">{wanted(e.want)}</td>
          <td className="version">
            {e.found}
            {e.by === "machine" && (
              <div className="quiet">the machine&rsquo;s own look{e.at ? `, ${moment(e.at)}` : ""}</div>
            )}
          </td>
          <td>{outcomes[String(e.value)] ?? String(e.value)}</td>
        </tr>
      ))}
    </Table>
  );
}

const operators: Record<string, string> = { lt: "<", le: "≤", eq: "=", ne: "≠", ge: "≥", gt: ">" };

/** "lt 3.0.17" as "< 3.0.17". */
export function wanted(text: string): string {
  const [op = "", ...rest] = text.split(" ");
  return operators[op] ? `${operators[op]} ${rest.join(" ")}` : text;
}

/** Advisories and CVEs that a patch answers. */
export function Risk({ advisories, cves, epss }: { advisories: string[]; cves: string[]; epss?: number }) {
  return (
    <Stack gap="xs">
      <div>
        <Text size="sm" fw={600}>
          Advisories
        </Text>
        {advisories.length === 0 ? <Text size="sm">The vendor named none.</Text> : <Names of={advisories} />}
      </div>
      <div>
        <Text size="sm" fw={600}>
          {cves.length === 1 ? "CVE" : "CVEs"} that the installed version still has
        </Text>
        {cves.length === 0 ? <Text size="sm">None is known.</Text> : <Names of={newestFirst(cves)} />}
      </div>
      {epss ? (
        <Text size="sm">
          The likeliest of them is used in attacks within 30 days with a probability of {percent(epss)} (EPSS).
        </Text>
      ) : null}
    </Stack>
  );
}

function Names({ of: names }: { of: string[] }) {
  return (
    <ul className="cves">
      {names.map((name) => (
        <li key={name}>
          <Reference name={name} />
        </li>
      ))}
    </ul>
  );
}

/** Where the public record of a CVE or of an update of Microsoft's is; nothing for other names. */
export function recordOf(name: string): string | undefined {
  if (/^CVE-\d{4}-\d+$/.test(name)) return `https://www.cve.org/CVERecord?id=${name}`;
  const kb = /^KB(\d{6,8})$/.exec(name);
  return kb ? `https://support.microsoft.com/help/${kb[1]}` : undefined;
}

/** A name with a public record links to it; others stand as they are. */
export function Reference({ name }: { name: string }) {
  const record = recordOf(name);
  if (!record) return name;
  return (
    <a href={record} target="_blank" rel="noreferrer" className="link">
      {name}
    </a>
  );
}
