import { Box, Group, Stack, Text, Title } from "@mantine/core";
import { type ReactNode, useEffect } from "react";
import { Show } from "./Notice";

/** A page: its title in the window, its heading, what can be done, its content. */
export function Page({
  title,
  about,
  actions,
  children,
}: {
  title: string;
  about?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
}) {
  useEffect(() => {
    document.title = `${title} · Fettle`;
  }, [title]);
  return (
    <Stack gap="md">
      <Group justify="space-between" align="flex-start">
        <Box>
          <Title order={1} size="h2">
            {title}
          </Title>
          {about && (
            <Text className="quiet" size="sm">
              {about}
            </Text>
          )}
        </Box>
        {actions}
      </Group>
      {children}
    </Stack>
  );
}

/** A page about one thing: the way back to the list of them, and a page of its own also when the thing can't be had. */
export function One<T>({
  of,
  what,
  title,
  back,
  children,
}: {
  of: { data?: T; error: unknown; isPending: boolean; refetch: () => unknown };
  what: string;
  title: string;
  back: ReactNode;
  children: (data: T) => ReactNode;
}) {
  const shown = (
    <Show of={of} what={what}>
      {children}
    </Show>
  );
  return (
    <Stack gap="xs">
      {back}
      {of.data === undefined && of.error ? <Page title={title}>{shown}</Page> : shown}
    </Stack>
  );
}
