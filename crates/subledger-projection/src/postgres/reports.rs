//! Statements of the projection `reports` for PostgreSQL.
//!
//! Rows cross as JSON. A question answers (position, JSON) in one statement: both are of one snapshot.

use crate::table::TableSql;

/// The table `report_books`.
pub(crate) const BOOKS: TableSql = TableSql {
    load: "select row_to_json(t)::text
        from jsonb_to_recordset($3::jsonb) as k(subject text, template text)
        join report_books t on t.log = $1 and t.generation = $2
            and t.subject = k.subject and t.template = k.template",
    upsert: "insert into report_books (log, generation,
            subject, template, state)
        select $1, $2,
            r.subject, r.template, r.state
        from jsonb_to_recordset($3::jsonb) as r(
            subject text, template text, state jsonb)
        on conflict (log, generation, subject, template) do update set
            state = excluded.state",
    scan: "select row_to_json(t)::text from report_books t
        where t.log = $1 and t.generation = $2 order by t.subject, t.template",
    drop: "delete from report_books where ctid = any (array(
            select ctid from report_books where log = $1 and generation = $2 limit $3))",
};

/// The table `report_sends`.
pub(crate) const SENDS: TableSql = TableSql {
    load: "select row_to_json(t)::text
        from jsonb_to_recordset($3::jsonb) as k(id text)
        join report_sends t on t.log = $1 and t.generation = $2
            and t.id = k.id",
    upsert: "insert into report_sends (log, generation,
            id, template)
        select $1, $2,
            r.id, r.template
        from jsonb_to_recordset($3::jsonb) as r(
            id text, template text)
        on conflict (log, generation, id) do update set
            template = excluded.template",
    scan: "select row_to_json(t)::text from report_sends t
        where t.log = $1 and t.generation = $2 order by t.id",
    drop: "delete from report_sends where ctid = any (array(
            select ctid from report_sends where log = $1 and generation = $2 limit $3))",
};

/// The table `report_templates`.
pub(crate) const TEMPLATES: TableSql = TableSql {
    load: "select row_to_json(t)::text
        from jsonb_to_recordset($3::jsonb) as k(template text)
        join report_templates t on t.log = $1 and t.generation = $2
            and t.template = k.template",
    upsert: "insert into report_templates (log, generation,
            template, granted, open, reserved, in_doubt, consumed, voided, since, changed_at)
        select $1, $2,
            r.template, r.granted, r.open, r.reserved, r.in_doubt, r.consumed, r.voided, r.since, r.changed_at
        from jsonb_to_recordset($3::jsonb) as r(
            template text, granted bigint, open bigint, reserved bigint, in_doubt bigint, consumed bigint,
            voided bigint, since bigint, changed_at bigint)
        on conflict (log, generation, template) do update set
            granted = excluded.granted, open = excluded.open, reserved = excluded.reserved,
            in_doubt = excluded.in_doubt, consumed = excluded.consumed, voided = excluded.voided,
            since = excluded.since, changed_at = excluded.changed_at",
    scan: "select row_to_json(t)::text from report_templates t
        where t.log = $1 and t.generation = $2 order by t.template",
    drop: "delete from report_templates where ctid = any (array(
            select ctid from report_templates where log = $1 and generation = $2 limit $3))",
};

/// The table `report_closings`.
pub(crate) const CLOSINGS: TableSql = TableSql {
    load: "select row_to_json(t)::text
        from jsonb_to_recordset($3::jsonb) as k(template text, bucket bigint)
        join report_closings t on t.log = $1 and t.generation = $2
            and t.template = k.template and t.bucket = k.bucket",
    upsert: "insert into report_closings (log, generation,
            template, bucket, granted, open, reserved, in_doubt, consumed, voided)
        select $1, $2,
            r.template, r.bucket, r.granted, r.open, r.reserved, r.in_doubt, r.consumed, r.voided
        from jsonb_to_recordset($3::jsonb) as r(
            template text, bucket bigint, granted bigint, open bigint, reserved bigint, in_doubt bigint,
            consumed bigint, voided bigint)
        on conflict (log, generation, template, bucket) do update set
            granted = excluded.granted, open = excluded.open, reserved = excluded.reserved,
            in_doubt = excluded.in_doubt, consumed = excluded.consumed, voided = excluded.voided",
    scan: "select row_to_json(t)::text from report_closings t
        where t.log = $1 and t.generation = $2 order by t.template, t.bucket",
    drop: "delete from report_closings where ctid = any (array(
            select ctid from report_closings where log = $1 and generation = $2 limit $3))",
};

