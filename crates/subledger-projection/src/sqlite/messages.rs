//! Statements of the projection `messages` for SQLite.
//!
//! Rows cross as JSON. A question answers (position, JSON array of rows) in one statement: both are of one snapshot.
//! The tables are joined with `cross join` where SQLite must start from the list of keys.

use crate::table::TableSql;

macro_rules! message {
    () => {
        "json_object(
            'id', t.id, 'app', t.app, 'template', t.template, 'kind', t.kind, 'targeted', t.targeted,
            'expires_at', t.expires_at, 'accepted_at', t.accepted_at, 'retracted_at', t.retracted_at,
            'updated_at', t.updated_at, 'position', t.position, 'queued', t.queued, 'started', t.started,
            'in_doubt', t.in_doubt, 'sent', t.sent, 'refused', t.refused, 'failed', t.failed,
            'expired', t.expired, 'retracted', t.retracted, 'not_sent', t.not_sent, 'skipped', t.skipped)"
    };
}

/// The table `messages`.
pub(crate) const MESSAGES: TableSql = TableSql {
    load: concat!(
        "select ",
        message!(),
        " from json_each(?3) k cross join messages t on t.log = ?1 and t.generation = ?2
            and t.id = k.value ->> 'id'"
    ),
    upsert: "insert into messages (log, generation,
            id, app, template, kind, targeted, expires_at, accepted_at, retracted_at, updated_at,
            position, queued, started, in_doubt, sent, refused, failed, expired, retracted, not_sent,
            skipped)
        select ?1, ?2,
            r.value ->> 'id', r.value ->> 'app', r.value ->> 'template', r.value ->> 'kind',
            r.value ->> 'targeted', r.value ->> 'expires_at', r.value ->> 'accepted_at',
            r.value ->> 'retracted_at', r.value ->> 'updated_at', r.value ->> 'position',
            r.value ->> 'queued', r.value ->> 'started', r.value ->> 'in_doubt', r.value ->> 'sent',
            r.value ->> 'refused', r.value ->> 'failed', r.value ->> 'expired', r.value ->> 'retracted',
            r.value ->> 'not_sent', r.value ->> 'skipped'
        from json_each(?3) r where true
        on conflict (log, generation, id) do update set
            app = excluded.app, template = excluded.template, kind = excluded.kind,
            targeted = excluded.targeted, expires_at = excluded.expires_at,
            accepted_at = excluded.accepted_at, retracted_at = excluded.retracted_at,
            updated_at = excluded.updated_at, position = excluded.position, queued = excluded.queued,
            started = excluded.started, in_doubt = excluded.in_doubt, sent = excluded.sent,
            refused = excluded.refused, failed = excluded.failed, expired = excluded.expired,
            retracted = excluded.retracted, not_sent = excluded.not_sent, skipped = excluded.skipped",
    scan: concat!(
        "select ",
        message!(),
        " from messages t where t.log = ?1 and t.generation = ?2 order by t.id"
    ),
    drop: "delete from messages where (log, generation, id) in (
            select log, generation, id from messages where log = ?1 and generation = ?2 limit ?3)",
};

macro_rules! delivery {
    () => {
        "json_object(
            'message', t.message, 'idx', t.idx, 'user_ref', t.user_ref, 'subject', t.subject,
            'template', t.template, 'state', t.state, 'reason', t.reason, 'code', t.code, 'rid', t.rid,
            'wechat_msgid', t.wechat_msgid, 'lot', t.lot, 'basis', t.basis, 'settled_by', t.settled_by,
            'attempts', t.attempts, 'not_before', t.not_before, 'accepted_at', t.accepted_at,
            'started_at', t.started_at, 'updated_at', t.updated_at,
            'planned_position', t.planned_position, 'position', t.position)"
    };
}

