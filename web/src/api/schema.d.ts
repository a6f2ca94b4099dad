// Written by hand after the contract until docs/openapi.yaml is there; then
// `npm run generate` replaces this file.
export interface components {
  schemas: {
    Me: {
      kind: string;
      id: string;
      name: string;
      grants: { role: string; scope: { tenant?: string; site?: string } }[];
      tenants: { id: string; name: string; created: string }[];
      permissions: { [scope: string]: string[] };
    };
    PlatformStatus: { platform: string; patches: number; advisories: number; cves: number };
    CatalogStatus: {
      version: number;
      created: string;
      age_seconds: number;
      expires: string;
      source: string;
      signers: string[];
      platforms?: { platform: string; patches: number; advisories: number; cves: number }[];
      notes?: string[];
      error?: string;
    };
    Status: {
      version: string;
      uptime_seconds?: number;
      catalog: components["schemas"]["CatalogStatus"];
      counts: { [name: string]: number };
    };
    Host: {
      id: string;
      tenant: string;
      site: string;
      hostname: string;
      platform: string;
      os: string;
      agent_version: string;
      groups?: string[];
      addresses?: string[];
      state: string;
      enrolled: string;
      last_seen?: string;
      reboot_due?: boolean;
      restarts_due?: string[];
      health: string;
      missing: number;
      missing_security: number;
      exploited: number;
      online: boolean;
      problem?: string;
    };
    HostDetail: components["schemas"]["Host"] & {
      inventory?: {
        scanned: string;
        os: { name: string; version: string; build?: string; arch: string };
        state: {
          boot_time?: string;
          running_kernel?: string;
          newest_kernel?: string;
          reboot_due?: boolean;
          reboot_reasons?: string[];
          restarts_due?: string[];
          manager_broken?: boolean;
        };
        hardware: { vendor?: string; model?: string; cpu?: string; cores?: number; memory_mib?: number; virtual?: string };
        packages: number;
      };
    };
    Evidence: { test: string; want: string; found: string; value: string };
    Finding: {
      endpoint: string;
      hostname: string;
      patch: string;
      product: string;
      kind: string;
      package: string;
      arch?: string;
      installed: string;
      available: string;
      security: boolean;
      severity: string;
      advisories: string[];
      cves: string[];
      exploited?: boolean;
      epss?: number;
      state: string;
      reason: string;
      evidence?: components["schemas"]["Evidence"][];
      archive?: string;
      approval: string;
    };

    Group: { id: string; name: string; members?: string[] };
    Approval: { id: string; patch: string; decision: string; group?: string; reason?: string; by: string; at: string };
    Deployment: {
      id: string;
      name: string;
      created: string;
      created_by: string;
      patches: string[];
      rings: { name: string; endpoints: string[] }[];
      dry_run?: boolean;
      emergency?: boolean;
      status: string;
      reason?: string;
      finished?: string;
      counts?: Record<string, number>;
    };
    Task: {
      id: string;
      endpoint: string;
      hostname: string;
      ring: number;
      patches: { id: string; digest: string }[];
      state: string;
      reason?: string;
      attempt: number;
      created: string;
      since: string;
      progress?: number;
      dry_run?: boolean;
      plan?: { changes: { package: string; from?: string; to?: string; why: string }[] };
      result?: {
        attempt: number;
        started: string;
        ended?: string;
        changes?: { package: string; from?: string; to?: string; why: string }[];
        failures?: { package: string; version?: string; reason: string }[];
      };
    };
  };
}

type Page<T> = { items: T[]; next: string };
type S = components["schemas"];
type Ok<T> = { responses: { 200: { content: { "application/json": T } } } };
type Body<T> = { requestBody: { content: { "application/json": T } } };
type Tenant = { path: { t: string } };
type TenantId = { path: { t: string; id: string } };

export interface paths {
  "/api/v1/status": { get: Ok<S["Status"]> };
  "/api/v1/me": { get: Ok<S["Me"]> };
  "/api/v1/setup": { post: Ok<S["Me"]> & Body<{ token: string; name: string; password: string }> };
  "/api/v1/session": {
    post: Ok<S["Me"]> & Body<{ name: string; password: string }>;
    delete: { responses: { 204: { content?: never } } };
  };
  "/api/v1/tenants/{t}/hosts": {
    get: { parameters: Tenant & { query?: { q?: string; limit?: number; after?: string } } } & Ok<Page<S["Host"]>>;
  };
  "/api/v1/tenants/{t}/hosts/{id}": { get: { parameters: TenantId } & Ok<S["HostDetail"]> };
  "/api/v1/tenants/{t}/hosts/{id}/missing": {
    get: { parameters: TenantId & { query?: { limit?: number; after?: string } } } & Ok<Page<S["Finding"]>>;
  };
  "/api/v1/tenants/{t}/hosts/{id}/scan": { post: { parameters: TenantId } & Ok<unknown> };
  "/api/v1/tenants/{t}/missing": {
    get: {
      parameters: Tenant & {
        query?: { host?: string; severity?: string; security?: boolean; exploited?: boolean; q?: string; limit?: number; after?: string };
      };
    } & Ok<Page<S["Finding"]>>;
  };
  "/api/v1/tenants/{t}/groups": { get: { parameters: Tenant } & Ok<Page<S["Group"]>> };
  "/api/v1/tenants/{t}/approvals": {
    post: { parameters: Tenant } & Ok<Page<S["Approval"]>> &
      Body<{ decision: string; patches: string[]; group?: string; reason?: string; review?: string }>;
  };
  "/api/v1/tenants/{t}/deployments": {
    get: { parameters: Tenant & { query?: { limit?: number; after?: string } } } & Ok<Page<S["Deployment"]>>;
  };
  "/api/v1/tenants/{t}/deployments/{id}": { get: { parameters: TenantId } & Ok<S["Deployment"]> };
  "/api/v1/tenants/{t}/deployments/{id}/tasks": {
    get: { parameters: TenantId & { query?: { limit?: number; after?: string } } } & Ok<Page<S["Task"]>>;
  };
}
