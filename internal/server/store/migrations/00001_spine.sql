-- One text for SQLite and PostgreSQL. Times are UTC milliseconds since 1970 (0: none), flags are SMALLINT 0 or 1,
-- documents are the word's JSON. "Written by" names the one room whose calls change a table; everyone else reads.

-- +goose Up

-- Written by api.
create table tenants (
    id      text   not null primary key,
    created bigint not null,
    doc     text   not null
);

-- Written by api.
create table sites (
    tenant text not null,
    id     text not null,
    doc    text not null,
    primary key (tenant, id),
    foreign key (tenant) references tenants (id)
);

-- Written by gateway. A revoked row stays for ever: it is the tombstone of its id.
create table endpoints (
    id       text   not null primary key,
    tenant   text   not null,
    site     text   not null,
    hostname text   not null,
    platform text   not null,
    state    text   not null,
    enrolled bigint not null,
    revoked  bigint not null,
    doc      text   not null,
    foreign key (tenant, site) references sites (tenant, id)
);
create index endpoints_by_tenant on endpoints (tenant, site, id);
create index endpoints_by_name on endpoints (tenant, hostname);
create index endpoints_revoked on endpoints (revoked);

-- Written by gateway, in groups of check-ins. Small, because it changes at each contact.
create table contacts (
    endpoint  text   not null primary key,
    tenant    text   not null,
    seen      bigint not null,
    catalog   bigint not null,
    skew      bigint not null,
    agent     text   not null,
    boot      text   not null,
    problem   text   not null
);
create index contacts_by_seen on contacts (tenant, seen);

-- Written by gateway. The section dictionary: insert only, shared by the endpoints of one tenant. Body is zstd.
create table sections (
    tenant  text   not null,
    hash    text   not null,
    created bigint not null,
    size    bigint not null,
    body    bytea  not null,
    primary key (tenant, hash)
);

-- Written by gateway: which sections an endpoint has, changed row by row.
create table endpoint_sections (
    endpoint text not null,
    name     text not null,
    tenant   text not null,
    hash     text not null,
    primary key (endpoint, name)
);
create index endpoint_sections_by_hash on endpoint_sections (tenant, hash);

-- Written by gateway: the root over an endpoint's sections, and when the server accepted it, so that readers can ask
-- what changed since.
create table inventories (
    endpoint text   not null primary key,
    tenant   text   not null,
    root     text   not null,
    scanned  bigint not null,
    accepted bigint not null
);
create index inventories_by_time on inventories (accepted);

-- Written by api.
create table endpoint_groups (
    tenant text not null,
    id     text not null,
    doc    text not null,
    primary key (tenant, id)
);

-- Written by api; gateway adds the groups of the enrolment token.
create table group_members (
    tenant   text not null,
    group_id text not null,
    endpoint text not null,
    primary key (tenant, group_id, endpoint)
);
create index group_members_by_endpoint on group_members (endpoint);

-- Written by api; gateway counts uses.
create table tokens (
    id      text   not null primary key,
    tenant  text   not null,
    site    text   not null,
    hash    text   not null unique,
    uses    bigint not null,
    used    bigint not null,
    expires bigint not null,
    revoked bigint not null,
    doc     text   not null,
    foreign key (tenant, site) references sites (tenant, id)
);
create index tokens_by_tenant on tokens (tenant, id);

-- Written by api.
create table approvals (
    tenant    text   not null,
    id        text   not null,
    patch     text   not null,
    group_id  text   not null,
    decision  text   not null,
    made      bigint not null,
    expires   bigint not null,
    withdrawn bigint not null,
    doc       text   not null,
    primary key (tenant, id)
);
create index approvals_by_patch on approvals (tenant, patch);

-- Written by orchestrate.
create table deployments (
    id      text   not null primary key,
    tenant  text   not null,
    status  text   not null,
    created bigint not null,
    doc     text   not null
);
create index deployments_by_tenant on deployments (tenant, created, id);
create index deployments_by_status on deployments (status, id);

-- Written by orchestrate.
create table tasks (
    id         text     not null primary key,
    tenant     text     not null,
    deployment text     not null,
    endpoint   text     not null,
    ring       bigint   not null,
    state      text     not null,
    ended      smallint not null,
    since      bigint   not null,
    doc        text     not null,
    foreign key (deployment) references deployments (id)
);
create index tasks_by_deployment on tasks (deployment, id);
create index tasks_by_endpoint on tasks (endpoint, ended, id);
create index tasks_by_tenant on tasks (tenant, id);

-- Written by orchestrate: every change of state of a task, append only.
create table task_steps (
    task   text   not null,
    n      bigint not null,
    at     bigint not null,
    state  text   not null,
    reason text   not null,
    primary key (task, n)
);
create index task_steps_by_time on task_steps (state, at);

-- Written by gateway: the highest event number that each agent was acknowledged.
create table event_cursors (
    endpoint text   not null primary key,
    tenant   text   not null,
    seq      bigint not null
);

-- Written by auth. Tenant '' means an account of the whole server.
create table users (
    id       text     not null primary key,
    tenant   text     not null,
    name     text     not null unique,
    password text     not null,
    doc      text     not null
);

-- Written by auth.
create table sessions (
    hash    text   not null primary key,
    expires bigint not null,
    data    bytea  not null
);
create index sessions_by_expiry on sessions (expires);

-- Written by auth.
create table api_keys (
    id     text   not null primary key,
    tenant text   not null,
    hash   text   not null unique,
    used   bigint not null,
    doc    text   not null
);

-- Written by audit; append only. Each tenant has its own chain, '' that of the server.
create table audit (
    tenant text   not null,
    seq    bigint not null,
    at     bigint not null,
    actor  text   not null,
    action text   not null,
    object text   not null,
    hash   text   not null,
    doc    text   not null,
    primary key (tenant, seq)
);

-- Written by audit: the end of each chain; its row is what appenders queue on.
create table audit_heads (
    tenant text   not null primary key,
    seq    bigint not null,
    hash   text   not null
);

-- Written by api; server-wide settings have tenant ''.
create table settings (
    tenant text not null,
    name   text not null,
    doc    text not null,
    primary key (tenant, name)
);

-- Written by api; job advances due.
create table schedules (
    tenant text   not null,
    id     text   not null,
    kind   text   not null,
    due    bigint not null,
    doc    text   not null,
    primary key (tenant, id)
);
create index schedules_by_due on schedules (due);

-- Written by job.
create table jobs (
    id       text   not null primary key,
    kind     text   not null,
    key      text   not null,
    -- queued, running, done, failed
    state    text   not null,
    -- kind + key while the job is queued or running, else its id: so that the unique index is the uniqueness rule
    slot     text   not null unique,
    args     text   not null,
    due      bigint not null,
    attempt  bigint not null,
    -- who works on it and until when the claim holds unless renewed
    worker   text   not null,
    lease    bigint not null,
    created  bigint not null,
    ended    bigint not null,
    problem  text   not null
);
create index jobs_by_due on jobs (state, due);
create index jobs_by_lease on jobs (state, lease);
create index jobs_by_end on jobs (ended);

-- +goose Down

drop table jobs;
drop table schedules;
drop table settings;
drop table audit_heads;
drop table audit;
drop table api_keys;
drop table sessions;
drop table users;
drop table event_cursors;
drop table task_steps;
drop table tasks;
drop table deployments;
drop table approvals;
drop table tokens;
drop table group_members;
drop table endpoint_groups;
drop table inventories;
drop table endpoint_sections;
drop table sections;
drop table contacts;
drop table endpoints;
drop table sites;
drop table tenants;
