-- The vaults: personal data and secrets, sealed (XChaCha20-Poly1305), outside the log. Erasing a person deletes rows
-- here; the log, its chain and its counts stay whole. Each sealed value is bound to its table and key, so a row that
-- was copied to another key does not open.

-- The secret of this deployment, sealed under the master key; all other keys are derived from it.
create table deployment (
    id         integer primary key check (id = 1),
    secret     blob    not null,
    -- a known text sealed under the derived key: tells a damaged secret from a wrong master key
    canary     blob    not null,
    created_at integer not null
) strict;

-- The openid behind a subject of a log.
create table identity (
    log     integer not null,
    subject blob    not null check (length(subject) = 16),
    sealed  blob    not null,
    kept_at integer not null,
    primary key (log, subject)
) strict, without rowid;

-- The userid behind a user reference; users are known in all logs.
create table user_identity (
    user_ref blob    not null primary key check (length(user_ref) = 16),
    sealed   blob    not null,
    kept_at  integer not null
) strict, without rowid;

-- The contents of messages: index -1 is what all recipients share.
create table content (
    log     integer not null,
    message blob    not null check (length(message) = 16),
    idx     integer not null check (idx >= -1),
    sealed  blob    not null,
    kept_at integer not null,
    primary key (log, message, idx)
) strict, without rowid;

-- Secrets by the reference that events carry.
create table secret (
    reference text    not null primary key,
    sealed    blob    not null,
    kept_at   integer not null
) strict, without rowid;
