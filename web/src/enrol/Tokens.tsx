import { Button, Group, Stack, Text, Title } from "@mantine/core";
import { useState } from "react";
import { Dialog } from "../look/Dialog";
import { Failure, Show } from "../look/Notice";
import { Sheet } from "../look/Sheet";
import { Tag, type Tone } from "../look/Tag";
import { moment, sentence } from "../look/words";
import { stateOf, type TokenRow, type TokenState, useEndToken, useTokens } from "./enrol";

const tones: Record<TokenState, Tone> = { open: "good", "used up": "plain", expired: "plain", ended: "plain" };

/** The tokens that were made, without their secrets; open ones can be ended. */
export function Tokens({ tenant, fresh }: { tenant: string; fresh?: string }) {
  const tokens = useTokens(tenant);
  const [ending, setEnding] = useState<TokenRow | null>(null);
  const now = new Date();
  return (
    <Stack gap="sm">
      <Title order={2} size="h4">
        Tokens made before
      </Title>
      <Show of={tokens} what="tokens">
        {(list) =>
          list.length === 0 ? (
            <Text size="sm" className="quiet">
              None yet. The first one is made above.
            </Text>
          ) : (
            <Sheet
              label="Tokens made before"
              head={["State", "Used", "Good until", "Site", "Made by", "Note", { name: "Action", unseen: true }]}
            >
              {list.map((t) => (
                <tr key={t.id} className={`row ${t.id === fresh ? "chosen" : ""}`}>
                  <td>
                    <Tag tone={tones[stateOf(t, now)]}>{sentence(stateOf(t, now))}</Tag>
                  </td>
                  <td className="amount">
                    {t.used.toLocaleString()} of {t.uses.toLocaleString()}
                  </td>
                  <td className="amount">{moment(t.expires)}</td>
                  <td>{t.site}</td>
                  <td>{t.by}</td>
                  <td>{t.note || <span className="quiet">none</span>}</td>
                  <td>
                    {stateOf(t, now) === "open" && (
                      <Button
                        size="compact-sm"
                        variant="default"
                        aria-label={`End the token ${t.note || t.id}`}
                        onClick={() => setEnding(t)}
                      >
                        End…
                      </Button>
                    )}
                  </td>
                </tr>
              ))}
            </Sheet>
          )
        }
      </Show>
      {ending && <End token={ending} tenant={tenant} close={() => setEnding(null)} />}
    </Stack>
  );
}

function End({ token, tenant, close }: { token: TokenRow; tenant: string; close: () => void }) {
  const end = useEndToken(tenant);
  return (
    <Dialog title="End this token" close={close}>
      <Stack gap="md">
        {end.error && <Failure error={end.error} />}
        <Text size="sm">
          {token.note && `“${token.note}”: `}
          no further machine can enrol with it. Machines that used it stay enrolled.
        </Text>
        <Group justify="flex-end">
          <Button variant="default" onClick={close} data-autofocus>
            Cancel
          </Button>
          <Button color="red.8" loading={end.isPending} onClick={() => end.mutate(token.id, { onSuccess: close })}>
            End the token
          </Button>
        </Group>
      </Stack>
    </Dialog>
  );
}
