//! Statements of reports for SQLite.
//!
//! A question answers (position, JSON) in one statement: both are of one snapshot. What reports count stands in rows of two
//! read models, those of ledgers and of messages; `apart` says that they did not stand at one position.

macro_rules! live_reports {
    () => {
        " from projection p join projection pm on pm.log = p.log and pm.name = 'messages' and pm.purpose = 'live'
        where p.log = ?1 and p.name = 'ledgers' and p.purpose = 'live'"
    };
}

macro_rules! page {
    () => {
        "(select t.template as number, n.text as template
                from report_templates t cross join term n on n.number = t.template
                where t.generation in (p.generation, pm.generation) and n.text > ?3 and (?5 is null or n.text = ?5)
                group by t.template, n.text order by n.text limit ?4)"
    };
}

/// Counters of a page of templates; parameters: periods as JSON of (day, since, until), template to go on after, limit, then a
/// template or null. Each period is summed by itself, so that no sort is larger than a period; periods are read once, or
/// every row would parse their JSON again.
pub(crate) const ACTIVITY: &str = concat!(
    "select min(p.position, pm.position), json_object('apart', p.position <> pm.position, 'templates', (select json_group_array(s.template) from ",
    page!(),
    " s), 'cells', (select json_group_array(json_array(s.template, s.day, s.measure, s.class, s.amount)) from (
        with d as materialized (
            select value ->> 'day' as day, value ->> 'since' as since, value ->> 'until' as until from json_each(?2))
        select t.template, d.day, x.value ->> 0 as measure, x.value ->> 1 as class, x.value ->> 2 as amount from ",
    page!(),
    " t cross join d
            cross join json_each((
                select json_group_array(json_array(y.measure, y.class, y.amount)) from (
                    select c.measure, c.class, sum(c.amount) as amount from report_counts c
                    where c.generation in (p.generation, pm.generation) and c.template = t.number
                        and c.bucket >= d.since and c.bucket < d.until
                    group by c.measure, c.class) y)) x
        order by 1, 2, 3, 4) s))",
    live_reports!(),
);

/// The stock of a page of templates now and at the end of days; parameters as above, of which `until` counts.
pub(crate) const STOCK: &str = concat!(
    "select min(p.position, pm.position), json_object('apart', p.position <> pm.position, 'templates', (select json_group_array(json(w.row)) from (
        select json_object('template', s.template, 'granted', sum(t.granted), 'open', sum(t.open), 'reserved',
            sum(t.reserved), 'in_doubt', sum(t.in_doubt), 'consumed', sum(t.consumed), 'voided', sum(t.voided),
            'since', min(t.since), 'changed_at', max(t.changed_at)) as row from ",
    page!(),
    " s cross join report_templates t on t.generation in (p.generation, pm.generation) and t.template = s.number
        group by s.template order by s.template) w), 'cells', (select json_group_array(json_array(s.template, s.day, json(s.closing))) from (
        select t.template, d.value ->> 'day' as day, (
            select json_object('granted', c.granted, 'open', c.open, 'reserved', c.reserved, 'in_doubt',
                c.in_doubt, 'consumed', c.consumed, 'voided', c.voided) from report_closings c
            where c.generation = p.generation and c.template = t.number
                and c.bucket < d.value ->> 'until'
            order by c.bucket desc limit 1) as closing from ",
    page!(),
    " t cross join json_each(?2) d order by 1, 2) s))",
    live_reports!(),
);

/// Who can be reached with a template; parameters: template, four moments as JSON, newest first. Ledgers and bindings are two
/// read models; the answer stands where the slower one does.
pub(crate) const REACH: &str = "select min(p.position, pb.position), json_object('bound_users', (select count(*)
    from bindings b where b.generation = pb.generation and b.subject is not null),
            'known', exists (select 1 from ledgers l where l.generation = p.generation
                and l.template = (select n.number from term n where n.text = ?2)),
            'bands', (select json_group_array(json_object('age', s.age, 'suspended', s.suspended, 'bound', s.bound,
                'users', s.users, 'openids', s.openids, 'grants', s.grants)) from (select x.age, x.suspended,
                x.users > 0 as bound, sum(x.users) as users, count(*) as openids, sum(x.balance) as grants from (
                select case when l.last_grant_at >= ?3 ->> 0 then 0
                when l.last_grant_at >= ?3 ->> 1 then 1
                when l.last_grant_at >= ?3 ->> 2 then 2
                when l.last_grant_at >= ?3 ->> 3 then 3 else 4 end as age,
                l.suspended_since is not null as suspended, l.balance,
                    (select count(*) from bindings b
                    where b.generation = pb.generation and b.subject = l.subject) as users
                from ledgers l
                where l.generation = p.generation and l.template = (select n.number from term n where n.text = ?2)
                and (l.balance > 0 or l.consented <> 0)) x
            group by 1, 2, 3 order by 1, 2, 3) s))
    from projection p join projection pb on pb.log = p.log and pb.name = 'bindings' and pb.purpose = 'live'
    where p.log = ?1 and p.name = 'ledgers' and p.purpose = 'live'";

/// What became of the recipients of a message, by where they were lost; parameter: message.
pub(crate) const LOSS: &str = "select p.position, json_object('message', json((select json_object('template',
    (select n.text from term n where n.number = m.template), 'targeted', m.targeted)
            from messages m where m.generation = p.generation and m.id = ?2)), 'groups',
                (select json_group_array(json_object('state', s.state, 'reason', s.reason, 'let_in', s.let_in,
                'handed_over', s.handed_over, 'confirmed', s.confirmed, 'deliveries', s.deliveries))
                from (select d.state, d.reason, (d.lot is not null or d.basis is not null) as let_in,
                d.attempts > 0 as handed_over,
                coalesce(d.sent_event_code = 0, 0) as confirmed, count(*) as deliveries
            from deliveries d
            where d.generation = p.generation and d.message = ?2
            group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5) s))
    from projection p where p.log = ?1 and p.name = 'messages' and p.purpose = 'live'";

/// Attempts begun since a bucket, by log; parameters: log or null for all, bucket.
pub(crate) const ATTEMPTS: &str = "select p.log, coalesce(sum(c.amount), 0)
    from projection p
        cross join report_templates t on t.generation = p.generation
        cross join report_counts c on c.generation = p.generation and c.template = t.template
            and c.bucket >= ?2 and c.measure = 'started'
    where p.name = 'ledgers' and p.purpose = 'live' and (?1 is null or p.log = ?1)
    group by p.log";
