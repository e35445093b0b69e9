//! Statements of reports for PostgreSQL.
//!
//! A question answers (position, JSON) in one statement: both are of one snapshot. What reports count stands in rows of two
//! read models, those of ledgers and of messages; `apart` says that they did not stand at one position.

macro_rules! live_reports {
    () => {
        " from projection p join projection pm on pm.log = p.log and pm.name = 'messages' and pm.purpose = 'live'
        where p.log = $1 and p.name = 'ledgers' and p.purpose = 'live'"
    };
}

macro_rules! page {
    () => {
        "(select t.template as number, n.text as template
                from report_templates t join term n on n.number = t.template
                where t.generation in (p.generation, pm.generation) and n.text > $3 and ($5::text is null or n.text = $5)
                group by t.template, n.text order by n.text limit $4)"
    };
}

/// Counters of a page of templates; parameters: periods as JSON of (day, since, until), template to go on after, limit, then a
/// template or null.
pub(crate) const ACTIVITY: &str = concat!(
    "select least(p.position, pm.position), json_build_object('apart', p.position <> pm.position, 'templates', coalesce((select json_agg(s.template) from ",
    page!(),
    " s), '[]'), 'cells', coalesce((select json_agg(json_build_array(s.template, s.day, s.measure, s.class,
        s.amount)) from (
        select t.template, d.day as day, c.measure, c.class, sum(c.amount)::bigint as amount from ",
    page!(),
    " t cross join jsonb_to_recordset($2::jsonb) as d(day bigint, since bigint, until bigint)
            join report_counts c on c.generation in (p.generation, pm.generation) and c.template = t.number
                and c.bucket >= d.since and c.bucket < d.until
        group by 1, 2, 3, 4 order by 1, 2, 3, 4) s), '[]'))::text",
    live_reports!(),
);

/// The stock of a page of templates now and at the end of days; parameters as above, of which `until` counts.
pub(crate) const STOCK: &str = concat!(
    "select least(p.position, pm.position), json_build_object('apart', p.position <> pm.position, 'templates', coalesce((select json_agg(row_to_json(w)) from (
        select s.template, sum(t.granted)::bigint as granted, sum(t.open)::bigint as open,
            sum(t.reserved)::bigint as reserved, sum(t.in_doubt)::bigint as in_doubt,
            sum(t.consumed)::bigint as consumed, sum(t.voided)::bigint as voided, min(t.since) as since,
            max(t.changed_at) as changed_at from ",
    page!(),
    " s join report_templates t on t.generation in (p.generation, pm.generation) and t.template = s.number
        group by s.template order by s.template) w), '[]'), 'cells', coalesce((select json_agg(json_build_array(s.template, s.day, s.closing)) from (
        select t.template, d.day as day, (
            select json_build_object('granted', c.granted, 'open', c.open, 'reserved', c.reserved, 'in_doubt',
                c.in_doubt, 'consumed', c.consumed, 'voided', c.voided) from report_closings c
            where c.generation = p.generation and c.template = t.number
                and c.bucket < d.until
            order by c.bucket desc limit 1) as closing from ",
    page!(),
    " t cross join jsonb_to_recordset($2::jsonb) as d(day bigint, since bigint, until bigint) order by 1, 2) s),
        '[]'))::text",
    live_reports!(),
);

/// Who can be reached with a template; parameters: template, four moments as JSON, newest first. Ledgers and bindings are two
/// read models; the answer stands where the slower one does.
pub(crate) const REACH: &str = "select least(p.position, pb.position), jsonb_build_object('bound_users',
    (select count(*) from bindings b where b.generation = pb.generation and b.subject is not null),
            'known', exists (select 1 from ledgers l where l.generation = p.generation
                and l.template = (select n.number from term n where n.text = $2)),
            'bands', coalesce((select jsonb_agg(to_jsonb(s))
                from (select case when l.last_grant_at >= ($3::jsonb ->> 0)::bigint then 0
                when l.last_grant_at >= ($3::jsonb ->> 1)::bigint then 1
                when l.last_grant_at >= ($3::jsonb ->> 2)::bigint then 2
                when l.last_grant_at >= ($3::jsonb ->> 3)::bigint then 3 else 4 end as age,
                l.suspended_since is not null as suspended, b.users is not null as bound,
                coalesce(sum(b.users), 0)::bigint as users, count(*) as openids, coalesce(sum(l.balance),
                0)::bigint as grants
            from ledgers l left join (
                select subject, count(*) as users from bindings
                where generation = pb.generation and subject is not null group by subject) b
                on b.subject = l.subject
            where l.generation = p.generation and l.template = (select n.number from term n where n.text = $2) and (l.balance > 0 or l.consented <> 0)
            group by 1, 2, 3 order by 1, 2, 3) s), '[]'))::text
    from projection p join projection pb on pb.log = p.log and pb.name = 'bindings' and pb.purpose = 'live'
    where p.log = $1 and p.name = 'ledgers' and p.purpose = 'live'";

/// What became of the recipients of a message, by where they were lost; parameter: message.
pub(crate) const LOSS: &str = "select p.position, json_build_object('message',
    (select json_build_object('template', (select n.text from term n where n.number = m.template), 'targeted', m.targeted)
            from messages m where m.generation = p.generation and m.id = $2), 'groups',
                coalesce((select json_agg(row_to_json(s)) from (select d.state, d.reason,
                (d.lot is not null or d.basis is not null) as let_in, d.attempts > 0 as handed_over,
                coalesce(d.sent_event_code = 0, false) as confirmed, count(*) as deliveries
            from deliveries d
            where d.generation = p.generation and d.message = $2
            group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5) s), '[]'))::text
    from projection p where p.log = $1 and p.name = 'messages' and p.purpose = 'live'";

/// Attempts begun since a bucket, by log; parameters: log or null for all, bucket.
pub(crate) const ATTEMPTS: &str = "select p.log, coalesce(sum(c.amount), 0)::bigint
    from projection p
        join report_templates t on t.generation = p.generation
        join report_counts c on c.generation = p.generation and c.template = t.template
            and c.bucket >= $2 and c.measure = 'started'
    where p.name = 'ledgers' and p.purpose = 'live' and ($1::text is null or p.log = $1)
    group by p.log";
