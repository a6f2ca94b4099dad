import { Paper, SimpleGrid, Text } from "@mantine/core";
import { useStatus } from "../catalog/catalog";
import { count } from "../look/words";

/** The fleet in three sentences with a number each. */
export function Summary() {
  const { data } = useStatus();
  const { endpoints = 0, online = 0, missing_security: exposed = 0 } = data?.counts ?? {};
  if (endpoints === 0) return null;
  return (
    <SimpleGrid cols={3} spacing={{ base: "xs", sm: "sm" }}>
      <Card value={endpoints} label={endpoints === 1 ? "machine enrolled" : "machines enrolled"} />
      <Card value={online} label={`online now, of ${count(endpoints, "machine")}`} />
      <Card
        value={exposed}
        label={exposed === 1 ? "machine lacks security updates" : "machines lack security updates"}
        bad={exposed > 0}
      />
    </SimpleGrid>
  );
}

function Card({ value, label, bad }: { value: number; label: string; bad?: boolean }) {
  return (
    <Paper className="panel" px={{ base: "xs", sm: "md" }} py="sm">
      <Text fz={28} fw={700} lh={1.2} c={bad ? "var(--mantine-color-red-text)" : undefined}>
        {value.toLocaleString()}
      </Text>
      <Text size="sm" className="quiet">
        {label}
      </Text>
    </Paper>
  );
}
