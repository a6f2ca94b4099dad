import { Alert, Button, Center, Loader, Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { asProblem } from "../api/client";
import { capital } from "./words";

/** What went wrong, in words, with what to do next. */
export function Failure({ error, again }: { error: unknown; again?: () => void }) {
  const problem = asProblem(error);
  return (
    <Alert color="red" variant="light" role="alert" title={capital(problem.message)}>
      {problem.hint && <Text size="sm">{capital(problem.hint)}</Text>}
      {again && (
        <Button size="xs" mt="sm" variant="default" onClick={again}>
          Try again
        </Button>
      )}
    </Alert>
  );
}

/** An empty place says what to do so that it fills. */
export function Empty({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Stack className="panel" gap="xs" p="xl" align="center" ta="center">
      <Title order={2} size="h4">
        {title}
      </Title>
      <div className="quiet">{children}</div>
    </Stack>
  );
}

export function Waiting({ what }: { what: string }) {
  return (
    <Center p="xl" role="status">
      <Loader size="sm" mr="sm" aria-hidden />
      <Text className="quiet">Loading {what}…</Text>
    </Center>
  );
}

/** Shows a query: waiting, failed, or its data. */
export function Show<T>({
  of,
  what,
  children,
}: {
  of: { data?: T; error: unknown; isPending: boolean; refetch: () => unknown };
  what: string;
  children: (data: T) => ReactNode;
}) {
  if (of.data !== undefined) {
    return (
      <>
        {of.error !== null && <Failure error={of.error} again={() => of.refetch()} />}
        {children(of.data)}
      </>
    );
  }
  if (of.error) return <Failure error={of.error} again={() => of.refetch()} />;
  return <Waiting what={what} />;
}
