//! Statements of the projection `bindings` for PostgreSQL.
//!
//! Rows cross as JSON. A question answers (position, JSON array of rows) in one statement: both are of one snapshot.

use crate::table::TableSql;

/// The table `bindings`.
pub(crate) const BINDINGS: TableSql = TableSql {
    load: "select row_to_json(t)::text
        from jsonb_to_recordset($3::jsonb) as k(user_ref text)
        join bindings t on t.log = $1 and t.generation = $2
            and t.user_ref = k.user_ref",
    upsert: "insert into bindings (log, generation,
            user_ref, subject, bound_at, moved_at, unbound_at)
        select $1, $2,
            r.user_ref, r.subject, r.bound_at, r.moved_at, r.unbound_at
        from jsonb_to_recordset($3::jsonb) as r(
            user_ref text, subject text, bound_at bigint, moved_at bigint, unbound_at bigint)
        on conflict (log, generation, user_ref) do update set
            subject = excluded.subject, bound_at = excluded.bound_at, moved_at = excluded.moved_at,
            unbound_at = excluded.unbound_at",
    scan: "select row_to_json(t)::text from bindings t
        where t.log = $1 and t.generation = $2 order by t.user_ref",
    drop: "delete from bindings where ctid = any (array(
            select ctid from bindings where log = $1 and generation = $2 limit $3))",
};

/// Bindings after a user; parameters: user, limit.
pub(crate) const PAGE: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from bindings t
        where t.log = p.log and t.generation = p.generation
            and t.user_ref > $2
        order by t.user_ref limit $3) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'bindings' and p.purpose = 'live'";

/// One binding; parameter: user.
pub(crate) const ONE: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from bindings t
        where t.log = p.log and t.generation = p.generation
            and t.user_ref = $2
        order by t.user_ref) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'bindings' and p.purpose = 'live'";

/// Bindings to a subject; parameters: subject, limit.
pub(crate) const OF_SUBJECT: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from bindings t
        where t.log = p.log and t.generation = p.generation
            and t.subject = $2
        order by t.user_ref limit $3) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'bindings' and p.purpose = 'live'";
