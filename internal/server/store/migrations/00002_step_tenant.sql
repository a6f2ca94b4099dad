-- +goose Up

-- Each row names its tenant itself, as those of all tables do that hold a tenant's rows.
alter table task_steps add column tenant text not null default '';
update task_steps set tenant = coalesce((select t.tenant from tasks t where t.id = task_steps.task), '');

-- +goose Down

alter table task_steps drop column tenant;
