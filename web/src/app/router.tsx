import {
  createRootRoute,
  createRoute,
  createRouter,
  Link,
  lazyRouteComponent,
  Outlet,
  redirect,
} from "@tanstack/react-router";
import { type AuditFilter, auditFilterFrom } from "../audit/audit";
import { HostsPage } from "../hosts/HostsPage";
import { type With, withFrom } from "../hosts/hosts";
import { tidy } from "../look/Filters";
import { Failure, Waiting } from "../look/Notice";
import { MissingPage } from "../missing/MissingPage";
import type { Filter } from "../missing/missing";
import { standingFrom } from "../missing/standing";
import type { PatchFilter } from "../patches/patches";
import { Door } from "../session/Door";
import { Setup } from "../session/Setup";
import { SignIn } from "../session/SignIn";
import { useMe } from "../session/session";
import { Shell } from "./Shell";

/** Whoever is not signed in sees the sign-in page at any address, and then the page that was asked for. */
function Gate() {
  const me = useMe();
  if (me.data) return <Shell />;
  if (me.error) {
    return (
      <Door title="Fettle does not answer">
        <Failure error={me.error} again={() => me.refetch()} />
      </Door>
    );
  }
  return me.data === null ? <SignIn /> : <Waiting what="Fettle" />;
}

function Nowhere() {
  return (
    <Door title="There is no such page">
      <Link to="/machines" className="link">
        Go to the machines
      </Link>
    </Door>
  );
}

// What most visits don't open comes when it is asked for.
const AddPage = lazyRouteComponent(() => import("../enrol/AddPage"), "AddPage");
const AuditPage = lazyRouteComponent(() => import("../audit/AuditPage"), "AuditPage");
const DeploymentPage = lazyRouteComponent(() => import("../deployments/DeploymentPage"), "DeploymentPage");
const DeploymentsPage = lazyRouteComponent(() => import("../deployments/DeploymentsPage"), "DeploymentsPage");
const HostPage = lazyRouteComponent(() => import("../hosts/HostPage"), "HostPage");
const PatchesPage = lazyRouteComponent(() => import("../patches/PatchesPage"), "PatchesPage");
const PatchPage = lazyRouteComponent(() => import("../patches/PatchPage"), "PatchPage");

const root = createRootRoute({ component: Outlet, notFoundComponent: Nowhere });
const setup = createRoute({ getParentRoute: () => root, path: "/setup", component: Setup });
const inside = createRoute({ getParentRoute: () => root, id: "inside", component: Gate });
const home = createRoute({
  getParentRoute: () => inside,
  path: "/",
  beforeLoad: () => {
    throw redirect({ to: "/machines" });
  },
});
const hosts = createRoute({
  getParentRoute: () => inside,
  path: "/machines",
  component: HostsPage,
  validateSearch: (s: Record<string, unknown>): { with?: With } => tidy({ with: withFrom(s.with) }),
});
const add = createRoute({ getParentRoute: () => inside, path: "/add-machines", component: AddPage });
const host = createRoute({ getParentRoute: () => inside, path: "/machines/$id", component: HostPage });
const missing = createRoute({
  getParentRoute: () => inside,
  path: "/missing",
  component: MissingPage,
  validateSearch: (s: Record<string, unknown>): Filter =>
    tidy({
      q: s.q === undefined ? "" : String(s.q),
      severity: typeof s.severity === "string" ? s.severity : "",
      security: s.security === true,
      exploited: s.exploited === true,
      standing: standingFrom(s.standing),
    }),
});
const patches = createRoute({
  getParentRoute: () => inside,
  path: "/patches",
  component: PatchesPage,
  validateSearch: (s: Record<string, unknown>): PatchFilter =>
    tidy({
      q: s.q === undefined ? "" : String(s.q),
      severity: typeof s.severity === "string" ? s.severity : "",
      approval: typeof s.approval === "string" ? s.approval : "",
      security: s.security === true,
      needed: s.needed === true,
      bulletin: s.bulletin === true,
    }),
});
const patch = createRoute({ getParentRoute: () => inside, path: "/patches/$id", component: PatchPage });
const deployments = createRoute({ getParentRoute: () => inside, path: "/deployments", component: DeploymentsPage });
const deployment = createRoute({ getParentRoute: () => inside, path: "/deployments/$id", component: DeploymentPage });
const audit = createRoute({
  getParentRoute: () => inside,
  path: "/audit",
  component: AuditPage,
  validateSearch: (s: Record<string, unknown>): AuditFilter => tidy(auditFilterFrom(s)),
});

export const router = createRouter({
  routeTree: root.addChildren([
    setup,
    inside.addChildren([home, hosts, host, add, missing, patches, patch, deployments, deployment, audit]),
  ]),
  defaultPendingComponent: () => <Waiting what="the page" />,
  defaultErrorComponent: ({ error }) => <Failure error={error} />,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
