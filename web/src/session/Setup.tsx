import { Button, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useEffect, useState } from "react";
import { Failure } from "../look/Notice";
import { Door } from "./Door";
import { useSetup } from "./session";

/** The token travels behind "#", which browsers never send, and leaves the address bar at once. */
export function tokenOf(hash: string): string {
  return new URLSearchParams(hash.replace(/^#/, "")).get("token") ?? "";
}

export const shortest = 12;

export function Setup() {
  const [token] = useState(() => tokenOf(window.location.hash));
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const [tried, setTried] = useState(false);
  const setup = useSetup();
  const navigate = useNavigate();
  useEffect(() => {
    if (window.location.hash) window.history.replaceState(window.history.state, "", window.location.pathname);
  }, []);

  if (!token) {
    return (
      <Door title="This link is not whole">
        <Text>
          The first administrator is made with the one-time link that Fettle prints when it starts. Open it as a whole:
          the part behind “#” belongs to it.
        </Text>
      </Door>
    );
  }

  const short = password.length < shortest;
  const differs = password !== again;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    if (short || differs) return;
    setup.mutate({ token, name: name.trim(), password }, { onSuccess: () => navigate({ to: "/machines" }) });
  };
  return (
    <Door title="Make the first administrator">
      <Text size="sm" className="quiet">
        This account may do everything on this server. The link works once.
      </Text>
      {setup.error && <Failure error={setup.error} />}
      <form onSubmit={submit} noValidate={false}>
        <Stack gap="md">
          <TextInput
            label="Name"
            description="What you sign in with"
            name="username"
            autoComplete="username"
            required
            value={name}
            onChange={(e) => setName(e.currentTarget.value)}
          />
          <PasswordInput
            label="Password"
            description={`At least ${shortest} characters; a sentence is fine`}
            name="password"
            autoComplete="new-password"
            required
            error={tried && short ? `Use at least ${shortest} characters` : undefined}
            value={password}
            onChange={(e) => setPassword(e.currentTarget.value)}
          />
          <PasswordInput
            label="The same password again"
            name="password-again"
            autoComplete="new-password"
            required
            error={tried && differs ? "The two passwords differ" : undefined}
            value={again}
            onChange={(e) => setAgain(e.currentTarget.value)}
          />
          <Button type="submit" loading={setup.isPending} fullWidth>
            Create the account
          </Button>
        </Stack>
      </form>
    </Door>
  );
}
