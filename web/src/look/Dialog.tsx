import { Modal } from "@mantine/core";
import { type ReactNode, useEffect, useState } from "react";

/** A dialog is there as long as it is rendered. It keeps the focus, and gives
 * it back to what had it; where that is gone, to the page. */
export function Dialog({
  title,
  close,
  size,
  children,
}: {
  title: string;
  close: () => void;
  size?: "md" | "lg";
  children: ReactNode;
}) {
  const [before] = useState(() => document.activeElement);
  useEffect(
    () => () => {
      // After the page has taken the dialog away, and what it covered has settled.
      requestAnimationFrame(() => {
        const to = before?.isConnected ? before : document.getElementById("content");
        if (to instanceof HTMLElement) to.focus({ preventScroll: true });
      });
    },
    [before],
  );
  return (
    <Modal
      opened
      onClose={close}
      title={title}
      size={size}
      centered
      closeButtonProps={{ "aria-label": "Close" }}
      attributes={{ header: { role: "none" } }}
    >
      {children}
    </Modal>
  );
}
