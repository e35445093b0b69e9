//! Statements of the projection `reports` for SQLite.
//!
//! Rows cross as JSON. A question answers (position, JSON) in one statement: both are of one snapshot.
//! The tables are joined with `cross join` where SQLite must start from the list of keys.

use crate::table::TableSql;

macro_rules! book {
    () => {
        "json_object(
            'subject', t.subject, 'template', t.template, 'state', json(t.state))"
    };
}

/// The table `report_books`.
pub(crate) const BOOKS: TableSql = TableSql {
    load: concat!(
        "select ",
        book!(),
        " from json_each(?3) k cross join report_books t on t.log = ?1 and t.generation = ?2
            and t.subject = k.value ->> 'subject' and t.template = k.value ->> 'template'"
    ),
    upsert: "insert into report_books (log, generation,
            subject, template, state)
        select ?1, ?2,
            r.value ->> 'subject', r.value ->> 'template', r.value -> 'state'
        from json_each(?3) r where true
        on conflict (log, generation, subject, template) do update set
            state = excluded.state",
    scan: concat!(
        "select ",
        book!(),
        " from report_books t where t.log = ?1 and t.generation = ?2 order by t.subject, t.template"
    ),
    drop: "delete from report_books where (log, generation, subject, template) in (
            select log, generation, subject, template from report_books
            where log = ?1 and generation = ?2 limit ?3)",
};

macro_rules! send {
    () => {
        "json_object(
            'id', t.id, 'template', t.template)"
    };
}

/// The table `report_sends`.
pub(crate) const SENDS: TableSql = TableSql {
    load: concat!(
        "select ",
        send!(),
        " from json_each(?3) k cross join report_sends t on t.log = ?1 and t.generation = ?2
            and t.id = k.value ->> 'id'"
    ),
    upsert: "insert into report_sends (log, generation,
            id, template)
        select ?1, ?2,
            r.value ->> 'id', r.value ->> 'template'
        from json_each(?3) r where true
        on conflict (log, generation, id) do update set
            template = excluded.template",
    scan: concat!(
        "select ",
        send!(),
        " from report_sends t where t.log = ?1 and t.generation = ?2 order by t.id"
    ),
    drop: "delete from report_sends where (log, generation, id) in (
            select log, generation, id from report_sends
            where log = ?1 and generation = ?2 limit ?3)",
};

macro_rules! template {
    () => {
        "json_object(
            'template', t.template, 'granted', t.granted, 'open', t.open, 'reserved', t.reserved,
            'in_doubt', t.in_doubt, 'consumed', t.consumed, 'voided', t.voided, 'since', t.since,
            'changed_at', t.changed_at)"
    };
}

/// The table `report_templates`.
pub(crate) const TEMPLATES: TableSql = TableSql {
    load: concat!(
        "select ",
        template!(),
        " from json_each(?3) k cross join report_templates t on t.log = ?1 and t.generation = ?2
            and t.template = k.value ->> 'template'"
    ),
    upsert: "insert into report_templates (log, generation,
            template, granted, open, reserved, in_doubt, consumed, voided, since, changed_at)
        select ?1, ?2,
            r.value ->> 'template', r.value ->> 'granted', r.value ->> 'open', r.value ->> 'reserved',
            r.value ->> 'in_doubt', r.value ->> 'consumed', r.value ->> 'voided', r.value ->> 'since',
            r.value ->> 'changed_at'
        from json_each(?3) r where true
        on conflict (log, generation, template) do update set
            granted = excluded.granted, open = excluded.open, reserved = excluded.reserved,
            in_doubt = excluded.in_doubt, consumed = excluded.consumed, voided = excluded.voided,
            since = excluded.since, changed_at = excluded.changed_at",
    scan: concat!(
        "select ",
        template!(),
        " from report_templates t where t.log = ?1 and t.generation = ?2 order by t.template"
    ),
    drop: "delete from report_templates where (log, generation, template) in (
            select log, generation, template from report_templates
            where log = ?1 and generation = ?2 limit ?3)",
};

