-- Keys: data keys seal values, master keys wrap data keys. Neither stands here in the clear.

-- Data keys by number. A sealed value begins with the number of its key, and the key with the highest number seals. Key 0 is
-- derived from the root of the deployment and sealed everything before keys had numbers.
create table data_key (
    id         integer not null primary key check (id between 0 and 65535),
    created_at bigint not null,
    -- since when nothing is known to be sealed under it; null while something may be
    retired_at bigint
);

-- Every data key under every master key that may unlock this deployment: one, and two while one replaces the other.
create table wrapped_key (
    -- eight digits by which people tell master keys apart
    master     text    not null,
    data_key   integer not null references data_key (id),
    sealed     bytea not null,
    wrapped_at bigint not null,
    primary key (master, data_key)
);

-- Which keys running nodes know. A node says so every few seconds; one that is silent for longer does not run.
create table key_node (
    node     text    not null primary key,
    master   text    not null,
    data_key integer not null,
    seen_at  bigint not null
);

-- How far the values of each table are sealed under the newest data key.
create table reseal (
    name       text    not null primary key,
    -- the data key that this is about
    data_key   integer not null,
    -- the key of the last row that was looked at, JSON; null at the beginning
    position   text,
    seen       bigint not null,
    resealed   bigint not null,
    -- values that do not open
    damaged    bigint not null,
    micros     bigint not null,
    started_at bigint not null,
    done_at    bigint
);
