-- Read models in narrow rows. Every row is derived from the log; what was here is dropped and built anew by the nodes, from
-- their first start on. Times are microseconds since 1970-01-01T00:00:00Z.

drop view report_daily, report_daily_classes, report_stock, report_messages;
drop table projection, channels, templates, bindings, ledgers, ledger_lots, messages, deliveries, apps, app_keys,
    report_books, report_sends, report_templates, report_closings, report_counts;

-- Texts that many rows repeat, by number: ids of templates and of sender apps. Never deleted.
create table term (
    number integer generated always as identity primary key,
    text text collate "C" not null unique
);

-- How far each projection of each log has come. A generation is one complete set of rows; its number is its own in the whole
-- database, is never used again, and begins the key of every table of rows (a generation is of one log: the number is also
-- what rows are distributed by). purpose: live, or under construction (rebuild, verify), or dropping.
create table projection (
    generation integer generated always as identity primary key,
    log text collate "C" not null,
    name text collate "C" not null,
    purpose text collate "C" not null check (purpose in ('live', 'rebuild', 'verify', 'dropping')),
    position bigint not null,
    -- the event it is stopped at: place, stream and kind, and why
    paused_position bigint,
    paused_stream text collate "C",
    paused_kind text collate "C",
    paused_error text collate "C",
    -- events of kinds that this version does not know and that were passed over
    unknown bigint not null default 0,
    -- the fold that writes the rows of a generation under construction; another version begins anew
    schema bigint not null default 0,
    -- a rebuild is about to swap: the live generation stays where it stands until then, by the clock of the database
    held_until bigint not null default 0,
    touched_at bigint not null
) with (fillfactor = 50);
create unique index projection_live on projection (log, name) where purpose = 'live';
create index projection_of_log on projection (log, name);

-- Channels: the Mini Program itself; one row per log. policy is JSON.
create table channels (
    secret_replaced_at bigint not null,
    registered_at bigint not null,
    templates_refreshed_at bigint,
    paused_at bigint,
    generation integer not null,
    templates_listed integer not null,
    templates_vanished integer not null,
    code text collate "C" not null,
    appid text collate "C" not null,
    name text collate "C" not null,
    token_mode text collate "C" not null,
    policy text collate "C" not null,
    pause_reason text collate "C",
    primary key (generation, code)
);

-- Templates WeChat lists, or listed once. kind: 0 one-time, 1 long-term; keys is JSON.
create table templates (
    first_seen_at bigint not null,
    changed_at bigint not null,
    vanished_at bigint,
    generation integer not null,
    kind smallint not null,
    listed smallint not null,
    id text collate "C" not null,
    title text collate "C" not null,
    content text collate "C" not null,
    example text collate "C" not null,
    keys text collate "C" not null,
    primary key (generation, id)
);

-- Which openid (as a hash) a user (as a hash) has; kept with a null subject when unbound.
create table bindings (
    bound_at bigint not null,
    moved_at bigint,
    unbound_at bigint,
    generation integer not null,
    user_ref bytea not null,
    subject bytea,
    primary key (generation, user_ref)
) with (fillfactor = 90);
create index bindings_by_subject on bindings (generation, subject) where subject is not null;

-- Subscription quotas. last_choice: 0 accept, 1 reject, 2 ban, 3 filter. state: what the aggregate knows beside these
-- columns, packed; null for most ledgers at rest.
create table ledgers (
    last_event_at bigint not null,
    last_grant_at bigint,
    suspended_since bigint,
    generation integer not null,
    template integer not null,
    balance integer not null,
    reserved integer not null,
    in_doubt integer not null,
    granted integer not null,
    consumed integer not null,
    voided integer not null,
    rejected integer not null,
    consented smallint not null,
    last_choice smallint,
    subject bytea not null,
    state bytea,
    primary key (generation, template, subject)
) with (fillfactor = 70);

