import { Alert, Button, Group, Select, Stack, Text, TextInput, Title } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { CopyLine } from "../look/CopyLine";
import { Empty, Failure, Show } from "../look/Notice";
import { Page } from "../look/Page";
import { count, moment } from "../look/words";
import { mayEnrol, useMe } from "../session/session";
import { lives, mostUses, type Token, useNewToken, useSites, usesFrom, useTokens } from "./enrol";
import { Tokens } from "./Tokens";

export function AddPage() {
  const me = useMe();
  const tenants = (me.data?.tenants ?? []).filter((t) => mayEnrol(me.data, t.id));
  const [chosen, setChosen] = useState<string>();
  const tenant = chosen ?? tenants[0]?.id;
  return (
    <Stack gap="xs">
      <Link to="/machines" className="link">
        ← All machines
      </Link>
      <Page
        title="Add machines"
        about="One line, run on a machine, enrols it here. It pins this server and its catalog."
      >
        {tenant ? (
          <Enrol
            key={tenant}
            tenant={tenant}
            tenants={tenants.map((t) => ({ value: t.id, label: t.name }))}
            choose={setChosen}
          />
        ) : (
          <Empty title="Your role may not add machines">
            Someone with the role operator or admin can; an administrator can give you that role.
          </Empty>
        )}
      </Page>
    </Stack>
  );
}

interface Places {
  tenant: string;
  tenants: { value: string; label: string }[];
  choose: (tenant: string) => void;
}

function Enrol({ tenant, tenants, choose }: Places) {
  const [made, setMade] = useState<Token | null>(null);
  return (
    <>
      {made ? (
        <Made token={made} tenant={tenant} done={() => setMade(null)} />
      ) : (
        <Ask tenant={tenant} tenants={tenants} choose={choose} made={setMade} />
      )}
      <Tokens tenant={tenant} fresh={made?.id} />
    </>
  );
}

/** Asks for how many machines, for how long and where the token is to be good. */
function Ask({ tenant, tenants, choose, made }: Places & { made: (token: Token) => void }) {
  const [uses, setUses] = useState("1");
  const [life, setLife] = useState("24h");
  const [site, setSite] = useState("main");
  const [note, setNote] = useState("");
  const sites = useSites(tenant);
  const create = useNewToken(tenant);
  const n = usesFrom(uses);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (n === undefined) return;
    create.mutate({ uses: n, expires_in: life, site, note: note.trim() || undefined }, { onSuccess: made });
  };
  return (
    <form onSubmit={submit} className="panel" style={{ padding: "1rem" }}>
      <Stack gap="md">
        {create.error && <Failure error={create.error} />}
        <Group gap="md" align="flex-start">
          <TextInput
            label="How many machines"
            description={`1 to ${mostUses.toLocaleString()}`}
            inputMode="numeric"
            required
            value={uses}
            onChange={(e) => setUses(e.currentTarget.value)}
            error={n === undefined ? "A whole number in this range" : undefined}
            w={190}
          />
          <Select
            label="Good for"
            description="Then nobody can use it"
            data={lives}
            value={life}
            onChange={(v) => setLife(v ?? "24h")}
            allowDeselect={false}
            w={190}
          />
          {tenants.length > 1 && (
            <Select
              label="Tenant"
              description="Whose machines they are"
              data={tenants}
              value={tenant}
              onChange={(v) => v && choose(v)}
              allowDeselect={false}
              w={220}
            />
          )}
          <Select
            label="Site"
            description="Where they stand"
            data={(sites.data?.items ?? [{ id: "main", name: "main" }]).map((s) => ({
              value: s.id,
              label: s.name || s.id,
            }))}
            value={site}
            onChange={(v) => setSite(v ?? "main")}
            allowDeselect={false}
            w={220}
          />
          <TextInput
            label="Note"
            description="For the list below; may be left empty"
            value={note}
            maxLength={253}
            onChange={(e) => setNote(e.currentTarget.value)}
            w={280}
          />
        </Group>
        {sites.error && <Failure error={sites.error} again={() => sites.refetch()} />}
        <Group>
          <Button type="submit" loading={create.isPending} disabled={n === undefined}>
            Make the line
          </Button>
          <Text size="sm" className="quiet">
            Whoever has the line can enrol that many machines: give it to nobody else.
          </Text>
        </Group>
      </Stack>
    </form>
  );
}

/** What `fettle enroll-token` prints, the secret this once. */
function Made({ token, tenant, done }: { token: Token; tenant: string; done: () => void }) {
  return (
    <section className="panel" style={{ padding: "1rem" }} aria-labelledby="made">
      <Stack gap="md">
        <Title order={2} size="h4" id="made">
          Run this on up to {count(token.uses, "machine")}, until {moment(token.expires)}
        </Title>
        <Alert color="yellow" title="The token is shown this once" role="status">
          Copy the line before you leave this page. If it is lost, end the token below and make another one.
        </Alert>
        <CopyLine label="Linux, as root, where the agent is installed" text={token.command} />
        <CopyLine
          label="Windows, as administrator, beside the agent's package (make msi builds it)"
          text={token.command_windows}
        />
        <div>
          <Text size="sm" fw={600} mb={4}>
            What the lines pin
          </Text>
          <dl className="facts">
            <dt>Server</dt>
            <dd className="version">{token.server}</dd>
            <dt>Its CA</dt>
            <dd className="version">{token.ca}</dd>
            <dt>Catalog's root keys</dt>
            <dd className="version">{token.root}</dd>
            <dt>Machines go to</dt>
            <dd>
              site {token.site} of tenant {tenant}
            </dd>
          </dl>
          <Text size="sm" className="quiet" mt={4}>
            A machine gives its token to no other server, and takes patches from no other publisher.
          </Text>
        </div>
        <Arrived tenant={tenant} id={token.id} />
        <Group>
          <Button onClick={done} variant="default">
            Done: hide the token
          </Button>
        </Group>
      </Stack>
    </section>
  );
}

/** How many machines have come in with the token so far. */
function Arrived({ tenant, id }: { tenant: string; id: string }) {
  const tokens = useTokens(tenant);
  return (
    <Show of={tokens} what="who has come">
      {(list) => {
        const t = list.find((one) => one.id === id);
        if (!t) return null;
        return (
          <Text role="status">
            {t.used === 0
              ? "No machine has come in yet; this page tells when one does."
              : `${t.used.toLocaleString()} of ${count(t.uses, "machine")} ${t.used === 1 ? "has" : "have"} come in. `}
            {t.used > 0 && (
              <Link to="/machines" className="link">
                See the machines
              </Link>
            )}
          </Text>
        );
      }}
    </Show>
  );
}
