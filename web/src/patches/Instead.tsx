import { Text } from "@mantine/core";
import { Failure, Waiting } from "../look/Notice";
import { type PatchDetail, placesOf, usePatch } from "./patches";

/** Why nothing can be installed from a bulletin, and what to do instead. */
export function Instead({ patch }: { patch: string }) {
  const detail = usePatch(patch);
  if (detail.data) return <InsteadOf of={detail.data} />;
  if (detail.error) return <Failure error={detail.error} again={() => detail.refetch()} />;
  return <Waiting what="what to do instead" />;
}

export function InsteadOf({ of: d }: { of: PatchDetail }) {
  const why = d.patch.evidence.checks ?? [];
  return (
    <div className="advice">
      <Text fw={600}>Fettle can't install this</Text>
      {why.length > 0 ? (
        <ul className="plain">
          {why.map((sentence) => (
            <li key={sentence}>{reasonOf(sentence)}</li>
          ))}
        </ul>
      ) : (
        <Text size="sm">The publisher has found nothing in it that may be installed.</Text>
      )}
      <Text fw={600} mt="sm">
        What to do instead
      </Text>
      <ol className="plain">
        <li>
          Read what the vendor says: <Places of={d} />
        </li>
        <li>
          Install it on the machines by the vendor's own means, such as {means(d.patch.platform)}. Fettle has not
          examined the file: let the machine check its signature.
        </li>
        <li>Ask the machines for a fresh scan. What they have then disappears from the lists.</li>
        <li>
          If all that is wanting is proof of the vendor's file, run <code>fettle publisher prove {d.patch.id}</code>{" "}
          where the publisher runs; the next catalog then offers it here.
        </li>
      </ol>
    </div>
  );
}

/** Where the vendor writes about it. */
export function Places({ of: d }: { of: PatchDetail }) {
  const places = placesOf(d);
  if (places.length === 0) return `it names no page; look for ${d.patch.product} ${d.patch.version} at its maker's.`;
  return (
    <span className="row-list">
      {places.map((p) => (
        <a key={p.href} href={p.href} target="_blank" rel="noreferrer" className="link">
          {p.label}
        </a>
      ))}
    </span>
  );
}

/** The publisher's reason without what the heading has said already. */
export function reasonOf(sentence: string): string {
  const rest = sentence.replace(/^nothing is installed from it: /, "");
  return rest.charAt(0).toUpperCase() + rest.slice(1);
}

function means(platform: string): string {
  return platform.startsWith("windows")
    ? "Windows Update, the product's own updater or its installer"
    : "the package manager or the vendor's installer";
}
