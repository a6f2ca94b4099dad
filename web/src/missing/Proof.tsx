import { Stack, Text } from "@mantine/core";
import { percent } from "../look/words";
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
    <table className="grid">
      <thead>
        <tr>
          <th scope="col">Test</th>
          <th scope="col">Wanted</th>
          <th scope="col">Found on the machine</th>
          <th scope="col">Outcome</th>
        </tr>
      </thead>
      <tbody>
        {f.evidence.map((e) => (
          <tr key={`${e.test} ${e.want}`}>
            <td className="version">{e.test}</td>
            <td className="version">{wanted(e.want)}</td>
            <td className="version">{e.found}</td>
            <td>{outcomes[String(e.value)] ?? String(e.value)}</td>
          </tr>
        ))}
      </tbody>
    </table>
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

/** A CVE links to its public record; other names stand as they are. */
function Reference({ name }: { name: string }) {
  if (!/^CVE-\d{4}-\d+$/.test(name)) return name;
  return (
    <a href={`https://www.cve.org/CVERecord?id=${name}`} target="_blank" rel="noreferrer" className="link">
      {name}
    </a>
  );
}
