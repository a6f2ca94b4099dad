import { Alert, Button, Checkbox, Group, Stack, Text, Title } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { RollbackDialog } from "../deployments/RollbackDialog";
import { Empty, Show } from "../look/Notice";
import { Sheet } from "../look/Sheet";
import { Tag } from "../look/Tag";
import { capital, count } from "../look/words";
import { mayDeploy, useMe } from "../session/session";
import { PatchLink } from "./PatchLink";
import { type Holder, nameOfPatch, type PatchDetail, useHolders } from "./patches";

/** Where the patch is, and the way back from it. */
export function TakeBack({ of: d }: { of: PatchDetail }) {
  const back = d.rollback;
  return (
    <div>
      <Title order={2} size="h4" mb="sm">
        Take it back
      </Title>
      {back.possible ? (
        <Holders of={d} />
      ) : (
        <Alert color="gray" title="There is no way back from this patch" role="status">
          {back.reason && <Text size="sm">{why(d.patch.id, back.reason)}.</Text>}
          {back.hint && <Text size="sm">{capital(back.hint)}.</Text>}
        </Alert>
      )}
    </div>
  );
}

/** The server's reason without what the heading has said already. */
export function why(id: string, reason: string): string {
  const rest = reason.replace(`${id} can't be rolled back: `, "");
  return rest === reason ? reason : capital(rest);
}

/** What a rollback leaves on a machine. */
export function afterwards(d: PatchDetail): string {
  const before = d.rollback.restores;
  return before
    ? `${nameOfPatch(d.patch)} is uninstalled and ${nameOfPatch(before)} installed again`
    : `${nameOfPatch(d.patch)} is uninstalled, and nothing is installed in its place`;
}

function Holders({ of: d }: { of: PatchDetail }) {
  const holders = useHolders(d.patch.id, true);
  return (
    <Stack gap="sm">
      <Text size="sm">{afterwards(d)}. A fresh scan proves both.</Text>
      <Show of={holders} what="who has it">
        {(data) => {
          const list = data.pages.flatMap((p) => p.items);
          const more = holders.hasNextPage && (
            <Button variant="default" loading={holders.isFetchingNextPage} onClick={() => holders.fetchNextPage()}>
              Look at more machines
            </Button>
          );
          if (list.length === 0) {
            return (
              <>
                <Empty title="No machine has it">
                  {more ? "None of those that were looked at so far." : "There is nothing to take back."}
                </Empty>
                {more}
              </>
            );
          }
          return (
            <>
              <Choose of={d} holders={list} />
              {more}
            </>
          );
        }}
      </Show>
    </Stack>
  );
}

/** Whether a rollback of this patch alone can take it back there. */
export function free(h: Holder): boolean {
  return h.certain && !h.required_by?.length;
}

function Choose({ of: d, holders }: { of: PatchDetail; holders: Holder[] }) {
  const me = useMe();
  const [chosen, setChosen] = useState<string[]>([]);
  const [asking, setAsking] = useState(false);
  const may = mayDeploy(me.data);
  const able = holders.filter(free);
  const picked = able.filter((h) => chosen.includes(h.id));
  const toggle = (id: string) =>
    setChosen((list) => (list.includes(id) ? list.filter((x) => x !== id) : [...list, id]));
  return (
    <>
      <Sheet
        label="Machines that have it"
        head={[
          ...(may
            ? [
                {
                  box: (
                    <Checkbox
                      size="sm"
                      aria-label="Select all machines that can take it back"
                      label="Select all"
                      classNames={{ labelWrapper: "said" }}
                      disabled={able.length === 0}
                      checked={able.length > 0 && picked.length === able.length}
                      indeterminate={picked.length > 0 && picked.length < able.length}
                      onChange={() => setChosen(picked.length === able.length ? [] : able.map((h) => h.id))}
                    />
                  ),
                },
              ]
            : []),
          "Machine",
          "Contact",
          "Has now",
          "Has afterwards",
        ]}
      >
        {holders.map((h) => (
          <tr key={h.id} className={`row ${chosen.includes(h.id) ? "chosen" : ""}`}>
            {may && (
              <td>
                <Checkbox
                  size="sm"
                  aria-label={`Select ${h.hostname || h.id}`}
                  disabled={!free(h)}
                  checked={chosen.includes(h.id) && free(h)}
                  onChange={() => toggle(h.id)}
                />
              </td>
            )}
            <td>
              <Link to="/machines/$id" params={{ id: h.id }} className="link">
                {h.hostname || h.id}
              </Link>
            </td>
            <td>{h.online ? <Tag tone="good">Online</Tag> : <span className="quiet">Offline</span>}</td>
            <td className="version">{h.certain ? d.patch.version : "not certain"}</td>
            <td>
              <After of={h} before={d.rollback.restores?.version} />
            </td>
          </tr>
        ))}
      </Sheet>
      {may ? (
        <Group>
          <Button color="red.8" disabled={picked.length === 0} onClick={() => setAsking(true)}>
            Roll back…
          </Button>
          <Text size="sm" className="quiet" role="status">
            {picked.length === 0 ? "Select the machines first" : `${count(picked.length, "machine")} selected`}
          </Text>
        </Group>
      ) : (
        <Text size="sm">Your role may read but not roll back; someone with the role operator can.</Text>
      )}
      {asking && (
        <RollbackDialog
          patches={[{ id: d.patch.id, label: nameOfPatch(d.patch) }]}
          machines={picked.map((h) => ({ id: h.id, name: h.hostname || h.id, offline: !h.online }))}
          outcome={afterwards(d)}
          reboot={d.patch.install.reboot}
          close={() => setAsking(false)}
        />
      )}
    </>
  );
}

function After({ of: h, before }: { of: Holder; before?: string }) {
  if (!h.certain) return <span className="quiet">stays as it is: the inventory does not tell whether it is there</span>;
  if (h.required_by?.length) {
    return (
      <>
        stays as it is: required by{" "}
        {h.required_by.map((id) => (
          <div key={id}>
            <PatchLink id={id} />
          </div>
        ))}
        <span className="quiet">Take both back together with the command line.</span>
      </>
    );
  }
  return before ? <span className="version">{before}</span> : <span className="quiet">nothing of it</span>;
}
