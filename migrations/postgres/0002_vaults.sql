-- The vaults: personal data and secrets, sealed (XChaCha20-Poly1305), outside the log. Erasing a person deletes rows
-- here; the log, its chain and its counts stay whole. Each sealed value is bound to its table and key, so a row that
-- was copied to another key does not open.

-- The secret of this deployment, sealed under the master key; all other keys are derived from it.
create table deployment (
    id         integer primary key check (id = 1),
    secret     bytea   not null,
    -- a known text sealed under the derived key: tells a damaged secret from a wrong master key
    canary     bytea   not null,
    created_at bigint  not null
);

-- The openid behind a subject of a log.
create table identity (
    log     integer not null,
    subject bytea   not null check (length(subject) = 16),
    sealed  bytea   not null,
    kept_at bigint  not null,
    primary key (log, subject)
);

-- The userid behind a user reference; users are known in all logs.
create table user_identity (
    user_ref bytea  not null primary key check (length(user_ref) = 16),
    sealed   bytea  not null,
    kept_at  bigint not null
);

-- The contents of messages: index -1 is what all recipients share.
create table content (
    log     integer not null,
    message bytea   not null check (length(message) = 16),
    idx     bigint  not null check (idx >= -1),
    sealed  bytea   not null,
    kept_at bigint  not null,
    primary key (log, message, idx)
);

-- Secrets by the reference that events carry.
create table secret (
    reference text   not null primary key,
    sealed    bytea  not null,
    kept_at   bigint not null
);