-- Every grant ever recorded and where it is. state: 0 open, 1 reserved, 2 in_doubt, 3 consumed, 4 void. evidence_source:
-- 0 integrator, 1 client_report, 2 wechat_push, 3 wechat_answer, 4 import, 5 operator, 6 policy. word: null for the usual
-- "accept", empty for an import. delivery, doubted_by: the message, then the recipient's index without leading zeros.
create table ledger_lots (
    granted_at bigint not null,
    changed_at bigint not null,
    generation integer not null,
    template integer not null,
    lot integer not null,
    state smallint not null,
    evidence_source smallint not null,
    subject bytea not null,
    evidence_ref text collate "C" not null,
    word text collate "C",
    delivery bytea,
    doubted_by bytea,
    primary key (generation, template, subject, lot)
) with (fillfactor = 70);

-- Messages. The ten counts (null is none) and the recipients not planned yet add up to targeted. kind as of templates.
create table messages (
    expires_at bigint not null,
    accepted_at bigint not null,
    updated_at bigint not null,
    position bigint not null,
    retracted_at bigint,
    generation integer not null,
    app integer not null,
    template integer not null,
    targeted integer not null,
    queued integer,
    started integer,
    in_doubt integer,
    sent integer,
    refused integer,
    failed integer,
    expired integer,
    retracted integer,
    not_sent integer,
    skipped integer,
    kind smallint not null,
    id bytea not null,
    primary key (generation, id)
) with (fillfactor = 70);
create index messages_by_position on messages (generation, position);

-- One message to one recipient. state: 0 queued, 1 started, 2 in_doubt, 3 sent, 4 refused, 5 failed, 6 expired,
-- 7 retracted, 8 not_sent, 9 skipped. basis: 0 long_term, 1 unknown_balance. in_doubt_at: the position, while in doubt.
create table deliveries (
    accepted_at bigint not null,
    updated_at bigint not null,
    planned_position bigint not null,
    position bigint not null,
    started_at bigint,
    not_before bigint,
    code bigint,
    in_doubt_at bigint,
    generation integer not null,
    idx integer not null,
    template integer not null,
    lot integer,
    state smallint not null,
    attempts smallint not null,
    basis smallint,
    message bytea not null,
    user_ref bytea,
    subject bytea,
    reason text collate "C",
    rid text collate "C",
    wechat_msgid text collate "C",
    settled_by text collate "C",
    primary key (generation, message, idx)
) with (fillfactor = 70);
create index deliveries_by_subject on deliveries (generation, subject, planned_position) where subject is not null;
create index deliveries_in_doubt on deliveries (generation, in_doubt_at) where in_doubt_at is not null;

-- Templates that anything was recorded about, and where their grants are now: granted = open + reserved + in_doubt +
-- consumed + voided. Rows of ledgers and rows of messages add up, as in report_counts.
create table report_templates (
    granted bigint not null,
    open bigint not null,
    reserved bigint not null,
    in_doubt bigint not null,
    consumed bigint not null,
    voided bigint not null,
    since bigint not null,
    changed_at bigint not null,
    generation integer not null,
    template integer not null,
    primary key (generation, template)
) with (fillfactor = 50);

-- The same at the end of each quarter of an hour in which a grant moved. bucket: quarters of an hour since 1970.
create table report_closings (
    granted bigint not null,
    open bigint not null,
    reserved bigint not null,
    in_doubt bigint not null,
    consumed bigint not null,
    voided bigint not null,
    generation integer not null,
    template integer not null,
    bucket integer not null,
    primary key (generation, template, bucket)
) with (fillfactor = 50);

-- How much of each measure and class there was in a quarter of an hour: what ledgers tell in rows of that projection's
-- generation, what messages tell in rows of the other's.
create table report_counts (
    amount bigint not null,
    generation integer not null,
    template integer not null,
    bucket integer not null,
    measure text collate "C" not null,
    class text collate "C" not null,
    primary key (generation, template, bucket, measure, class)
) with (fillfactor = 50);

