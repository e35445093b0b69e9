-- Leases: who may do what only one node at a time should do. A row per name, made when somebody first asks for it.
create table lease (
    name   text collate "C" primary key,
    -- unique per contender; kept after the lease ran out, to tell whether it changes hands
    holder text   not null,
    -- fencing number: grows by one whenever the holder changes
    token  bigint not null check (token >= 1),
    -- microseconds since 1970-01-01T00:00:00Z, of the database's clock; 0 after a release
    until  bigint not null
) with (fillfactor = 50);

-- Where a read model is stopped: the event's stream and kind beside its position. And how many events of kinds that this
-- version does not know a read model has passed over.
alter table projection add column paused_stream text collate "C";
alter table projection add column paused_kind text collate "C";
alter table projection add column unknown bigint not null default 0;
-- The fold that wrote the rows of a generation under construction; another version begins anew.
alter table projection add column schema bigint not null default 0;
-- A rebuild is about to swap: the live generation stays where it stands until then, by the clock of the database.
alter table projection add column held_until bigint not null default 0;