macro_rules! closing {
    () => {
        "json_object(
            'template', t.template, 'bucket', t.bucket, 'granted', t.granted, 'open', t.open,
            'reserved', t.reserved, 'in_doubt', t.in_doubt, 'consumed', t.consumed, 'voided', t.voided)"
    };
}

/// The table `report_closings`.
pub(crate) const CLOSINGS: TableSql = TableSql {
    load: concat!(
        "select ",
        closing!(),
        " from json_each(?3) k cross join report_closings t on t.log = ?1 and t.generation = ?2
            and t.template = k.value ->> 'template' and t.bucket = k.value ->> 'bucket'"
    ),
    upsert: "insert into report_closings (log, generation,
            template, bucket, granted, open, reserved, in_doubt, consumed, voided)
        select ?1, ?2,
            r.value ->> 'template', r.value ->> 'bucket', r.value ->> 'granted', r.value ->> 'open',
            r.value ->> 'reserved', r.value ->> 'in_doubt', r.value ->> 'consumed', r.value ->> 'voided'
        from json_each(?3) r where true
        on conflict (log, generation, template, bucket) do update set
            granted = excluded.granted, open = excluded.open, reserved = excluded.reserved,
            in_doubt = excluded.in_doubt, consumed = excluded.consumed, voided = excluded.voided",
    scan: concat!(
        "select ",
        closing!(),
        " from report_closings t where t.log = ?1 and t.generation = ?2 order by t.template, t.bucket"
    ),
    drop: "delete from report_closings where (log, generation, template, bucket) in (
            select log, generation, template, bucket from report_closings
            where log = ?1 and generation = ?2 limit ?3)",
};

macro_rules! count {
    () => {
        "json_object(
            'template', t.template, 'bucket', t.bucket, 'measure', t.measure, 'class', t.class,
            'amount', t.amount)"
    };
}

/// The table `report_counts`.
pub(crate) const COUNTS: TableSql = TableSql {
    load: concat!(
        "select ",
        count!(),
        " from json_each(?3) k cross join report_counts t on t.log = ?1 and t.generation = ?2
            and t.template = k.value ->> 'template' and t.bucket = k.value ->> 'bucket'
                and t.measure = k.value ->> 'measure' and t.class = k.value ->> 'class'"
    ),
    upsert: "insert into report_counts (log, generation,
            template, bucket, measure, class, amount)
        select ?1, ?2,
            r.value ->> 'template', r.value ->> 'bucket', r.value ->> 'measure', r.value ->> 'class',
            r.value ->> 'amount'
        from json_each(?3) r where true
        on conflict (log, generation, template, bucket, measure, class) do update set
            amount = excluded.amount",
    scan: concat!(
        "select ",
        count!(),
        " from report_counts t where t.log = ?1 and t.generation = ?2 order by t.template, t.bucket, t.measure,
            t.class"
    ),
    drop: "delete from report_counts where (log, generation, template, bucket, measure, class) in (
            select log, generation, template, bucket, measure, class from report_counts
            where log = ?1 and generation = ?2 limit ?3)",
};

macro_rules! live_reports {
    () => {
        " from projection p where p.log = ?1 and p.name = 'reports' and p.purpose = 'live'"
    };
}

macro_rules! page {
    () => {
        "(select t.template from report_templates t
                where t.log = p.log and t.generation = p.generation and t.template > ?3
                    and (?5 is null or t.template = ?5)
                order by t.template limit ?4)"
    };
}

/// Counters of a page of templates; parameters: periods as JSON of (day, since, until), template to go on after, limit, then a
/// template or null. Each period is summed by itself, so that no sort is larger than a period; periods are read once, or
/// every row would parse their JSON again.
pub(crate) const ACTIVITY: &str = concat!(
    "select p.position, json_object('templates', (select json_group_array(s.template) from ",
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
                    where c.log = p.log and c.generation = p.generation and c.template = t.template
                        and c.bucket >= d.since and c.bucket < d.until
                    group by c.measure, c.class) y)) x
        order by 1, 2, 3, 4) s))",
    live_reports!(),
);