/// The table `report_counts`.
pub(crate) const COUNTS: TableSql = TableSql {
    load: "select row_to_json(t)::text
        from jsonb_to_recordset($3::jsonb) as k(template text, bucket bigint, measure text, class text)
        join report_counts t on t.log = $1 and t.generation = $2
            and t.template = k.template and t.bucket = k.bucket and t.measure = k.measure and t.class = k.class",
    upsert: "insert into report_counts (log, generation,
            template, bucket, measure, class, amount)
        select $1, $2,
            r.template, r.bucket, r.measure, r.class, r.amount
        from jsonb_to_recordset($3::jsonb) as r(
            template text, bucket bigint, measure text, class text, amount bigint)
        on conflict (log, generation, template, bucket, measure, class) do update set
            amount = excluded.amount",
    scan: "select row_to_json(t)::text from report_counts t
        where t.log = $1 and t.generation = $2 order by t.template, t.bucket, t.measure, t.class",
    drop: "delete from report_counts where ctid = any (array(
            select ctid from report_counts where log = $1 and generation = $2 limit $3))",
};

macro_rules! live_reports {
    () => {
        " from projection p where p.log = $1 and p.name = 'reports' and p.purpose = 'live'"
    };
}

macro_rules! page {
    () => {
        "(select t.template from report_templates t
                where t.log = p.log and t.generation = p.generation and t.template > $3
                    and ($5::text is null or t.template = $5)
                order by t.template limit $4)"
    };
}

/// Counters of a page of templates; parameters: periods as JSON of (day, since, until), template to go on after, limit, then a
/// template or null.
pub(crate) const ACTIVITY: &str = concat!(
    "select p.position, json_build_object('templates', coalesce((select json_agg(s.template) from ",
    page!(),
    " s), '[]'), 'cells', coalesce((select json_agg(json_build_array(s.template, s.day, s.measure, s.class,
        s.amount)) from (
        select t.template, d.day as day, c.measure, c.class, sum(c.amount)::bigint as amount from ",
    page!(),
    " t cross join jsonb_to_recordset($2::jsonb) as d(day bigint, since bigint, until bigint)
            join report_counts c on c.log = p.log and c.generation = p.generation and c.template = t.template
                and c.bucket >= d.since and c.bucket < d.until
        group by 1, 2, 3, 4 order by 1, 2, 3, 4) s), '[]'))::text",
    live_reports!(),
);

/// The stock of a page of templates now and at the end of days; parameters as above, of which `until` counts.
pub(crate) const STOCK: &str = concat!(
    "select p.position, json_build_object('templates', coalesce((select json_agg(row_to_json(t)) from ",
    "report_templates t where t.log = p.log and t.generation = p.generation and t.template in ",
    page!(),
    "), '[]'), 'cells', coalesce((select json_agg(json_build_array(s.template, s.day, s.closing)) from (
        select t.template, d.day as day, (
            select json_build_object('granted', c.granted, 'open', c.open, 'reserved', c.reserved, 'in_doubt',
                c.in_doubt, 'consumed', c.consumed, 'voided', c.voided) from report_closings c
            where c.log = p.log and c.generation = p.generation and c.template = t.template
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
    (select count(*) from bindings b where b.log = p.log and b.generation = pb.generation and b.subject is not null),
            'known', exists (select 1 from ledgers l where l.log = p.log and l.generation = p.generation
                and l.template = $2),
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
                where log = p.log and generation = pb.generation and subject is not null group by subject) b
                on b.subject = l.subject
            where l.log = p.log and l.generation = p.generation and l.template = $2 and (l.balance > 0 or l.consented)
            group by 1, 2, 3 order by 1, 2, 3) s), '[]'))::text
    from projection p join projection pb on pb.log = p.log and pb.name = 'bindings' and pb.purpose = 'live'
    where p.log = $1 and p.name = 'ledgers' and p.purpose = 'live'";

/// What became of the recipients of a message, by where they were lost; parameter: message.
pub(crate) const LOSS: &str = "select p.position, json_build_object('message',
    (select json_build_object('template', m.template, 'targeted', m.targeted)
            from messages m where m.log = p.log and m.generation = p.generation and m.id = $2), 'groups',
                coalesce((select json_agg(row_to_json(s)) from (select d.state, d.reason,
                (d.lot is not null or d.basis is not null) as let_in, d.attempts > 0 as handed_over,
                coalesce(d.settled_by = 'wechat_push', false) as confirmed, count(*) as deliveries
            from deliveries d
            where d.log = p.log and d.generation = p.generation and d.message = $2
            group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5) s), '[]'))::text
    from projection p where p.log = $1 and p.name = 'messages' and p.purpose = 'live'";
