import { Alert, Button, Group, Text } from "@mantine/core";
import { useState } from "react";
import { count } from "../look/words";
import { mayDecide, useMe } from "../session/session";
import type { Decision } from "./approvals";
import { type Choice, DecideDialog } from "./DecideDialog";

/** What is selected, and what can be decided about it. */
export function DecideBar({ choices, clear }: { choices: Choice[]; clear: () => void }) {
  const me = useMe();
  const [asking, setAsking] = useState<Decision["decision"] | null>(null);
  const [said, setSaid] = useState("");
  return (
    <>
      {/* What was said makes way for what is selected next. */}
      <div role="status" aria-live="polite" className="decide">
        {said && choices.length === 0 && (
          <Alert
            color="green"
            title={said}
            withCloseButton
            closeButtonLabel="Close this message"
            onClose={() => setSaid("")}
          >
            {said.startsWith("Approved") && (
              <>
                Nothing is installed yet. Start a deployment with <code>fettle deploy</code>; with{" "}
                <code>--dry-run</code> it shows first what would happen.
              </>
            )}
          </Alert>
        )}
      </div>
      {choices.length > 0 && (
        <Group className="panel decide" px="md" py="sm" justify="space-between">
          <Text fw={600}>{count(choices.length, "patch", "patches")} selected</Text>
          {mayDecide(me.data) ? (
            <Group gap="xs">
              <Button variant="subtle" onClick={clear}>
                Clear
              </Button>
              <Button variant="default" onClick={() => setAsking("decline")}>
                Decline…
              </Button>
              <Button onClick={() => setAsking("approve")}>Approve…</Button>
            </Group>
          ) : (
            <Text size="sm">Your role may read but not decide; someone with the role approver can.</Text>
          )}
        </Group>
      )}
      {asking && (
        <DecideDialog
          decision={asking}
          choices={choices}
          close={() => setAsking(null)}
          done={(text) => {
            setAsking(null);
            setSaid(text);
            clear();
          }}
        />
      )}
    </>
  );
}
