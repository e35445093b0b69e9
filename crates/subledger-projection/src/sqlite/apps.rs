//! Statements of the projection `apps` for SQLite.
//!
//! Rows cross as JSON. A question answers (position, JSON array of rows) in one statement: both are of one snapshot.
//! The tables are joined with `cross join` where SQLite must start from the list of keys.

use crate::table::TableSql;

macro_rules! app {
    () => {
        "json_object(
            'id', t.id, 'name', t.name, 'rights', json(t.rights), 'channels', json(t.channels),
            'created_at', t.created_at)"
    };
}

/// The table `apps`.
pub(crate) const APPS: TableSql = TableSql {
    load: concat!(
        "select ",
        app!(),
        " from json_each(?3) k cross join apps t on t.log = ?1 and t.generation = ?2
            and t.id = k.value ->> 'id'"
    ),
    upsert: "insert into apps (log, generation,
            id, name, rights, channels, created_at)
        select ?1, ?2,
            r.value ->> 'id', r.value ->> 'name', nullif(r.value -> 'rights', 'null'),
            nullif(r.value -> 'channels', 'null'), r.value ->> 'created_at'
        from json_each(?3) r where true
        on conflict (log, generation, id) do update set
            name = excluded.name, rights = excluded.rights, channels = excluded.channels,
            created_at = excluded.created_at",
    scan: concat!("select ", app!(), " from apps t where t.log = ?1 and t.generation = ?2 order by t.id"),
    drop: "delete from apps where (log, generation, id) in (
            select log, generation, id from apps where log = ?1 and generation = ?2 limit ?3)",
};

macro_rules! app_key {
    () => {
        "json_object(
            'app', t.app, 'key', t.key, 'hash', t.hash, 'added_at', t.added_at, 'revoked_at', t.revoked_at)"
    };
}

/// The table `app_keys`.
pub(crate) const APP_KEYS: TableSql = TableSql {
    load: concat!(
        "select ",
        app_key!(),
        " from json_each(?3) k cross join app_keys t on t.log = ?1 and t.generation = ?2
            and t.app = k.value ->> 'app' and t.key = k.value ->> 'key'"
    ),
    upsert: "insert into app_keys (log, generation,
            app, key, hash, added_at, revoked_at)
        select ?1, ?2,
            r.value ->> 'app', r.value ->> 'key', r.value ->> 'hash', r.value ->> 'added_at',
            r.value ->> 'revoked_at'
        from json_each(?3) r where true
        on conflict (log, generation, app, key) do update set
            hash = excluded.hash, added_at = excluded.added_at, revoked_at = excluded.revoked_at",
    scan: concat!(
        "select ",
        app_key!(),
        " from app_keys t where t.log = ?1 and t.generation = ?2 order by t.app, t.key"
    ),
    drop: "delete from app_keys where (log, generation, app, key) in (
            select log, generation, app, key from app_keys where log = ?1 and generation = ?2 limit ?3)",
};

/// One app; parameter: id.
pub(crate) const ONE: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    app!(),
    " as r from apps t
        where t.log = p.log and t.generation = p.generation
            and t.id = ?2
        order by t.id) s)
    from projection p where p.log = ?1 and p.name = 'apps' and p.purpose = 'live'"
);

/// Apps after an id; parameters: id, limit.
pub(crate) const PAGE: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    app!(),
    " as r from apps t
        where t.log = p.log and t.generation = p.generation
            and t.id > ?2
        order by t.id limit ?3) s)
    from projection p where p.log = ?1 and p.name = 'apps' and p.purpose = 'live'"
);

/// Keys of an app, newest first; parameters: id, limit.
pub(crate) const KEYS: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    app_key!(),
    " as r from app_keys t
        where t.log = p.log and t.generation = p.generation
            and t.app = ?2
        order by t.added_at desc, t.key limit ?3) s)
    from projection p where p.log = ?1 and p.name = 'apps' and p.purpose = 'live'"
);

/// The live key with a public part, and its app; parameter: the public part.
pub(crate) const KEY: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (
        select json_object('key', json(k.body), 'app', json((select ",
    app!(),
    " from apps t where t.log = p.log and t.generation = p.generation and t.id = k.owner))) as r
        from (select t.app as owner, ",
    app_key!(),
    " as body from app_keys t
            where t.log = p.log and t.generation = p.generation and t.key = ?2 and t.revoked_at is null
            order by t.added_at, t.app limit 1) k) s)
    from projection p where p.log = ?1 and p.name = 'apps' and p.purpose = 'live'"
);
