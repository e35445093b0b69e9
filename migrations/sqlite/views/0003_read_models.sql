-- Read models in narrow rows. Every row is derived from the log; what was here is dropped and built anew by the nodes, from
-- their first start on. Rows are stored in the order of their key, without a second tree. Times are microseconds since
-- 1970-01-01T00:00:00Z.

drop view report_daily;
drop view report_daily_classes;
drop view report_stock;
drop view report_messages;
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
drop table report_books;
drop table report_sends;
drop table report_templates;
drop table report_closings;
drop table report_counts;

-- Texts that many rows repeat, by number: ids of templates and of sender apps. Never deleted.
create table term (
    number integer primary key autoincrement,
    text text not null unique
) strict;

-- How far each projection of each log has come. A generation is one complete set of rows; its number is its own in the whole
-- database, is never used again, and begins the key of every table of rows (a generation is of one log: the number is also
-- what rows are distributed by). purpose: live, or under construction (rebuild, verify), or dropping.
create table projection (
    generation integer primary key autoincrement,
    log text not null,
    name text not null,
    purpose text not null check (purpose in ('live', 'rebuild', 'verify', 'dropping')),
    position integer not null,
    -- the event it is stopped at: place, stream and kind, and why
    paused_position integer,
    paused_stream text,
    paused_kind text,
    paused_error text,
    -- events of kinds that this version does not know and that were passed over
    unknown integer not null default 0,
    -- the fold that writes the rows of a generation under construction; another version begins anew
    schema integer not null default 0,
    -- a rebuild is about to swap: the live generation stays where it stands until then
    held_until integer not null default 0,
    touched_at integer not null
) strict;
create unique index projection_live on projection (log, name) where purpose = 'live';
create index projection_of_log on projection (log, name);

-- Channels: the Mini Program itself; one row per log. policy is JSON.
create table channels (
    generation integer not null,
    code text not null,
    secret_replaced_at integer not null,
    registered_at integer not null,
    templates_refreshed_at integer,
    paused_at integer,
    templates_listed integer not null,
    templates_vanished integer not null,
    appid text not null,
    name text not null,
    token_mode text not null,
    policy text not null,
    pause_reason text,
    primary key (generation, code)
) strict, without rowid;

-- Templates WeChat lists, or listed once. kind: 0 one-time, 1 long-term; keys is JSON.
create table templates (
    generation integer not null,
    id text not null,
    first_seen_at integer not null,
    changed_at integer not null,
    vanished_at integer,
    kind integer not null,
    listed integer not null,
    title text not null,
    content text not null,
    example text not null,
    keys text not null,
    primary key (generation, id)
) strict, without rowid;

-- Which openid (as a hash) a user (as a hash) has; kept with a null subject when unbound.
create table bindings (
    generation integer not null,
    user_ref blob not null,
    bound_at integer not null,
    moved_at integer,
    unbound_at integer,
    subject blob,
    primary key (generation, user_ref)
) strict, without rowid;
create index bindings_by_subject on bindings (generation, subject) where subject is not null;

-- Subscription quotas. last_choice: 0 accept, 1 reject, 2 ban, 3 filter. state: what the aggregate knows beside these
-- columns, packed; null for most ledgers at rest.
create table ledgers (
    generation integer not null,
    template integer not null,
    subject blob not null,
    last_event_at integer not null,
    last_grant_at integer,
    suspended_since integer,
    balance integer not null,
    reserved integer not null,
    in_doubt integer not null,
    granted integer not null,
    consumed integer not null,
    voided integer not null,
    rejected integer not null,
    consented integer not null,
    last_choice integer,
    state blob,
    primary key (generation, template, subject)
) strict, without rowid;

-- Every grant ever recorded and where it is. state: 0 open, 1 reserved, 2 in_doubt, 3 consumed, 4 void. evidence_source:
-- 0 integrator, 1 client_report, 2 wechat_push, 3 wechat_answer, 4 import, 5 operator, 6 policy. word: null for the usual
-- "accept", empty for an import. delivery, doubted_by: the message, then the recipient's index without leading zeros.
create table ledger_lots (
    generation integer not null,
    template integer not null,
    subject blob not null,
    lot integer not null,
    granted_at integer not null,
    changed_at integer not null,
    state integer not null,
    evidence_source integer not null,
    evidence_ref text not null,
    word text,
    delivery blob,
    doubted_by blob,
    primary key (generation, template, subject, lot)
) strict, without rowid;

