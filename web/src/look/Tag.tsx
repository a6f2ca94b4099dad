import type { ReactNode } from "react";
import { BadIcon, GoodIcon, UnknownIcon, WarnIcon } from "./icons";
import { sentence } from "./words";

export type Tone = "alarm" | "bad" | "warn" | "note" | "good" | "info" | "plain";

/** A word with a colour. The word alone says it all. */
export function Tag({ tone, children, title }: { tone: Tone; children: ReactNode; title?: string }) {
  return (
    <span className="tag" data-tone={tone} title={title}>
      {children}
    </span>
  );
}

const severities: Record<string, Tone> = { critical: "bad", important: "warn", moderate: "note", low: "plain" };

/** How bad a patch's worst flaw is. Unknown is shown as unknown, never as low. */
export function Severity({ of }: { of: string }) {
  const tone = severities[of];
  if (tone) return <Tag tone={tone}>{sentence(of)}</Tag>;
  return (
    <Tag tone="info" title="Neither the vendor nor a CVSS score says how bad it is">
      Unknown
    </Tag>
  );
}

/** Says that flaws which the patch mends are being used in attacks. */
export function Exploited() {
  return (
    <Tag tone="alarm" title="Listed by CISA in Known Exploited Vulnerabilities">
      <WarnIcon /> Exploited
    </Tag>
  );
}

const healths: Record<string, [Tone, ReactNode, string]> = {
  healthy: ["good", <GoodIcon key="i" />, "Healthy"],
  vulnerable: ["warn", <WarnIcon key="i" />, "Vulnerable"],
  highly_vulnerable: ["bad", <BadIcon key="i" />, "Highly vulnerable"],
};

/** How a machine stands. */
export function Health({ of }: { of: string }) {
  const [tone, icon, text] = healths[of] ?? ["plain", <UnknownIcon key="i" />, "Unknown"];
  return (
    <Tag tone={tone as Tone}>
      {icon}
      {text}
    </Tag>
  );
}

const approvals: Record<string, [Tone, string]> = {
  approved: ["good", "Approved"],
  declined: ["bad", "Declined"],
  awaiting_approval: ["plain", "Awaiting"],
};

/** What was decided about a patch. */
export function Approval({ of }: { of: string }) {
  const [tone, text] = approvals[of] ?? ["plain", sentence(of)];
  return <Tag tone={tone}>{text}</Tag>;
}

const good = ["verified", "finished", "planned"];
const bad = ["failed", "expired"];
const warn = ["halted", "retry_planned", "waiting_for_reboot"];
const over = ["cancelled", "no_longer_applicable"];

/** Where a deployment or one of its tasks stands. */
export function Progress({ of }: { of: string }) {
  let tone: Tone = "info";
  if (good.includes(of)) tone = "good";
  else if (bad.includes(of)) tone = "bad";
  else if (warn.includes(of)) tone = "warn";
  else if (over.includes(of)) tone = "plain";
  return <Tag tone={tone}>{sentence(of)}</Tag>;
}
