//! Statements of the projection `channels` for SQLite.
//!
//! Rows cross as JSON. A question answers (position, JSON array of rows) in one statement: both are of one snapshot.
//! The tables are joined with `cross join` where SQLite must start from the list of keys.

use crate::table::TableSql;

macro_rules! channel {
    () => {
        "json_object(
            'code', t.code, 'appid', t.appid, 'name', t.name, 'token_mode', t.token_mode,
            'policy', json(t.policy), 'paused_at', t.paused_at, 'pause_reason', t.pause_reason,
            'secret_replaced_at', t.secret_replaced_at, 'registered_at', t.registered_at,
            'templates_refreshed_at', t.templates_refreshed_at, 'templates_listed', t.templates_listed,
            'templates_vanished', t.templates_vanished)"
    };
}

/// The table `channels`.
pub(crate) const CHANNELS: TableSql = TableSql {
    load: concat!(
        "select ",
        channel!(),
        " from json_each(?3) k cross join channels t on t.log = ?1 and t.generation = ?2
            and t.code = k.value ->> 'code'"
    ),
    upsert: "insert into channels (log, generation,
            code, appid, name, token_mode, policy, paused_at, pause_reason, secret_replaced_at,
            registered_at, templates_refreshed_at, templates_listed, templates_vanished)
        select ?1, ?2,
            r.value ->> 'code', r.value ->> 'appid', r.value ->> 'name', r.value ->> 'token_mode',
            nullif(r.value -> 'policy', 'null'), r.value ->> 'paused_at', r.value ->> 'pause_reason',
            r.value ->> 'secret_replaced_at', r.value ->> 'registered_at',
            r.value ->> 'templates_refreshed_at', r.value ->> 'templates_listed',
            r.value ->> 'templates_vanished'
        from json_each(?3) r where true
        on conflict (log, generation, code) do update set
            appid = excluded.appid, name = excluded.name, token_mode = excluded.token_mode,
            policy = excluded.policy, paused_at = excluded.paused_at,
            pause_reason = excluded.pause_reason, secret_replaced_at = excluded.secret_replaced_at,
            registered_at = excluded.registered_at,
            templates_refreshed_at = excluded.templates_refreshed_at,
            templates_listed = excluded.templates_listed, templates_vanished = excluded.templates_vanished",
    scan: concat!(
        "select ",
        channel!(),
        " from channels t where t.log = ?1 and t.generation = ?2 order by t.code"
    ),
    drop: "delete from channels where (log, generation, code) in (
            select log, generation, code from channels where log = ?1 and generation = ?2 limit ?3)",
};

macro_rules! template {
    () => {
        "json_object(
            'id', t.id, 'title', t.title, 'content', t.content, 'example', t.example, 'kind', t.kind,
            'keys', json(t.keys), 'listed', t.listed, 'first_seen_at', t.first_seen_at,
            'changed_at', t.changed_at, 'vanished_at', t.vanished_at)"
    };
}

/// The table `templates`.
pub(crate) const TEMPLATES: TableSql = TableSql {
    load: concat!(
        "select ",
        template!(),
        " from json_each(?3) k cross join templates t on t.log = ?1 and t.generation = ?2
            and t.id = k.value ->> 'id'"
    ),
    upsert: "insert into templates (log, generation,
            id, title, content, example, kind, keys, listed, first_seen_at, changed_at, vanished_at)
        select ?1, ?2,
            r.value ->> 'id', r.value ->> 'title', r.value ->> 'content', r.value ->> 'example',
            r.value ->> 'kind', nullif(r.value -> 'keys', 'null'), r.value ->> 'listed',
            r.value ->> 'first_seen_at', r.value ->> 'changed_at', r.value ->> 'vanished_at'
        from json_each(?3) r where true
        on conflict (log, generation, id) do update set
            title = excluded.title, content = excluded.content, example = excluded.example,
            kind = excluded.kind, keys = excluded.keys, listed = excluded.listed,
            first_seen_at = excluded.first_seen_at, changed_at = excluded.changed_at,
            vanished_at = excluded.vanished_at",
    scan: concat!(
        "select ",
        template!(),
        " from templates t where t.log = ?1 and t.generation = ?2 order by t.id"
    ),
    drop: "delete from templates where (log, generation, id) in (
            select log, generation, id from templates where log = ?1 and generation = ?2 limit ?3)",
};

/// Every channel, each with its own position.
pub(crate) const ALL: &str = concat!(
    "select p.position, ",
    channel!(),
    " from projection p join channels t on t.log = p.log and t.generation = p.generation
    where p.name = 'channels' and p.purpose = 'live' order by t.code"
);

/// The channel of a log.
pub(crate) const ONE: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    channel!(),
    " as r from channels t
        where t.log = p.log and t.generation = p.generation
        order by t.code) s)
    from projection p where p.log = ?1 and p.name = 'channels' and p.purpose = 'live'"
);

/// Every template of a log.
pub(crate) const ALL_TEMPLATES: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    template!(),
    " as r from templates t
        where t.log = p.log and t.generation = p.generation
        order by t.id) s)
    from projection p where p.log = ?1 and p.name = 'channels' and p.purpose = 'live'"
);

/// One template; parameter: id.
pub(crate) const TEMPLATE: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    template!(),
    " as r from templates t
        where t.log = p.log and t.generation = p.generation
            and t.id = ?2
        order by t.id) s)
    from projection p where p.log = ?1 and p.name = 'channels' and p.purpose = 'live'"
);
