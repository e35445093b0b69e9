-- What is written for every command takes less room and less work.
--
-- The server aligns each column to its size, so columns stand from the widest down and none is padded. Numbers are no wider than
-- they need be. Checks of what the program always writes cost time for every row and are left to `audit verify`. Tables and
-- indexes that only grow at their end are filled to the brim.

-- Rows travel to the server as arrays of these types. They are types of their own, so that a node of an older version still
-- writes when a later migration gives a table another column.
create type stream_row as (number bigint, log integer, name text);
create type event_row as (
    position bigint, stream bigint, recorded_at bigint, log integer, version integer, kind smallint, schema smallint,
    data text, cause text, link bytea);
create type receipt_row as (
    position bigint, recorded_at bigint, log integer, key uuid, fingerprint uuid, outcome text);
create type snapshot_row as (stream bigint, version bigint, log integer, state text);

alter table event rename to event_before;
create table event (
    position    bigint   not null,
    stream      bigint   not null,
    recorded_at bigint   not null,
    log         integer  not null,
    version     integer  not null,
    -- the number of the kind of event; numbers are never reused
    kind        smallint not null,
    -- the schema of the payload
    schema      smallint not null,
    -- the payload, JSON as text: byte for byte as it was hashed
    data        text     not null,
    -- who asked and why, JSON as text: byte for byte as it was hashed
    cause       text     not null,
    -- blake3 (previous link, canonical record)
    link        bytea    not null
);
insert into event (position, stream, recorded_at, log, version, kind, schema, data, cause, link)
    select position, stream, recorded_at, log, version::integer, kind, schema, data, cause, link
    from event_before order by log, position;
drop table event_before;
alter table event add primary key (log, position) with (fillfactor = 100);
-- The stream before the log: in any other order of the three an entry is eight bytes longer. And the first column tells nearly
-- all entries apart, which makes finding a place in the index cheaper.
create unique index event_stream on event (stream, log, version);

alter table stream rename to stream_before;
create table stream (
    number bigint  not null,
    log    integer not null,
    name   text    collate "C" not null
);
insert into stream (number, log, name) select number, log, name from stream_before order by log, number;
drop table stream_before;
alter table stream add primary key (log, number) with (fillfactor = 100);
create unique index stream_name on stream (log, name);

-- Receipts are found by the first half of the BLAKE3 of their command id, and compared by the first half of the body's:
-- an id is up to 300 bytes long and stood both in the table and in its index. SQL cannot hash the ids that are there, so the
-- receipts go: no release has been made that anybody could have got one from.
--
-- `uuid` is 16 bytes without a length before them.
drop table receipt;
create table receipt (
    position    bigint  not null,
    recorded_at bigint  not null,
    log         integer not null,
    -- of the command id
    key         uuid    not null,
    -- of the canonical body: the same id with another body is refused
    fingerprint uuid    not null,
    -- the answer, JSON
    outcome     text    not null,
    primary key (log, key)
);
-- receipts by age, across logs
create index receipt_age on receipt (recorded_at);