-- Sender apps (log main). rights and channels are JSON.
create table apps (
    created_at bigint not null,
    generation integer not null,
    id text collate "C" not null,
    name text collate "C" not null,
    rights text collate "C" not null,
    channels text collate "C",
    primary key (generation, id)
);

-- Their keys; revoked ones are kept.
create table app_keys (
    added_at bigint not null,
    revoked_at bigint,
    generation integer not null,
    app text collate "C" not null,
    key text collate "C" not null,
    hash text collate "C" not null,
    primary key (generation, app, key)
);
create index app_keys_by_key on app_keys (generation, key);

-- Views for BI tools, of the live generations only. Days are those of Asia/Shanghai (UTC+8, no daylight saving time since
-- 1992). Their names and columns are a contract; docs/reports.md describes them.

-- One row per channel, template and day with anything in it.
create view report_daily as
select p.log as channel, n.text as template_id, (to_timestamp(c.bucket::bigint * 900) at time zone 'Asia/Shanghai')::date as day,
    coalesce(sum(case when c.measure in ('granted', 'consented', 'rejected') then c.amount end), 0)::bigint as asked,
    coalesce(sum(case when c.measure in ('granted', 'consented') then c.amount end), 0)::bigint as accepted,
    coalesce(sum(case when c.measure = 'rejected' then c.amount end), 0)::bigint as rejected,
    coalesce(sum(case when c.measure = 'granted' then c.amount end), 0)::bigint as granted,
    coalesce(sum(case when c.measure = 'opened' then c.amount end), 0)::bigint as opened,
    coalesce(sum(case when c.measure = 'consented' then c.amount end), 0)::bigint as consented,
    coalesce(sum(case when c.measure = 'suspended' then c.amount end), 0)::bigint as suspended,
    coalesce(sum(case when c.measure = 'messages' then c.amount end), 0)::bigint as messages,
    coalesce(sum(case when c.measure = 'targeted' then c.amount end), 0)::bigint as targeted,
    coalesce(sum(case when c.measure = 'skipped' then c.amount end), 0)::bigint as skipped,
    coalesce(sum(case when c.measure = 'reserved' then c.amount end), 0)::bigint as reserved,
    coalesce(sum(case when c.measure = 'admitted' then c.amount end), 0)::bigint as admitted,
    coalesce(sum(case when c.measure = 'started' and c.class = 'first' then c.amount end), 0)::bigint as handed_over,
    coalesce(sum(case when c.measure = 'started' then c.amount end), 0)::bigint as attempts,
    coalesce(sum(case when c.measure = 'postponed' then c.amount end), 0)::bigint as postponed,
    coalesce(sum(case when c.measure in ('sent', 'settled_sent', 'corrected') then c.amount end), 0)::bigint as sent,
    coalesce(sum(case when c.measure = 'refused' then c.amount end), 0)::bigint as refused,
    coalesce(sum(case when c.measure = 'failed' then c.amount end), 0)::bigint as failed,
    coalesce(sum(case when c.measure = 'expired' then c.amount end), 0)::bigint as expired,
    coalesce(sum(case when c.measure = 'retracted' then c.amount end), 0)::bigint as retracted,
    coalesce(sum(case when c.measure = 'dropped' then c.amount end), 0)::bigint as dropped,
    coalesce(sum(case when c.measure = 'doubted' then c.amount end), 0)::bigint as doubted,
    coalesce(sum(case when c.measure = 'settled_sent' then c.amount end), 0)::bigint as settled_sent,
    coalesce(sum(case when c.measure = 'settled_not_sent' then c.amount end), 0)::bigint as settled_not_sent,
    coalesce(sum(case when c.measure = 'answered_late' then c.amount end), 0)::bigint as answered_late,
    coalesce(sum(case when c.measure = 'corrected' then c.amount end), 0)::bigint as corrected,
    coalesce(sum(case when c.measure = 'drifted' then c.amount end), 0)::bigint as drifted,
    coalesce(sum(case when c.measure = 'move' and c.class like '%>consumed' then c.amount end), 0)::bigint as consumed,
    coalesce(sum(case when c.measure = 'move' and c.class like '%>void' then c.amount end), 0)::bigint as voided,
    coalesce(sum(case when c.measure = 'move' and c.class in ('reserved>open', 'in_doubt>open') then c.amount end), 0)::bigint as returned
