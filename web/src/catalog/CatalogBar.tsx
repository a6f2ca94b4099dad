import { Alert, Box, Group, List, Popover, Text, UnstyledButton } from "@mantine/core";
import { Failure } from "../look/Notice";
import { Tag } from "../look/Tag";
import { ago, capital, count, moment, span } from "../look/words";
import { type Catalog, expired, shortKey, useStatus } from "./catalog";

/** In the header: which catalog answers, how old it is and who signed it. */
export function CatalogBadge() {
  const { data } = useStatus();
  if (!data) return null;
  const c = data.catalog;
  if (!c.version) return <Tag tone="warn">No catalog yet</Tag>;
  const trouble = c.error || expired(c, new Date());
  return (
    <Popover width={380} position="bottom-end" shadow="md" withArrow>
      <Popover.Target>
        <UnstyledButton className="toggle" title="About the catalog">
          <Tag tone={trouble ? "bad" : "good"}>
            Catalog {c.version}
            <Box component="span" visibleFrom="sm">
              · {c.age_seconds < 60 ? "new" : `${span(c.age_seconds)} old`} · {signers(c)}
            </Box>
          </Tag>
        </UnstyledButton>
      </Popover.Target>
      <Popover.Dropdown>
        <CatalogFacts catalog={c} />
      </Popover.Dropdown>
    </Popover>
  );
}

/** Who signed, as short as a header needs it. */
function signers(c: Catalog): string {
  const [first, ...rest] = c.signers ?? [];
  if (!first) return "not signed";
  return rest.length === 0 ? `signed by ${shortKey(first)}` : `signed by ${count(rest.length + 1, "key")}`;
}

function CatalogFacts({ catalog: c }: { catalog: Catalog }) {
  return (
    <dl className="facts">
      <dt>Version</dt>
      <dd>{c.version}</dd>
      <dt>Published</dt>
      <dd>
        {moment(c.created)} ({ago(c.created, new Date())})
      </dd>
      <dt>Valid until</dt>
      <dd>{moment(c.expires)}</dd>
      <dt>From</dt>
      <dd className="version">{c.source}</dd>
      <dt>Signed by</dt>
      <dd>
        {c.signers.length === 0 && "nobody named"}
        {c.signers.map((key) => (
          <div key={key} className="version" title={key}>
            {shortKey(key)}
          </div>
        ))}
      </dd>
      {c.platforms?.map((p) => (
        <Platform key={p.platform} of={p} />
      ))}
    </dl>
  );
}

function Platform({ of: p }: { of: NonNullable<Catalog["platforms"]>[number] }) {
  return (
    <>
      <dt>{p.platform}</dt>
      <dd>
        {count(p.patches, "patch", "patches")}, {count(p.advisories, "advisory", "advisories")}, {count(p.cves, "CVE")}
      </dd>
    </>
  );
}

/** Below the header: what is wrong with the catalog, and what is not as usual. */
export function CatalogTrouble() {
  const { data, error, refetch } = useStatus();
  if (error) return <Failure error={error} again={refetch} />;
  if (!data) return null;
  const c = data.catalog;
  return (
    <>
      {!c.version && !c.error && (
        <Alert color="yellow" title="There is no catalog yet" role="status">
          Until the first one arrives nothing can be found missing. Fettle fetches it by itself; “fettle doctor” says
          what holds it up.
        </Alert>
      )}
      <Outdated catalog={c} />
      {c.version > 0 && expired(c, new Date()) && (
        <Alert color="red" title={`Catalog ${c.version} has expired`} role="alert">
          Its signature was valid until {moment(c.expires)}. What has been published since is not shown. Check that the
          publisher runs and that this server reaches {c.source}.
        </Alert>
      )}
    </>
  );
}

/** Why there is no newer catalog, what to do about it and what goes on meanwhile; nothing when all is well. */
export function Outdated({ catalog: c }: { catalog: Catalog }) {
  if (!c.error) return null;
  return (
    <Alert color="red" title="The catalog could not be brought up to date" role="alert">
      <Text size="sm">{capital(c.error)}.</Text>
      {c.hint && <Text size="sm">{capital(c.hint)}.</Text>}
      {c.version > 0 && <Text size="sm">Catalog {c.version} stays in use.</Text>}
    </Alert>
  );
}

/** What the publisher says about the catalog: sources that failed, severities that could not be had. */
export function CatalogNotes() {
  const { data } = useStatus();
  const notes = data?.catalog.notes ?? [];
  if (notes.length === 0) return null;
  return (
    <details className="panel">
      <summary>
        <Group component="span" display="inline-flex" gap="xs" wrap="nowrap" maw="92%" align="flex-start">
          <Tag tone="note">{count(notes.length, "note")}</Tag>
          <Text component="span" size="sm">
            What the publisher says about this catalog
          </Text>
        </Group>
      </summary>
      <List size="sm" px="md" pb="md" withPadding>
        {notes.map((note) => (
          <List.Item key={note}>{note}</List.Item>
        ))}
      </List>
    </details>
  );
}
