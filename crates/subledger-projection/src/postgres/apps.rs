//! Statements of the projection `apps` for PostgreSQL.
//!
//! Rows cross as JSON. A question answers (position, JSON array of rows) in one statement: both are of one snapshot.

use crate::table::TableSql;

/// The table `apps`.
pub(crate) const APPS: TableSql = TableSql {
    load: "select row_to_json(t)::text
        from jsonb_to_recordset($3::jsonb) as k(id text)
        join apps t on t.log = $1 and t.generation = $2
            and t.id = k.id",
    upsert: "insert into apps (log, generation,
            id, name, rights, channels, created_at)
        select $1, $2,
            r.id, r.name, r.rights, r.channels, r.created_at
        from jsonb_to_recordset($3::jsonb) as r(
            id text, name text, rights jsonb, channels jsonb, created_at bigint)
        on conflict (log, generation, id) do update set
            name = excluded.name, rights = excluded.rights, channels = excluded.channels,
            created_at = excluded.created_at",
    scan: "select row_to_json(t)::text from apps t
        where t.log = $1 and t.generation = $2 order by t.id",
    drop: "delete from apps where ctid = any (array(
            select ctid from apps where log = $1 and generation = $2 limit $3))",
};

/// The table `app_keys`.
pub(crate) const APP_KEYS: TableSql = TableSql {
    load: "select row_to_json(t)::text
        from jsonb_to_recordset($3::jsonb) as k(app text, key text)
        join app_keys t on t.log = $1 and t.generation = $2
            and t.app = k.app and t.key = k.key",
    upsert: "insert into app_keys (log, generation,
            app, key, hash, added_at, revoked_at)
        select $1, $2,
            r.app, r.key, r.hash, r.added_at, r.revoked_at
        from jsonb_to_recordset($3::jsonb) as r(
            app text, key text, hash text, added_at bigint, revoked_at bigint)
        on conflict (log, generation, app, key) do update set
            hash = excluded.hash, added_at = excluded.added_at, revoked_at = excluded.revoked_at",
    scan: "select row_to_json(t)::text from app_keys t
        where t.log = $1 and t.generation = $2 order by t.app, t.key",
    drop: "delete from app_keys where ctid = any (array(
            select ctid from app_keys where log = $1 and generation = $2 limit $3))",
};

/// One app; parameter: id.
pub(crate) const ONE: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from apps t
        where t.log = p.log and t.generation = p.generation
            and t.id = $2
        order by t.id) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'apps' and p.purpose = 'live'";

/// Apps after an id; parameters: id, limit.
pub(crate) const PAGE: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from apps t
        where t.log = p.log and t.generation = p.generation
            and t.id > $2
        order by t.id limit $3) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'apps' and p.purpose = 'live'";

/// Keys of an app, newest first; parameters: id, limit.
pub(crate) const KEYS: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from app_keys t
        where t.log = p.log and t.generation = p.generation
            and t.app = $2
        order by t.added_at desc, t.key limit $3) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'apps' and p.purpose = 'live'";

/// The live key with a public part, and its app; parameter: the public part.
pub(crate) const KEY: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select json_build_object('key', row_to_json(k), 'app', row_to_json(t)) as r
        from app_keys k join apps t on t.log = k.log and t.generation = k.generation and t.id = k.app
        where k.log = p.log and k.generation = p.generation and k.key = $2 and k.revoked_at is null
        order by k.added_at, k.app limit 1) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'apps' and p.purpose = 'live'";