-- Messages. The ten counts (null is none) and the recipients not planned yet add up to targeted. kind as of templates.
create table messages (
    generation integer not null,
    id blob not null,
    expires_at integer not null,
    accepted_at integer not null,
    updated_at integer not null,
    position integer not null,
    retracted_at integer,
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
    kind integer not null,
    primary key (generation, id)
) strict, without rowid;
create index messages_by_position on messages (generation, position);

-- One message to one recipient. state: 0 queued, 1 started, 2 in_doubt, 3 sent, 4 refused, 5 failed, 6 expired,
-- 7 retracted, 8 not_sent, 9 skipped. basis: 0 long_term, 1 unknown_balance. in_doubt_at: the position, while in doubt.
create table deliveries (
    generation integer not null,
    message blob not null,
    idx integer not null,
    accepted_at integer not null,
    updated_at integer not null,
    planned_position integer not null,
    position integer not null,
    started_at integer,
    not_before integer,
    code integer,
    in_doubt_at integer,
    template integer not null,
    lot integer,
    state integer not null,
    attempts integer not null,
    basis integer,
    user_ref blob,
    subject blob,
    reason text,
    rid text,
    wechat_msgid text,
    settled_by text,
    primary key (generation, message, idx)
) strict, without rowid;
create index deliveries_by_subject on deliveries (generation, subject, planned_position) where subject is not null;
create index deliveries_in_doubt on deliveries (generation, in_doubt_at) where in_doubt_at is not null;

-- Templates that anything was recorded about, and where their grants are now: granted = open + reserved + in_doubt +
-- consumed + voided. Rows of ledgers and rows of messages add up, as in report_counts.
create table report_templates (
    generation integer not null,
    template integer not null,
    granted integer not null,
    open integer not null,
    reserved integer not null,
    in_doubt integer not null,
    consumed integer not null,
    voided integer not null,
    since integer not null,
    changed_at integer not null,
    primary key (generation, template)
) strict, without rowid;

-- The same at the end of each quarter of an hour in which a grant moved. bucket: quarters of an hour since 1970.
create table report_closings (
    generation integer not null,
    template integer not null,
    bucket integer not null,
    granted integer not null,
    open integer not null,
    reserved integer not null,
    in_doubt integer not null,
    consumed integer not null,
    voided integer not null,
    primary key (generation, template, bucket)
) strict, without rowid;

-- How much of each measure and class there was in a quarter of an hour: what ledgers tell in rows of that projection's
-- generation, what messages tell in rows of the other's.
create table report_counts (
    generation integer not null,
    template integer not null,
    bucket integer not null,
    measure text not null,
    class text not null,
    amount integer not null,
    primary key (generation, template, bucket, measure, class)
) strict, without rowid;

-- Sender apps (log main). rights and channels are JSON.
create table apps (
    generation integer not null,
    id text not null,
    created_at integer not null,
    name text not null,
    rights text not null,
    channels text,
    primary key (generation, id)
) strict, without rowid;

-- Their keys; revoked ones are kept.
create table app_keys (
    generation integer not null,
    app text not null,
    key text not null,
    added_at integer not null,
    revoked_at integer,
    hash text not null,
    primary key (generation, app, key)
) strict, without rowid;
create index app_keys_by_key on app_keys (generation, key);

-- Views for BI tools, of the live generations only. Days are those of Asia/Shanghai (UTC+8, no daylight saving time since
-- 1992). Their names and columns are a contract; docs/reports.md describes them.

