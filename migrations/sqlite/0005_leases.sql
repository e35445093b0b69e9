-- Leases: who may do what only one node at a time should do. A row per name, made when somebody first asks for it.
create table lease (
    name   text    primary key,
    -- unique per contender; kept after the lease ran out, to tell whether it changes hands
    holder text    not null,
    -- fencing number: grows by one whenever the holder changes
    token  integer not null check (token >= 1),
    -- microseconds since 1970-01-01T00:00:00Z; 0 after a release
    until  integer not null
) strict, without rowid;

-- Read models live in a file of their own now (migrations/sqlite/views); they are rebuilt there from the log by
-- themselves.
drop table projection;
drop table channels;
drop table templates;
drop table bindings;
drop table ledgers;
drop table ledger_lots;
drop table messages;
drop table deliveries;
drop table apps;
drop table app_keys;
