import { Button, Group, Text } from "@mantine/core";
import { useRef, useState } from "react";

/** A line to be run elsewhere, whole, with a button that copies it. */
export function CopyLine({ label, text }: { label: string; text: string }) {
  const line = useRef<HTMLPreElement>(null);
  const [said, setSaid] = useState("");
  const copy = async () => {
    setSaid((await toClipboard(text, line.current)) ? "Copied." : "Marked: press Ctrl+C to copy it.");
  };
  return (
    <div>
      <Group justify="space-between" mb={4}>
        <Text size="sm" fw={600}>
          {label}
        </Text>
        <Group gap="xs">
          <Button size="xs" variant="default" aria-label={`Copy: ${label}`} onClick={copy}>
            Copy
          </Button>
          <Text size="sm" className="quiet" role="status">
            {said}
          </Text>
        </Group>
      </Group>
      <pre className="line" ref={line}>
        {text}
      </pre>
    </div>
  );
}

/** Copies a text. Browsers refuse it to pages that came without TLS from
 * another computer: then the text is marked for the person to copy. */
async function toClipboard(text: string, shown: HTMLElement | null): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const selection = window.getSelection();
    if (shown && selection) selection.selectAllChildren(shown);
    return false;
  }
}
