-- +goose Up

-- When the machine was last scanned with what the server has of it as the result; 0 before that. Beside seen, because
-- it changes as often, where the inventory's own time tells when it last changed.
alter table contacts add column scanned bigint not null default 0;

-- +goose Down

alter table contacts drop column scanned;
