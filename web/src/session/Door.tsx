import { Box, Center, Group, Stack, Title } from "@mantine/core";
import { type ReactNode, useEffect } from "react";
import { Mark } from "../look/icons";

/** The page outside: before anyone is signed in. */
export function Door({ title, children }: { title: string; children: ReactNode }) {
  useEffect(() => {
    document.title = `${title} · Fettle`;
  }, [title]);
  return (
    <Center component="main" mih="100vh" p="md">
      <Box w="100%" maw={420}>
        <Group gap="sm" mb="lg" justify="center">
          <Mark size={40} />
          <Box fz={28} fw={700}>
            Fettle
          </Box>
        </Group>
        <Stack className="panel" p="xl" gap="md">
          <Title order={1} size="h3">
            {title}
          </Title>
          {children}
        </Stack>
      </Box>
    </Center>
  );
}
