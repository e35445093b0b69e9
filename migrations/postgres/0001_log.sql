-- The log: heads, streams, events, receipts, snapshots.
--
-- Every key begins with the log, so that one log can be exported, archived or moved by its key alone, and so that the
-- log can be the distribution column. Times are microseconds since 1970-01-01T00:00:00Z.

-- The end of each log. One row per log, rewritten once per batch: the lock that makes positions dense.
create table head (
    id          integer  generated always as identity primary key,
    name        text     not null unique,
    -- the newest position; 0 while the log is empty
    position    bigint   not null default 0 check (position >= 0),
    -- the newest link of the hash chain; zeros while the log is empty
    link        bytea    not null check (length(link) = 32),
    -- grows whenever another writer takes the log over; a writer that finds an epoch it did not write knows that its
    -- cached states may be stale
    epoch       bigint   not null default 0,
    -- how many streams the log has; the newest stream has this number
    streams     bigint   not null default 0,
    recorded_at bigint   not null default 0
) with (fillfactor = 20);

-- Streams are interned: an event carries a small number instead of a name of a hundred bytes.
create table stream (
    log     integer not null,
    number  bigint  not null check (number >= 1),
    name    text    not null,
    -- the version of the newest event
    version bigint  not null check (version >= 1),
    primary key (log, number)
) with (fillfactor = 80);
create unique index stream_name on stream (log, name);

create table event (
    log         integer  not null,
    position    bigint   not null check (position >= 1),
    stream      bigint   not null,
    version     bigint   not null check (version >= 1),
    -- the number of the kind of event; numbers are never reused
    kind        smallint not null,
    -- the schema of the payload
    schema      smallint not null,
    recorded_at bigint   not null,
    -- the payload, JSON as text: byte for byte as it was hashed
    data        text     not null,
    -- who asked and why, JSON as text: byte for byte as it was hashed
    cause       text     not null,
    -- blake3 (previous link, canonical record)
    link        bytea    not null,
    primary key (log, position)
);
create unique index event_stream on event (log, stream, version);

-- What was answered to a command id, so that a repetition is harmless.
create table receipt (
    log         integer not null,
    id          text    not null,
    -- BLAKE3 of the canonical body: the same id with another body is refused
    fingerprint bytea   not null check (length(fingerprint) = 32),
    -- the answer, JSON
    outcome     text    not null,
    position    bigint  not null,
    recorded_at bigint  not null,
    primary key (log, id)
);

-- The newest snapshot of long streams. Only ever a shortcut: deleting all rows loses nothing.
create table snapshot (
    log     integer not null,
    stream  bigint  not null,
    version bigint  not null,
    state   text    not null,
    primary key (log, stream)
);
