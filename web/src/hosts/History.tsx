import { Button, Group, Select, Stack, Text, Title } from "@mantine/core";
import { useState } from "react";
import { leftOut, type Task, useHostTasks } from "../deployments/deployments";
import { LeftOutList } from "../deployments/LeftOut";
import { Name } from "../deployments/Name";
import { Empty, Show } from "../look/Notice";
import { Sheet } from "../look/Sheet";
import { Progress } from "../look/Tag";
import { ago, count, moment } from "../look/words";

const filters = [
  { value: "", label: "All of them" },
  { value: "left", label: "With patches left out" },
];

/** What deployments did on a machine, and what it left out. */
export function History({ host }: { host: string }) {
  const [filter, setFilter] = useState("");
  const tasks = useHostTasks(host, filter === "left");
  return (
    <Stack gap="sm">
      <Group justify="space-between">
        <Title order={2} size="h4">
          Deployments
        </Title>
        <Select
          aria-label="Which deployments to list"
          data={filters}
          value={filter}
          onChange={(to) => setFilter(to ?? "")}
          allowDeselect={false}
          size="xs"
          w={210}
        />
      </Group>
      <Show of={tasks} what="its deployments">
        {(data) => {
          const list = data.pages.flatMap((p) => p.items);
          if (list.length === 0 && filter) {
            return (
              <Empty title="It left nothing out">
                <Button variant="default" onClick={() => setFilter("")}>
                  Show all deployments
                </Button>
              </Empty>
            );
          }
          if (list.length === 0) {
            return (
              <Text size="sm" className="quiet">
                No deployment has had to do with it yet.
              </Text>
            );
          }
          return (
            <>
              <Table list={list} />
              {tasks.hasNextPage && (
                <Button variant="default" onClick={() => tasks.fetchNextPage()}>
                  Show older ones
                </Button>
              )}
            </>
          );
        }}
      </Show>
    </Stack>
  );
}

function Table({ list }: { list: Task[] }) {
  const now = new Date();
  return (
    <Sheet label="Deployments of this machine" head={["Deployment", "State", "Patches", "Since"]}>
      {list.map((t) => (
        <tr key={t.id} className="row">
          <td>
            <Name id={t.deployment} operation={t.operation} dry_run={t.dry_run} />
          </td>
          <td>
            <Progress of={t.state} />
            {t.reason && <div className="reason">{t.reason}</div>}
          </td>
          <td className="notes">
            {count(t.patches?.length ?? 0, "patch", "patches")}
            <LeftOutList of={leftOut(t)} />
          </td>
          <td title={moment(t.since)}>{ago(t.since, now)}</td>
        </tr>
      ))}
    </Sheet>
  );
}
