//! Statements of the projection `channels` for PostgreSQL.
//!
//! Rows cross as JSON. A question answers (position, JSON array of rows) in one statement: both are of one snapshot.

use crate::table::TableSql;

/// The table `channels`.
pub(crate) const CHANNELS: TableSql = TableSql {
    load: "select row_to_json(t)::text
        from jsonb_to_recordset($3::jsonb) as k(code text)
        join channels t on t.log = $1 and t.generation = $2
            and t.code = k.code",
    upsert: "insert into channels (log, generation,
            code, appid, name, token_mode, policy, paused_at, pause_reason, secret_replaced_at,
            registered_at, templates_refreshed_at, templates_listed, templates_vanished)
        select $1, $2,
            r.code, r.appid, r.name, r.token_mode, r.policy, r.paused_at, r.pause_reason,
            r.secret_replaced_at, r.registered_at, r.templates_refreshed_at, r.templates_listed,
            r.templates_vanished
        from jsonb_to_recordset($3::jsonb) as r(
            code text, appid text, name text, token_mode text, policy jsonb, paused_at bigint,
            pause_reason text, secret_replaced_at bigint, registered_at bigint,
            templates_refreshed_at bigint, templates_listed bigint, templates_vanished bigint)
        on conflict (log, generation, code) do update set
            appid = excluded.appid, name = excluded.name, token_mode = excluded.token_mode,
            policy = excluded.policy, paused_at = excluded.paused_at,
            pause_reason = excluded.pause_reason, secret_replaced_at = excluded.secret_replaced_at,
            registered_at = excluded.registered_at,
            templates_refreshed_at = excluded.templates_refreshed_at,
            templates_listed = excluded.templates_listed, templates_vanished = excluded.templates_vanished",
    scan: "select row_to_json(t)::text from channels t
        where t.log = $1 and t.generation = $2 order by t.code",
    drop: "delete from channels where ctid = any (array(
            select ctid from channels where log = $1 and generation = $2 limit $3))",
};

/// The table `templates`.
pub(crate) const TEMPLATES: TableSql = TableSql {
    load: "select row_to_json(t)::text
        from jsonb_to_recordset($3::jsonb) as k(id text)
        join templates t on t.log = $1 and t.generation = $2
            and t.id = k.id",
    upsert: "insert into templates (log, generation,
            id, title, content, example, kind, keys, listed, first_seen_at, changed_at, vanished_at)
        select $1, $2,
            r.id, r.title, r.content, r.example, r.kind, r.keys, r.listed, r.first_seen_at, r.changed_at,
            r.vanished_at
        from jsonb_to_recordset($3::jsonb) as r(
            id text, title text, content text, example text, kind text, keys jsonb, listed boolean,
            first_seen_at bigint, changed_at bigint, vanished_at bigint)
        on conflict (log, generation, id) do update set
            title = excluded.title, content = excluded.content, example = excluded.example,
            kind = excluded.kind, keys = excluded.keys, listed = excluded.listed,
            first_seen_at = excluded.first_seen_at, changed_at = excluded.changed_at,
            vanished_at = excluded.vanished_at",
    scan: "select row_to_json(t)::text from templates t
        where t.log = $1 and t.generation = $2 order by t.id",
    drop: "delete from templates where ctid = any (array(
            select ctid from templates where log = $1 and generation = $2 limit $3))",
};

/// Every channel, each with its own position.
pub(crate) const ALL: &str = "select p.position, row_to_json(t)::text
    from projection p join channels t on t.log = p.log and t.generation = p.generation
    where p.name = 'channels' and p.purpose = 'live' order by t.code";

/// The channel of a log.
pub(crate) const ONE: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from channels t
        where t.log = p.log and t.generation = p.generation
        order by t.code) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'channels' and p.purpose = 'live'";

/// Every template of a log.
pub(crate) const ALL_TEMPLATES: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from templates t
        where t.log = p.log and t.generation = p.generation
        order by t.id) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'channels' and p.purpose = 'live'";

/// One template; parameter: id.
pub(crate) const TEMPLATE: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from templates t
        where t.log = p.log and t.generation = p.generation
            and t.id = $2
        order by t.id) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'channels' and p.purpose = 'live'";