-- One row per channel, template and day with anything in it.
create view report_daily as
select p.log as channel, n.text as template_id, date(c.bucket * 900 + 28800, 'unixepoch') as day,
    coalesce(sum(case when c.measure in ('granted', 'consented', 'rejected') then c.amount end), 0) as asked,
    coalesce(sum(case when c.measure in ('granted', 'consented') then c.amount end), 0) as accepted,
    coalesce(sum(case when c.measure = 'rejected' then c.amount end), 0) as rejected,
    coalesce(sum(case when c.measure = 'granted' then c.amount end), 0) as granted,
    coalesce(sum(case when c.measure = 'opened' then c.amount end), 0) as opened,
    coalesce(sum(case when c.measure = 'consented' then c.amount end), 0) as consented,
    coalesce(sum(case when c.measure = 'suspended' then c.amount end), 0) as suspended,
    coalesce(sum(case when c.measure = 'messages' then c.amount end), 0) as messages,
    coalesce(sum(case when c.measure = 'targeted' then c.amount end), 0) as targeted,
    coalesce(sum(case when c.measure = 'skipped' then c.amount end), 0) as skipped,
    coalesce(sum(case when c.measure = 'reserved' then c.amount end), 0) as reserved,
    coalesce(sum(case when c.measure = 'admitted' then c.amount end), 0) as admitted,
    coalesce(sum(case when c.measure = 'started' and c.class = 'first' then c.amount end), 0) as handed_over,
    coalesce(sum(case when c.measure = 'started' then c.amount end), 0) as attempts,
    coalesce(sum(case when c.measure = 'postponed' then c.amount end), 0) as postponed,
    coalesce(sum(case when c.measure in ('sent', 'settled_sent', 'corrected') then c.amount end), 0) as sent,
    coalesce(sum(case when c.measure = 'refused' then c.amount end), 0) as refused,
    coalesce(sum(case when c.measure = 'failed' then c.amount end), 0) as failed,
    coalesce(sum(case when c.measure = 'expired' then c.amount end), 0) as expired,
    coalesce(sum(case when c.measure = 'retracted' then c.amount end), 0) as retracted,
    coalesce(sum(case when c.measure = 'dropped' then c.amount end), 0) as dropped,
    coalesce(sum(case when c.measure = 'doubted' then c.amount end), 0) as doubted,
    coalesce(sum(case when c.measure = 'settled_sent' then c.amount end), 0) as settled_sent,
    coalesce(sum(case when c.measure = 'settled_not_sent' then c.amount end), 0) as settled_not_sent,
    coalesce(sum(case when c.measure = 'answered_late' then c.amount end), 0) as answered_late,
    coalesce(sum(case when c.measure = 'corrected' then c.amount end), 0) as corrected,
    coalesce(sum(case when c.measure = 'drifted' then c.amount end), 0) as drifted,
    coalesce(sum(case when c.measure = 'move' and c.class like '%>consumed' then c.amount end), 0) as consumed,
    coalesce(sum(case when c.measure = 'move' and c.class like '%>void' then c.amount end), 0) as voided,
    coalesce(sum(case when c.measure = 'move' and c.class in ('reserved>open', 'in_doubt>open') then c.amount end), 0) as returned
from report_counts c join projection p on p.generation = c.generation and p.purpose = 'live' join term n on n.number = c.template
group by p.log, n.text, date(c.bucket * 900 + 28800, 'unixepoch');

-- The same by measure and class: error classes, reasons of skips, sources of evidence, moves of grants.
create view report_daily_classes as
select p.log as channel, n.text as template_id, date(c.bucket * 900 + 28800, 'unixepoch') as day,
    c.measure, c.class, sum(c.amount) as amount
from report_counts c join projection p on p.generation = c.generation and p.purpose = 'live' join term n on n.number = c.template
group by p.log, n.text, date(c.bucket * 900 + 28800, 'unixepoch'), c.measure, c.class;

-- The stock at the end of each day on which it moved; between two rows it stays as it was.
create view report_stock as
select s.channel, s.template_id, s.day, s.granted, s.open, s.reserved, s.in_doubt, s.consumed, s.voided
from (
    select p.log as channel, n.text as template_id, c.*, date(c.bucket * 900 + 28800, 'unixepoch') as day,
        row_number() over (partition by c.generation, c.template, date(c.bucket * 900 + 28800, 'unixepoch') order by c.bucket desc) as nth
    from report_closings c join projection p on p.generation = c.generation and p.purpose = 'live'
        join term n on n.number = c.template
) s
where s.nth = 1;

-- One row per message: the steps from recipients asked for to messages confirmed, and the states of its deliveries.
create view report_messages as
select p.log as channel, lower(hex(m.id)) as msgid, n.text as template_id, a.text as app, strftime('%Y-%m-%dT%H:%M:%fZ', m.accepted_at / 1000000.0, 'unixepoch') as accepted_at,
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
