import { Button, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { type FormEvent, useState } from "react";
import { Failure } from "../look/Notice";
import { Door } from "./Door";
import { useSignIn } from "./session";

export function SignIn() {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const signIn = useSignIn();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    signIn.mutate({ name: name.trim(), password });
  };
  return (
    <Door title="Sign in">
      {signIn.error && <Failure error={signIn.error} />}
      <form onSubmit={submit}>
        <Stack gap="md">
          <TextInput
            label="Name"
            name="username"
            autoComplete="username"
            required
            data-autofocus
            value={name}
            onChange={(e) => setName(e.currentTarget.value)}
          />
          <PasswordInput
            label="Password"
            name="password"
            autoComplete="current-password"
            required
            value={password}
            onChange={(e) => setPassword(e.currentTarget.value)}
          />
          <Button type="submit" loading={signIn.isPending} fullWidth>
            Sign in
          </Button>
        </Stack>
      </form>
      <Text size="sm" className="quiet">
        First time here? Open the one-time link that Fettle printed when it started; it makes the first administrator.
      </Text>
    </Door>
  );
}
