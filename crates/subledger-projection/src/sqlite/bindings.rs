//! Statements of the projection `bindings` for SQLite.
//!
//! Rows cross as JSON. A question answers (position, JSON array of rows) in one statement: both are of one snapshot.
//! The tables are joined with `cross join` where SQLite must start from the list of keys.

use crate::table::TableSql;

macro_rules! binding {
    () => {
        "json_object(
            'user_ref', t.user_ref, 'subject', t.subject, 'bound_at', t.bound_at, 'moved_at', t.moved_at,
            'unbound_at', t.unbound_at)"
    };
}

/// The table `bindings`.
pub(crate) const BINDINGS: TableSql = TableSql {
    load: concat!(
        "select ",
        binding!(),
        " from json_each(?3) k cross join bindings t on t.log = ?1 and t.generation = ?2
            and t.user_ref = k.value ->> 'user_ref'"
    ),
    upsert: "insert into bindings (log, generation,
            user_ref, subject, bound_at, moved_at, unbound_at)
        select ?1, ?2,
            r.value ->> 'user_ref', r.value ->> 'subject', r.value ->> 'bound_at', r.value ->> 'moved_at',
            r.value ->> 'unbound_at'
        from json_each(?3) r where true
        on conflict (log, generation, user_ref) do update set
            subject = excluded.subject, bound_at = excluded.bound_at, moved_at = excluded.moved_at,
            unbound_at = excluded.unbound_at",
    scan: concat!(
        "select ",
        binding!(),
        " from bindings t where t.log = ?1 and t.generation = ?2 order by t.user_ref"
    ),
    drop: "delete from bindings where (log, generation, user_ref) in (
            select log, generation, user_ref from bindings where log = ?1 and generation = ?2 limit ?3)",
};

/// Bindings after a user; parameters: user, limit.
pub(crate) const PAGE: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    binding!(),
    " as r from bindings t
        where t.log = p.log and t.generation = p.generation
            and t.user_ref > ?2
        order by t.user_ref limit ?3) s)
    from projection p where p.log = ?1 and p.name = 'bindings' and p.purpose = 'live'"
);

/// One binding; parameter: user.
pub(crate) const ONE: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    binding!(),
    " as r from bindings t
        where t.log = p.log and t.generation = p.generation
            and t.user_ref = ?2
        order by t.user_ref) s)
    from projection p where p.log = ?1 and p.name = 'bindings' and p.purpose = 'live'"
);

/// Bindings to a subject; parameters: subject, limit.
pub(crate) const OF_SUBJECT: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    binding!(),
    " as r from bindings t
        where t.log = p.log and t.generation = p.generation
            and t.subject = ?2
        order by t.user_ref limit ?3) s)
    from projection p where p.log = ?1 and p.name = 'bindings' and p.purpose = 'live'"
);