/// The stock of a page of templates now and at the end of days; parameters as above, of which `until` counts.
pub(crate) const STOCK: &str = concat!(
    "select p.position, json_object('templates', (select json_group_array(",
    template!(),
    ") from ",
    "report_templates t where t.log = p.log and t.generation = p.generation and t.template in ",
    page!(),
    "), 'cells', (select json_group_array(json_array(s.template, s.day, json(s.closing))) from (
        select t.template, d.value ->> 'day' as day, (
            select json_object('granted', c.granted, 'open', c.open, 'reserved', c.reserved, 'in_doubt',
                c.in_doubt, 'consumed', c.consumed, 'voided', c.voided) from report_closings c
            where c.log = p.log and c.generation = p.generation and c.template = t.template
                and c.bucket < d.value ->> 'until'
            order by c.bucket desc limit 1) as closing from ",
    page!(),
    " t cross join json_each(?2) d order by 1, 2) s))",
    live_reports!(),
);

/// Who can be reached with a template; parameters: template, four moments as JSON, newest first. Ledgers and bindings are two
/// read models; the answer stands where the slower one does.
pub(crate) const REACH: &str = "select min(p.position, pb.position), json_object('bound_users', (select count(*)
    from bindings b where b.log = p.log and b.generation = pb.generation and b.subject is not null),
            'known', exists (select 1 from ledgers l where l.log = p.log and l.generation = p.generation
                and l.template = ?2),
            'bands', (select json_group_array(json_object('age', s.age, 'suspended', s.suspended, 'bound', s.bound,
                'users', s.users, 'openids', s.openids, 'grants', s.grants)) from (select x.age, x.suspended,
                x.users > 0 as bound, sum(x.users) as users, count(*) as openids, sum(x.balance) as grants from (
                select case when l.last_grant_at >= ?3 ->> 0 then 0
                when l.last_grant_at >= ?3 ->> 1 then 1
                when l.last_grant_at >= ?3 ->> 2 then 2
                when l.last_grant_at >= ?3 ->> 3 then 3 else 4 end as age,
                l.suspended_since is not null as suspended, l.balance,
                    (select count(*) from bindings b
                    where b.log = p.log and b.generation = pb.generation and b.subject = l.subject) as users
                from ledgers l
                where l.log = p.log and l.generation = p.generation and l.template = ?2
                and (l.balance > 0 or l.consented)) x
            group by 1, 2, 3 order by 1, 2, 3) s))
    from projection p join projection pb on pb.log = p.log and pb.name = 'bindings' and pb.purpose = 'live'
    where p.log = ?1 and p.name = 'ledgers' and p.purpose = 'live'";

/// What became of the recipients of a message, by where they were lost; parameter: message.
pub(crate) const LOSS: &str = "select p.position, json_object('message', json((select json_object('template',
    m.template, 'targeted', m.targeted)
            from messages m where m.log = p.log and m.generation = p.generation and m.id = ?2)), 'groups',
                (select json_group_array(json_object('state', s.state, 'reason', s.reason, 'let_in', s.let_in,
                'handed_over', s.handed_over, 'confirmed', s.confirmed, 'deliveries', s.deliveries))
                from (select d.state, d.reason, (d.lot is not null or d.basis is not null) as let_in,
                d.attempts > 0 as handed_over,
                coalesce(d.settled_by = 'wechat_push', 0) as confirmed, count(*) as deliveries
            from deliveries d
            where d.log = p.log and d.generation = p.generation and d.message = ?2
            group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5) s))
    from projection p where p.log = ?1 and p.name = 'messages' and p.purpose = 'live'";
