-- Read models. Every row is derived from the log and can be dropped and rebuilt; nothing here is personal data or a secret.
-- The key of each table starts with the log (the distribution column) and the generation: a rebuild writes another
-- generation beside the live one and swaps. Times are microseconds since 1970-01-01T00:00:00Z.

-- How far each projection of each log has come. purpose: live, or under construction (rebuild, verify), or dropping.
create table projection (
    log text collate "C" not null,
    name text collate "C" not null,
    generation smallint not null,
    purpose text collate "C" not null check (purpose in ('live', 'rebuild', 'verify', 'dropping')),
    position bigint not null,
    paused_position bigint,
    paused_error text collate "C",
    touched_at bigint not null,
    primary key (log, name, generation)
);
create unique index projection_live on projection (log, name) where purpose = 'live';

-- Channels: the Mini Program itself; one row per log.
create table channels (
    log text collate "C" not null,
    generation smallint not null,
    code text collate "C" not null,
    appid text collate "C" not null,
    name text collate "C" not null,
    token_mode text collate "C" not null,
    policy jsonb not null,
    paused_at bigint,
    pause_reason text collate "C",
    secret_replaced_at bigint not null,
    registered_at bigint not null,
    templates_refreshed_at bigint,
    templates_listed bigint not null,
    templates_vanished bigint not null,
    primary key (log, generation, code)
);

-- Templates WeChat lists, or listed once.
create table templates (
    log text collate "C" not null,
    generation smallint not null,
    id text collate "C" not null,
    title text collate "C" not null,
    content text collate "C" not null,
    example text collate "C" not null,
    kind text collate "C" not null,
    keys jsonb not null,
    listed boolean not null,
    first_seen_at bigint not null,
    changed_at bigint not null,
    vanished_at bigint,
    primary key (log, generation, id)
);

-- Which openid (as a hash) a user (as a hash) has; kept with a null subject when unbound.
create table bindings (
    log text collate "C" not null,
    generation smallint not null,
    user_ref text collate "C" not null,
    subject text collate "C",
    bound_at bigint not null,
    moved_at bigint,
    unbound_at bigint,
    primary key (log, generation, user_ref)
);
create index bindings_by_subject on bindings (log, generation, subject, user_ref) where subject is not null;

-- Subscription quotas; state is the aggregate itself, from which the next event is folded.
create table ledgers (
    log text collate "C" not null,
    generation smallint not null,
    subject text collate "C" not null,
    template text collate "C" not null,
    balance bigint not null,
    reserved bigint not null,
    in_doubt bigint not null,
    granted bigint not null,
    consumed bigint not null,
    voided bigint not null,
    rejected bigint not null,
    suspended_since bigint,
    consented boolean not null,
    last_grant_at bigint,
    last_choice text collate "C",
    last_event_at bigint not null,
    state jsonb not null,
    primary key (log, generation, subject, template)
) with (fillfactor = 80);
create index ledgers_by_template on ledgers (log, generation, template, subject);

-- Every grant ever recorded and where it is.
create table ledger_lots (
    log text collate "C" not null,
    generation smallint not null,
    subject text collate "C" not null,
    template text collate "C" not null,
    lot bigint not null,
    state text collate "C" not null,
    granted_at bigint not null,
    word text collate "C",
    evidence_source text collate "C" not null,
    evidence_ref text collate "C" not null,
    delivery text collate "C",
    doubted_by text collate "C",
    changed_at bigint not null,
    primary key (log, generation, subject, template, lot)
) with (fillfactor = 80);

-- Messages; the ten counts and the recipients not planned yet add up to targeted.
create table messages (
    log text collate "C" not null,
    generation smallint not null,
    id text collate "C" not null,
    app text collate "C" not null,
    template text collate "C" not null,
    kind text collate "C" not null,
    targeted bigint not null,
    expires_at bigint not null,
    accepted_at bigint not null,
    retracted_at bigint,
    updated_at bigint not null,
    position bigint not null,
    queued bigint not null,
    started bigint not null,
    in_doubt bigint not null,
    sent bigint not null,
    refused bigint not null,
    failed bigint not null,
    expired bigint not null,
    retracted bigint not null,
    not_sent bigint not null,
    skipped bigint not null,
    primary key (log, generation, id)
) with (fillfactor = 80);
create index messages_by_position on messages (log, generation, position);

-- One message to one recipient.
create table deliveries (
    log text collate "C" not null,
    generation smallint not null,
    message text collate "C" not null,
    idx bigint not null,
    user_ref text collate "C",
    subject text collate "C",
    template text collate "C" not null,
    state text collate "C" not null,
    reason text collate "C",
    code bigint,
    rid text collate "C",
    wechat_msgid text collate "C",
    lot bigint,
    basis text collate "C",
    settled_by text collate "C",
    attempts bigint not null,
    not_before bigint,
    accepted_at bigint not null,
    started_at bigint,
    updated_at bigint not null,
    planned_position bigint not null,
    position bigint not null,
    primary key (log, generation, message, idx)
) with (fillfactor = 80);
create index deliveries_by_subject on deliveries (log, generation, subject, planned_position, message, idx)
    where subject is not null;
create index deliveries_in_doubt on deliveries (log, generation, position, message, idx) where state = 'in_doubt';

-- Sender apps (log main).
create table apps (
    log text collate "C" not null,
    generation smallint not null,
    id text collate "C" not null,
    name text collate "C" not null,
    rights jsonb not null,
    channels jsonb,
    created_at bigint not null,
    primary key (log, generation, id)
);

-- Their keys; revoked ones are kept.
create table app_keys (
    log text collate "C" not null,
    generation smallint not null,
    app text collate "C" not null,
    key text collate "C" not null,
    hash text collate "C" not null,
    added_at bigint not null,
    revoked_at bigint,
    primary key (log, generation, app, key)
);
create index app_keys_by_key on app_keys (log, generation, key);
