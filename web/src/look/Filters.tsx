import { Button, Checkbox, Group, Select, Text, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { type ReactNode, useEffect, useState } from "react";
import { SearchIcon } from "./icons";
import { sentence } from "./words";

/** Keeps only what narrows, so that the address stays short. */
export function tidy<T extends object>(f: T): T {
  return Object.fromEntries(Object.entries(f).filter(([, v]) => v)) as T;
}

/** A search that begins when the typing pauses. */
export function SearchField({
  label,
  placeholder,
  value,
  onChange,
}: {
  label: string;
  placeholder: string;
  value: string | undefined;
  onChange: (q: string) => void;
}) {
  const [typed, setTyped] = useState(value ?? "");
  // When the filters are cleared elsewhere, what was typed goes with them.
  useEffect(() => {
    if (!value) setTyped("");
  }, [value]);
  const search = useDebouncedCallback((q: string) => onChange(q.trim()), 250);
  return (
    <TextInput
      aria-label={label}
      placeholder={placeholder}
      leftSection={<SearchIcon />}
      value={typed}
      onChange={(e) => {
        setTyped(e.currentTarget.value);
        search(e.currentTarget.value);
      }}
      className="search"
      miw={200}
      flex="1 1 200px"
    />
  );
}

/** A choice of one word, or of any. */
export function Choice({
  label,
  any,
  of,
  value,
  onChange,
  w,
}: {
  label: string;
  any: string;
  of: string[];
  value: string | undefined;
  onChange: (word: string) => void;
  w: number;
}) {
  return (
    <Select
      aria-label={label}
      placeholder={any}
      data={of.map((word) => ({ value: word, label: sentence(word) }))}
      value={value || null}
      onChange={(word) => onChange(word ?? "")}
      clearable
      clearButtonProps={{ "aria-label": any }}
      w={w}
    />
  );
}

/** Narrows a list to what has something, or not. */
export function Tick({
  label,
  value,
  onChange,
}: {
  label: string;
  value: boolean | undefined;
  onChange: (on: boolean) => void;
}) {
  return <Checkbox label={label} checked={value ?? false} onChange={(e) => onChange(e.currentTarget.checked)} />;
}

/** Below a list: how much of it is shown, and the way to more. */
export function Foot({
  of,
  more = "Show more",
  children,
}: {
  of: { hasNextPage: boolean; isFetchingNextPage: boolean; fetchNextPage: () => unknown };
  more?: string;
  children: ReactNode;
}) {
  return (
    <Group justify="space-between">
      <Text size="sm" className="quiet">
        {children}
      </Text>
      {of.hasNextPage && (
        <Button variant="default" loading={of.isFetchingNextPage} onClick={() => of.fetchNextPage()}>
          {more}
        </Button>
      )}
    </Group>
  );
}
