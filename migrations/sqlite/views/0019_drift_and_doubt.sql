-- What the reports of drift and of doubt are made of: one narrow row per finding and per doubt.

-- Findings of drift. found_at, position: when and where the event was recorded. cause: 0 settings_changed, 1 stranger,
-- 2 not_tapped, 3 wrong_verdict, 4 old_grant, 5 unexplained. grants: how many are void; explained: doubts that the same answer
-- proved to have been sent. message, idx: the delivery whose answer proved it.
create table drifts (
    found_at integer not null,
    position integer not null,
    last_grant_at integer,
    last_settings_at integer,
    generation integer not null,
    template integer not null,
    idx integer not null,
    grants integer not null,
    explained integer not null,
    cause integer not null,
    subject blob not null,
    message blob not null,
    primary key (generation, found_at, position)
) strict, without rowid;

-- Ledgers of which WeChat reported a send that no delivery explains, and how many grants were on the books when it did so
-- last: what a later finding of drift is judged by.
create table strangers (
    generation integer not null,
    template integer not null,
    lots integer not null,
    subject blob not null,
    primary key (generation, template, subject)
) strict, without rowid;

-- Doubts, one per attempt that became in doubt. began_at, position: when and where the event was recorded. cause: 0 timeout,
-- 1 connection_broken, 2 unintelligible, 3 node_lost. ended, corrected: 1 sent_event, 2 late_answer, 3 by_hand, 4 deadline,
-- 5 no_permission. outcome: 0 sent, 1 not_sent, 2 refused, 3 failed, 4 postponed. What never changes stands in the index.
create table doubts (
    began_at integer not null,
    position integer not null,
    ended_at integer,
    corrected_at integer,
    generation integer not null,
    idx integer not null,
    template integer not null,
    attempt integer not null,
    cause integer not null,
    ended integer,
    outcome integer,
    corrected integer,
    message blob not null,
    subject blob,
    primary key (generation, message, idx, attempt)
) strict, without rowid;
create index doubts_by_time on doubts (generation, began_at, position);

-- A log that already tells of any of these is built anew by the nodes, from their first start on; others have nothing to add.
update projection set purpose = 'dropping'
where purpose in ('live', 'rebuild') and name in ('ledgers', 'messages') and log in (
    select p.log from projection p join report_counts c on c.generation = p.generation
    where c.measure in ('drifted', 'strangers', 'doubted'));

-- Views for BI tools, of the live generations only. Days are those of Asia/Shanghai. docs/reports.md describes them.

create view report_drifts as
select p.log as channel, n.text as template_id, date(d.found_at / 1000000 + 28800, 'unixepoch') as day, strftime('%Y-%m-%dT%H:%M:%fZ', d.found_at / 1000000.0, 'unixepoch') as found_at,
    case d.cause when 0 then 'settings_changed' when 1 then 'stranger' when 2 then 'not_tapped' when 3 then 'wrong_verdict'
        when 4 then 'old_grant' when 5 then 'unexplained' end as cause,
    case when d.last_grant_at is null then 'unknown' when d.found_at - d.last_grant_at < 86400000000 then '1_day'
        when d.found_at - d.last_grant_at < 604800000000 then '7_days' when d.found_at - d.last_grant_at < 2592000000000 then '30_days'
        when d.found_at - d.last_grant_at < 7776000000000 then '90_days' else 'older' end as age,
    (d.found_at - d.last_grant_at) / 1000000 as age_seconds, d.grants, d.explained, strftime('%Y-%m-%dT%H:%M:%fZ', d.last_grant_at / 1000000.0, 'unixepoch') as last_grant_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', d.last_settings_at / 1000000.0, 'unixepoch') as last_settings_at, lower(hex(d.message)) as msgid, d.idx as recipient_index,
    lower(hex(d.subject)) as subject, d.position
from drifts d join projection p on p.generation = d.generation and p.purpose = 'live' join term n on n.number = d.template;

-- Seconds and age are those of a doubt that has ended.
create view report_doubts as
select p.log as channel, n.text as template_id, date(d.began_at / 1000000 + 28800, 'unixepoch') as day, strftime('%Y-%m-%dT%H:%M:%fZ', d.began_at / 1000000.0, 'unixepoch') as began_at, strftime('%Y-%m-%dT%H:%M:%fZ', d.ended_at / 1000000.0, 'unixepoch') as ended_at,
    (d.ended_at - d.began_at) / 1000000 as seconds,
    case when d.ended_at is null then null when d.ended_at - d.began_at < 60000000 then '1_minute' when d.ended_at - d.began_at < 3600000000 then '1_hour'
        when d.ended_at - d.began_at < 86400000000 then '1_day' when d.ended_at - d.began_at < 259200000000 then '3_days'
        when d.ended_at - d.began_at < 2592000000000 then '30_days' else 'older' end as age,
    case d.cause when 0 then 'timeout' when 1 then 'connection_broken' when 2 then 'unintelligible' when 3 then 'node_lost' end as cause,
    coalesce(case d.ended when 1 then 'sent_event' when 2 then 'late_answer' when 3 then 'by_hand' when 4 then 'deadline' when 5 then 'no_permission' end, 'open') as ended,
    case d.outcome when 0 then 'sent' when 1 then 'not_sent' when 2 then 'refused' when 3 then 'failed' when 4 then 'postponed' end as outcome,
    case d.corrected when 1 then 'sent_event' when 2 then 'late_answer' when 3 then 'by_hand' when 4 then 'deadline' when 5 then 'no_permission' end as corrected, strftime('%Y-%m-%dT%H:%M:%fZ', d.corrected_at / 1000000.0, 'unixepoch') as corrected_at, lower(hex(d.message)) as msgid,
    d.idx as recipient_index, d.attempt, lower(hex(d.subject)) as subject, d.position
from doubts d join projection p on p.generation = d.generation and p.purpose = 'live' join term n on n.number = d.template;