/// The table `deliveries`.
pub(crate) const DELIVERIES: TableSql = TableSql {
    load: concat!(
        "select ",
        delivery!(),
        " from json_each(?3) k cross join deliveries t on t.log = ?1 and t.generation = ?2
            and t.message = k.value ->> 'message' and t.idx = k.value ->> 'idx'"
    ),
    upsert: "insert into deliveries (log, generation,
            message, idx, user_ref, subject, template, state, reason, code, rid, wechat_msgid, lot, basis,
            settled_by, attempts, not_before, accepted_at, started_at, updated_at, planned_position,
            position)
        select ?1, ?2,
            r.value ->> 'message', r.value ->> 'idx', r.value ->> 'user_ref', r.value ->> 'subject',
            r.value ->> 'template', r.value ->> 'state', r.value ->> 'reason', r.value ->> 'code',
            r.value ->> 'rid', r.value ->> 'wechat_msgid', r.value ->> 'lot', r.value ->> 'basis',
            r.value ->> 'settled_by', r.value ->> 'attempts', r.value ->> 'not_before',
            r.value ->> 'accepted_at', r.value ->> 'started_at', r.value ->> 'updated_at',
            r.value ->> 'planned_position', r.value ->> 'position'
        from json_each(?3) r where true
        on conflict (log, generation, message, idx) do update set
            user_ref = excluded.user_ref, subject = excluded.subject, template = excluded.template,
            state = excluded.state, reason = excluded.reason, code = excluded.code, rid = excluded.rid,
            wechat_msgid = excluded.wechat_msgid, lot = excluded.lot, basis = excluded.basis,
            settled_by = excluded.settled_by, attempts = excluded.attempts,
            not_before = excluded.not_before, accepted_at = excluded.accepted_at,
            started_at = excluded.started_at, updated_at = excluded.updated_at,
            planned_position = excluded.planned_position, position = excluded.position",
    scan: concat!(
        "select ",
        delivery!(),
        " from deliveries t where t.log = ?1 and t.generation = ?2 order by t.message, t.idx"
    ),
    drop:
        "delete from deliveries where (log, generation, message, idx) in (
            select log, generation, message, idx from deliveries where log = ?1 and generation = ?2 limit ?3)",
};

/// One message; parameter: id.
pub(crate) const ONE: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    message!(),
    " as r from messages t
        where t.log = p.log and t.generation = p.generation
            and t.id = ?2
        order by t.id) s)
    from projection p where p.log = ?1 and p.name = 'messages' and p.purpose = 'live'"
);

/// Messages by id; parameter: a JSON array of ids.
pub(crate) const SOME: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    message!(),
    " as r from json_each(?2) w cross join messages t
        where t.log = p.log and t.generation = p.generation
            and t.id = w.value
        order by t.id) s)
    from projection p where p.log = ?1 and p.name = 'messages' and p.purpose = 'live'"
);

/// Messages before a position; parameters: position, limit, then app, template and state or nulls.
pub(crate) const PAGE: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    message!(),
    " as r from messages t
        where t.log = p.log and t.generation = p.generation
            and t.position < ?2
            and (?4 is null or t.app = ?4)
            and (?5 is null or t.template = ?5)
            and (?6 is null or (case ?6
                when 'queued' then t.queued when 'started' then t.started
                when 'in_doubt' then t.in_doubt when 'sent' then t.sent
                when 'refused' then t.refused when 'failed' then t.failed
                when 'expired' then t.expired when 'retracted' then t.retracted
                when 'not_sent' then t.not_sent when 'skipped' then t.skipped end) > 0)
        order by t.position desc limit ?3) s)
    from projection p where p.log = ?1 and p.name = 'messages' and p.purpose = 'live'"
);

/// Deliveries of a message after an index; parameters: message, index, limit, then state or null.
pub(crate) const OF_MESSAGE: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    delivery!(),
    " as r from deliveries t
        where t.log = p.log and t.generation = p.generation
            and t.message = ?2
            and t.idx > ?3
            and (?5 is null or t.state = ?5)
        order by t.idx limit ?4) s)
    from projection p where p.log = ?1 and p.name = 'messages' and p.purpose = 'live'"
);

/// One delivery; parameters: message, index.
pub(crate) const DELIVERY: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    delivery!(),
    " as r from deliveries t
        where t.log = p.log and t.generation = p.generation
            and t.message = ?2
            and t.idx = ?3
        order by t.idx) s)
    from projection p where p.log = ?1 and p.name = 'messages' and p.purpose = 'live'"
);

/// Deliveries to a subject before a key; parameters: subject, position planned at, message, index, limit.
pub(crate) const OF_SUBJECT: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    delivery!(),
    " as r from deliveries t
        where t.log = p.log and t.generation = p.generation
            and t.subject = ?2
            and (t.planned_position, t.message, t.idx) < (?3, ?4, ?5)
        order by t.planned_position desc, t.message desc, t.idx desc limit ?6) s)
    from projection p where p.log = ?1 and p.name = 'messages' and p.purpose = 'live'"
);

/// Deliveries in doubt after a key; parameters: position, message, index, limit.
pub(crate) const IN_DOUBT: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    delivery!(),
    " as r from deliveries t
        where t.log = p.log and t.generation = p.generation
            and t.state = 'in_doubt'
            and (t.position, t.message, t.idx) > (?2, ?3, ?4)
        order by t.position, t.message, t.idx limit ?5) s)
    from projection p where p.log = ?1 and p.name = 'messages' and p.purpose = 'live'"
);