from report_counts c join projection p on p.generation = c.generation and p.purpose = 'live' join term n on n.number = c.template
group by p.log, n.text, (to_timestamp(c.bucket::bigint * 900) at time zone 'Asia/Shanghai')::date;

-- The same by measure and class: error classes, reasons of skips, sources of evidence, moves of grants.
create view report_daily_classes as
select p.log as channel, n.text as template_id, (to_timestamp(c.bucket::bigint * 900) at time zone 'Asia/Shanghai')::date as day,
    c.measure, c.class, sum(c.amount)::bigint as amount
from report_counts c join projection p on p.generation = c.generation and p.purpose = 'live' join term n on n.number = c.template
group by p.log, n.text, (to_timestamp(c.bucket::bigint * 900) at time zone 'Asia/Shanghai')::date, c.measure, c.class;

-- The stock at the end of each day on which it moved; between two rows it stays as it was.
create view report_stock as
select s.channel, s.template_id, s.day, s.granted, s.open, s.reserved, s.in_doubt, s.consumed, s.voided
from (
    select p.log as channel, n.text as template_id, c.*, (to_timestamp(c.bucket::bigint * 900) at time zone 'Asia/Shanghai')::date as day,
        row_number() over (partition by c.generation, c.template, (to_timestamp(c.bucket::bigint * 900) at time zone 'Asia/Shanghai')::date order by c.bucket desc) as nth
    from report_closings c join projection p on p.generation = c.generation and p.purpose = 'live'
        join term n on n.number = c.template
) s
where s.nth = 1;

-- One row per message: the steps from recipients asked for to messages confirmed, and the states of its deliveries.
create view report_messages as
select p.log as channel, encode(m.id, 'hex') as msgid, n.text as template_id, a.text as app, to_timestamp(m.accepted_at / 1000000.0) as accepted_at,
    m.targeted,
    count(case when not (d.lot is not null or d.basis is not null) and d.state = 9 and d.reason = 'duplicate' then 1 end) as duplicates,
    count(case when (d.lot is not null or d.basis is not null) or (d.state = 9 and d.reason not in ('duplicate', 'not_bound')) then 1 end) as bound,
    count(case when (d.lot is not null or d.basis is not null) then 1 end) as with_grant,
    count(case when d.attempts > 0 then 1 end) as handed_over,
    count(case when d.state = 3 then 1 end) as accepted,
    count(case when d.state = 3 and d.settled_by = 'wechat_push' then 1 end) as confirmed,
    coalesce(m.queued, 0) as queued, coalesce(m.started, 0) as started, coalesce(m.in_doubt, 0) as in_doubt, coalesce(m.sent, 0) as sent, coalesce(m.refused, 0) as refused,
    coalesce(m.failed, 0) as failed, coalesce(m.expired, 0) as expired, coalesce(m.retracted, 0) as retracted, coalesce(m.not_sent, 0) as not_sent, coalesce(m.skipped, 0) as skipped
from messages m join projection p on p.generation = m.generation and p.purpose = 'live'
    join term n on n.number = m.template join term a on a.number = m.app
    left join deliveries d on d.generation = m.generation and d.message = m.id
group by p.log, m.id, n.text, a.text, m.accepted_at, m.targeted,
    m.queued, m.started, m.in_doubt, m.sent, m.refused, m.failed, m.expired, m.retracted, m.not_sent, m.skipped;
