import {
  ActionIcon,
  AppShell,
  Burger,
  Button,
  Group,
  Menu,
  Text,
  useComputedColorScheme,
  useMantineColorScheme,
} from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { Link, Outlet, useRouterState } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import { CatalogBadge } from "../catalog/CatalogBar";
import { useStatus } from "../catalog/catalog";
import { AuditIcon, DeployIcon, MachineIcon, Mark, MissingIcon, MoonIcon, PatchIcon, SunIcon } from "../look/icons";
import { mayAudit, useMe, useSignOut } from "../session/session";

/** The frame around every page of someone who is signed in. */
export function Shell() {
  const [opened, menu] = useDisclosure(false);
  const me = useMe();
  const main = useRef<HTMLElement>(null);
  const path = useRouterState({ select: (s) => s.location.pathname });
  const first = useRef(true);
  // biome-ignore lint/correctness/useExhaustiveDependencies: focus moves when the page changes, and only then.
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    menu.close();
    main.current?.focus({ preventScroll: true });
  }, [path]);
  return (
    <AppShell
      header={{ height: 56 }}
      navbar={{ width: 220, breakpoint: "sm", collapsed: { mobile: !opened } }}
      padding="md"
      transitionDuration={0}
    >
      <a className="skip" href="#content">
        Skip to the content
      </a>
      <AppShell.Header>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="xs" wrap="nowrap">
            <Burger
              opened={opened}
              onClick={menu.toggle}
              hiddenFrom="sm"
              size="sm"
              aria-expanded={opened}
              aria-label={opened ? "Hide the menu" : "Show the menu"}
            />
            <Mark />
            <Text fw={700} fz="lg" visibleFrom="xs">
              Fettle
            </Text>
          </Group>
          <Group gap="sm" wrap="nowrap">
            <CatalogBadge />
            <Scheme />
            <Person />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="sm" aria-label="Pages">
        <div className="nav">
          <Link to="/machines">
            <MachineIcon /> Machines
          </Link>
          <Link to="/missing">
            <MissingIcon /> Missing patches
          </Link>
          <Link to="/patches">
            <PatchIcon /> Patches
          </Link>
          <Link to="/deployments">
            <DeployIcon /> Deployments
          </Link>
          {mayAudit(me.data) && (
            <Link to="/audit">
              <AuditIcon /> Audit log
            </Link>
          )}
        </div>
        <Version />
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1} ref={main}>
        <Outlet />
      </AppShell.Main>
    </AppShell>
  );
}

function Scheme() {
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme("light") === "dark";
  return (
    <ActionIcon
      variant="default"
      size="lg"
      aria-label={dark ? "Use light colours" : "Use dark colours"}
      onClick={() => setColorScheme(dark ? "light" : "dark")}
    >
      {dark ? <SunIcon /> : <MoonIcon />}
    </ActionIcon>
  );
}

function Person() {
  const me = useMe();
  const signOut = useSignOut();
  return (
    <Menu position="bottom-end" withinPortal>
      <Menu.Target>
        <Button variant="default" flex="none">
          {me.data?.name ?? "…"}
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{me.data?.grants?.map((g) => g.role).join(", ") || "no role"}</Menu.Label>
        <Menu.Item onClick={() => signOut.mutate()}>Sign out</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

function Version() {
  const { data } = useStatus();
  return (
    <Text size="xs" className="quiet" mt="auto" px="xs">
      {data ? `Fettle ${data.version}` : ""}
    </Text>
  );
}
