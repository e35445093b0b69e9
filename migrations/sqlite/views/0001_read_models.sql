-- Read models, in a file of their own beside the log: x.db has x.views.db. Every row is derived from the log and can be
-- dropped and rebuilt, the whole file too; nothing here is personal data or a secret. The key of each table starts with the
-- log and the generation: a rebuild writes another generation beside the live one and swaps. Rows are stored in the order
-- of their key, without a second tree. Times are microseconds since 1970-01-01T00:00:00Z.

-- How far each projection of each log has come. purpose: live, or under construction (rebuild, verify), or dropping.
create table projection (
    log text not null,
    name text not null,
    generation integer not null,
    purpose text not null check (purpose in ('live', 'rebuild', 'verify', 'dropping')),
    position integer not null,
    paused_position integer,
    -- the event it is stopped at: place, stream and kind, and why
    paused_stream text,
    paused_kind text,
    paused_error text,
    -- events of kinds that this version does not know and that were passed over
    unknown integer not null default 0,
    -- the fold that writes the rows of a generation under construction; another version begins anew
    schema integer not null default 0,
    -- a rebuild is about to swap: the live generation stays where it stands until then
    held_until integer not null default 0,
    touched_at integer not null,
    primary key (log, name, generation)
) strict, without rowid;
create unique index projection_live on projection (log, name) where purpose = 'live';

-- Channels: the Mini Program itself; one row per log.
create table channels (
    log text not null,
    generation integer not null,
    code text not null,
    appid text not null,
    name text not null,
    token_mode text not null,
    policy text not null,
    paused_at integer,
    pause_reason text,
    secret_replaced_at integer not null,
    registered_at integer not null,
    templates_refreshed_at integer,
    templates_listed integer not null,
    templates_vanished integer not null,
    primary key (log, generation, code)
) strict, without rowid;

-- Templates WeChat lists, or listed once.
create table templates (
    log text not null,
    generation integer not null,
    id text not null,
    title text not null,
    content text not null,
    example text not null,
    kind text not null,
    keys text not null,
    listed integer not null,
    first_seen_at integer not null,
    changed_at integer not null,
    vanished_at integer,
    primary key (log, generation, id)
) strict, without rowid;

-- Which openid (as a hash) a user (as a hash) has; kept with a null subject when unbound.
create table bindings (
    log text not null,
    generation integer not null,
    user_ref text not null,
    subject text,
    bound_at integer not null,
    moved_at integer,
    unbound_at integer,
    primary key (log, generation, user_ref)
) strict, without rowid;
create index bindings_by_subject on bindings (log, generation, subject, user_ref) where subject is not null;

-- Subscription quotas; state is the aggregate itself, from which the next event is folded.
create table ledgers (
    log text not null,
    generation integer not null,
    subject text not null,
    template text not null,
    balance integer not null,
    reserved integer not null,
    in_doubt integer not null,
    granted integer not null,
    consumed integer not null,
    voided integer not null,
    rejected integer not null,
    suspended_since integer,
    consented integer not null,
    last_grant_at integer,
    last_choice text,
    last_event_at integer not null,
    state text not null,
    primary key (log, generation, subject, template)
) strict, without rowid;
create index ledgers_by_template on ledgers (log, generation, template, subject);

-- Every grant ever recorded and where it is.
create table ledger_lots (
    log text not null,
    generation integer not null,
    subject text not null,
    template text not null,
    lot integer not null,
    state text not null,
    granted_at integer not null,
    word text,
    evidence_source text not null,
    evidence_ref text not null,
    delivery text,
    doubted_by text,
    changed_at integer not null,
    primary key (log, generation, subject, template, lot)
) strict, without rowid;

-- Messages; the ten counts and the recipients not planned yet add up to targeted.
create table messages (
    log text not null,
    generation integer not null,
    id text not null,
    app text not null,
    template text not null,
    kind text not null,
    targeted integer not null,
    expires_at integer not null,
    accepted_at integer not null,
    retracted_at integer,
    updated_at integer not null,
    position integer not null,
    queued integer not null,
    started integer not null,
    in_doubt integer not null,
    sent integer not null,
    refused integer not null,
    failed integer not null,
    expired integer not null,
    retracted integer not null,
    not_sent integer not null,
    skipped integer not null,
    primary key (log, generation, id)
) strict, without rowid;
create index messages_by_position on messages (log, generation, position);

-- One message to one recipient.
create table deliveries (
    log text not null,
    generation integer not null,
    message text not null,
    idx integer not null,
    user_ref text,
    subject text,
    template text not null,
    state text not null,
    reason text,
    code integer,
    rid text,
    wechat_msgid text,
    lot integer,
    basis text,
    settled_by text,
    attempts integer not null,
    not_before integer,
    accepted_at integer not null,
    started_at integer,
    updated_at integer not null,
    planned_position integer not null,
    position integer not null,
    primary key (log, generation, message, idx)
) strict, without rowid;
create index deliveries_by_subject on deliveries (log, generation, subject, planned_position, message, idx)
    where subject is not null;
create index deliveries_in_doubt on deliveries (log, generation, position, message, idx) where state = 'in_doubt';

-- Sender apps (log main).
create table apps (
    log text not null,
    generation integer not null,
    id text not null,
    name text not null,
    rights text not null,
    channels text,
    created_at integer not null,
    primary key (log, generation, id)
) strict, without rowid;

-- Their keys; revoked ones are kept.
create table app_keys (
    log text not null,
    generation integer not null,
    app text not null,
    key text not null,
    hash text not null,
    added_at integer not null,
    revoked_at integer,
    primary key (log, generation, app, key)
) strict, without rowid;
create index app_keys_by_key on app_keys (log, generation, key);
