-- What WeChat's pushes add to the read models. Rows that are there stay as they are: nothing was pushed before.

-- sent_event_at, sent_event_code: when WeChat pushed its sent event about a delivery, and its code; 0 confirms the send.
alter table deliveries add column sent_event_at integer;
alter table deliveries add column sent_event_code integer;

-- New columns at the end; `refused` includes `forfeited`.
drop view report_daily;
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
    coalesce(sum(case when c.measure in ('refused', 'forfeited') then c.amount end), 0) as refused,
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
    coalesce(sum(case when c.measure = 'move' and c.class in ('reserved>open', 'in_doubt>open') then c.amount end), 0) as returned,
    coalesce(sum(case when c.measure = 'corroborated' then c.amount end), 0) as corroborated,
    coalesce(sum(case when c.measure = 'noted' then c.amount end), 0) as noted,
    coalesce(sum(case when c.measure = 'confirmed' then c.amount end), 0) as confirmed,
    coalesce(sum(case when c.measure = 'undelivered' then c.amount end), 0) as undelivered,
    coalesce(sum(case when c.measure = 'strangers' then c.amount end), 0) as strangers,
    coalesce(sum(case when c.measure = 'adjusted_up' then c.amount end), 0) as adjusted_up,
    coalesce(sum(case when c.measure = 'adjusted_down' then c.amount end), 0) as adjusted_down,
    coalesce(sum(case when c.measure = 'cleared' then c.amount end), 0) as cleared,
    coalesce(sum(case when c.measure = 'forfeited' then c.amount end), 0) as forfeited
from report_counts c join projection p on p.generation = c.generation and p.purpose = 'live' join term n on n.number = c.template
group by p.log, n.text, date(c.bucket * 900 + 28800, 'unixepoch');

-- `confirmed` is what a sent event says.
drop view report_messages;
create view report_messages as
select p.log as channel, lower(hex(m.id)) as msgid, n.text as template_id, a.text as app, strftime('%Y-%m-%dT%H:%M:%fZ', m.accepted_at / 1000000.0, 'unixepoch') as accepted_at,
    m.targeted,
    count(case when not (d.lot is not null or d.basis is not null) and d.state = 9 and d.reason = 'duplicate' then 1 end) as duplicates,
    count(case when (d.lot is not null or d.basis is not null) or (d.state = 9 and d.reason not in ('duplicate', 'not_bound')) then 1 end) as bound,
    count(case when (d.lot is not null or d.basis is not null) then 1 end) as with_grant,
    count(case when d.attempts > 0 then 1 end) as handed_over,
    count(case when d.state = 3 then 1 end) as accepted,
    count(case when d.state = 3 and d.sent_event_code = 0 then 1 end) as confirmed,
    coalesce(m.queued, 0) as queued, coalesce(m.started, 0) as started, coalesce(m.in_doubt, 0) as in_doubt, coalesce(m.sent, 0) as sent, coalesce(m.refused, 0) as refused,
    coalesce(m.failed, 0) as failed, coalesce(m.expired, 0) as expired, coalesce(m.retracted, 0) as retracted, coalesce(m.not_sent, 0) as not_sent, coalesce(m.skipped, 0) as skipped
from messages m join projection p on p.generation = m.generation and p.purpose = 'live'
    join term n on n.number = m.template join term a on a.number = m.app
    left join deliveries d on d.generation = m.generation and d.message = m.id
group by p.log, m.id, n.text, a.text, m.accepted_at, m.targeted,
    m.queued, m.started, m.in_doubt, m.sent, m.refused, m.failed, m.expired, m.retracted, m.not_sent, m.skipped;
