-- Read model `reports`: counters and stocks for analysts; docs/reports.md says what each measure means.
-- Derived from the log like every read model, never personal data. Times are microseconds since 1970-01-01T00:00:00Z;
-- a bucket is the quarter of an hour that begins at that time, in UTC, so any time zone's day is a whole number of them.

-- The aggregate of each ledger, to tell how many grants its next event moves.
create table report_books (
    log text not null,
    generation integer not null,
    subject text not null,
    template text not null,
    state text not null,
    primary key (log, generation, subject, template)
) strict, without rowid;

-- The template of each message, which its later events do not repeat.
create table report_sends (
    log text not null,
    generation integer not null,
    id text not null,
    template text not null,
    primary key (log, generation, id)
) strict, without rowid;

-- Templates that anything was recorded about, and where their grants are now:
-- granted = open + reserved + in_doubt + consumed + voided.
create table report_templates (
    log text not null,
    generation integer not null,
    template text not null,
    granted integer not null,
    open integer not null,
    reserved integer not null,
    in_doubt integer not null,
    consumed integer not null,
    voided integer not null,
    since integer not null,
    changed_at integer not null,
    primary key (log, generation, template)
) strict, without rowid;

-- The same at the end of each bucket in which a grant moved.
create table report_closings (
    log text not null,
    generation integer not null,
    template text not null,
    bucket integer not null,
    granted integer not null,
    open integer not null,
    reserved integer not null,
    in_doubt integer not null,
    consumed integer not null,
    voided integer not null,
    primary key (log, generation, template, bucket)
) strict, without rowid;

-- How much of each measure and class there was in a bucket.
create table report_counts (
    log text not null,
    generation integer not null,
    template text not null,
    bucket integer not null,
    measure text not null,
    class text not null,
    amount integer not null,
    primary key (log, generation, template, bucket, measure, class)
) strict, without rowid;

-- Views for BI tools, of the live generation only. Days are those of Asia/Shanghai (UTC+8, no daylight saving time since
-- 1992). Their names and columns are a contract; docs/reports.md describes them.

-- One row per channel, template and day with anything in it.
create view report_daily as
select c.log as channel, c.template as template_id, date(c.bucket / 1000000 + 28800, 'unixepoch') as day,
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
from report_counts c join projection p on p.log = c.log and p.name = 'reports' and p.purpose = 'live' and p.generation = c.generation
group by c.log, c.template, date(c.bucket / 1000000 + 28800, 'unixepoch');

-- The same by measure and class: error classes, reasons of skips, sources of evidence, moves of grants.
create view report_daily_classes as
select c.log as channel, c.template as template_id, date(c.bucket / 1000000 + 28800, 'unixepoch') as day,
    c.measure, c.class, sum(c.amount) as amount
from report_counts c join projection p on p.log = c.log and p.name = 'reports' and p.purpose = 'live' and p.generation = c.generation
group by c.log, c.template, date(c.bucket / 1000000 + 28800, 'unixepoch'), c.measure, c.class;

-- The stock at the end of each day on which it moved; between two rows it stays as it was.
create view report_stock as
select s.log as channel, s.template as template_id, s.day, s.granted, s.open, s.reserved, s.in_doubt, s.consumed, s.voided
from (
    select c.*, date(c.bucket / 1000000 + 28800, 'unixepoch') as day,
        row_number() over (partition by c.log, c.template, date(c.bucket / 1000000 + 28800, 'unixepoch') order by c.bucket desc) as nth
    from report_closings c join projection p on p.log = c.log and p.name = 'reports' and p.purpose = 'live' and p.generation = c.generation
) s
where s.nth = 1;

-- One row per message: the steps from recipients asked for to messages confirmed, and the states of its deliveries.
create view report_messages as
select m.log as channel, m.id as msgid, m.template as template_id, m.app, strftime('%Y-%m-%dT%H:%M:%fZ', m.accepted_at / 1000000.0, 'unixepoch') as accepted_at,
    m.targeted,
    count(case when not ((d.lot is not null or d.basis is not null)) and d.state = 'skipped' and d.reason = 'duplicate' then 1 end) as duplicates,
    count(case when (d.lot is not null or d.basis is not null) or (d.state = 'skipped' and d.reason not in ('duplicate', 'not_bound')) then 1 end) as bound,
    count(case when (d.lot is not null or d.basis is not null) then 1 end) as with_grant,
    count(case when d.attempts > 0 then 1 end) as handed_over,
    count(case when d.state = 'sent' then 1 end) as accepted,
    count(case when d.state = 'sent' and d.settled_by = 'wechat_push' then 1 end) as confirmed,
    m.queued, m.started, m.in_doubt, m.sent, m.refused, m.failed, m.expired, m.retracted, m.not_sent, m.skipped
from messages m join projection p on p.log = m.log and p.name = 'messages' and p.purpose = 'live' and p.generation = m.generation
left join deliveries d on d.log = m.log and d.generation = m.generation and d.message = m.id
group by m.log, m.id, m.template, m.app, m.accepted_at, m.targeted,
    m.queued, m.started, m.in_doubt, m.sent, m.refused, m.failed, m.expired, m.retracted, m.not_sent, m.skipped;
