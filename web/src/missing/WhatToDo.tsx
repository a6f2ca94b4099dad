import { Text } from "@mantine/core";
import type { ReactNode } from "react";
import { Instead } from "../patches/Instead";
import type { Finding } from "./missing";

/** What a person can do about a finding that no deployment takes by itself. */
export function WhatToDo({ of: f }: { of: Finding }) {
  switch (f.standing) {
    case "bulletin":
      return <Instead patch={f.patch} />;
    case "user_only":
      return (
        <Advice title="It is the users' to update">
          Ask the users whom the reason names to update it, or install the product for the whole machine: Fettle keeps
          that one up to date.
        </Advice>
      );
    case "broken":
      return (
        <Advice title="It is installed only half">
          See on the machine why: <code>dpkg --configure -a</code> says so. A deployment that names the patch tries
          again: <code>{`fettle deploy ${f.patch} --host ${f.hostname || f.endpoint}`}</code>
        </Advice>
      );
    case "held":
      return (
        <Advice title="The machine holds it">
          Deployments leave it alone until its administrator releases it there: <code>apt-mark unhold {f.package}</code>
        </Advice>
      );
    case "pinned":
      return (
        <Advice title="The machine keeps it away">
          Its own package preferences prefer the version that is installed. Deployments respect them; change them there
          to let the newer version in.
        </Advice>
      );
    case "unknown":
      return (
        <Advice title="It is not certain that it is missing">
          Nothing is deployed for it. The test that could not be answered stands below; look at the machine yourself.
        </Advice>
      );
    default:
      return null;
  }
}

export function Advice({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div>
      <Text size="sm" fw={600}>
        {title}
      </Text>
      <Text size="sm" component="div">
        {children}
      </Text>
    </div>
  );
}
