//! Statements of the projection `messages` for PostgreSQL.
//!
//! Rows cross as JSON. A question answers (position, JSON array of rows) in one statement: both are of one snapshot.

use crate::table::TableSql;

/// The table `messages`.
pub(crate) const MESSAGES: TableSql = TableSql {
    load: "select row_to_json(t)::text
        from jsonb_to_recordset($3::jsonb) as k(id text)
        join messages t on t.log = $1 and t.generation = $2
            and t.id = k.id",
    upsert: "insert into messages (log, generation,
            id, app, template, kind, targeted, expires_at, accepted_at, retracted_at, updated_at,
            position, queued, started, in_doubt, sent, refused, failed, expired, retracted, not_sent,
            skipped)
        select $1, $2,
            r.id, r.app, r.template, r.kind, r.targeted, r.expires_at, r.accepted_at, r.retracted_at,
            r.updated_at, r.position, r.queued, r.started, r.in_doubt, r.sent, r.refused, r.failed,
            r.expired, r.retracted, r.not_sent, r.skipped
        from jsonb_to_recordset($3::jsonb) as r(
            id text, app text, template text, kind text, targeted bigint, expires_at bigint,
            accepted_at bigint, retracted_at bigint, updated_at bigint, position bigint, queued bigint,
            started bigint, in_doubt bigint, sent bigint, refused bigint, failed bigint, expired bigint,
            retracted bigint, not_sent bigint, skipped bigint)
        on conflict (log, generation, id) do update set
            app = excluded.app, template = excluded.template, kind = excluded.kind,
            targeted = excluded.targeted, expires_at = excluded.expires_at,
            accepted_at = excluded.accepted_at, retracted_at = excluded.retracted_at,
            updated_at = excluded.updated_at, position = excluded.position, queued = excluded.queued,
            started = excluded.started, in_doubt = excluded.in_doubt, sent = excluded.sent,
            refused = excluded.refused, failed = excluded.failed, expired = excluded.expired,
            retracted = excluded.retracted, not_sent = excluded.not_sent, skipped = excluded.skipped",
    scan: "select row_to_json(t)::text from messages t
        where t.log = $1 and t.generation = $2 order by t.id",
    drop: "delete from messages where ctid = any (array(
            select ctid from messages where log = $1 and generation = $2 limit $3))",
};

/// The table `deliveries`.
pub(crate) const DELIVERIES: TableSql = TableSql {
    load: "select row_to_json(t)::text
        from jsonb_to_recordset($3::jsonb) as k(message text, idx bigint)
        join deliveries t on t.log = $1 and t.generation = $2
            and t.message = k.message and t.idx = k.idx",
    upsert: "insert into deliveries (log, generation,
            message, idx, user_ref, subject, template, state, reason, code, rid, wechat_msgid, lot, basis,
            settled_by, attempts, not_before, accepted_at, started_at, updated_at, planned_position,
            position)
        select $1, $2,
            r.message, r.idx, r.user_ref, r.subject, r.template, r.state, r.reason, r.code, r.rid,
            r.wechat_msgid, r.lot, r.basis, r.settled_by, r.attempts, r.not_before, r.accepted_at,
            r.started_at, r.updated_at, r.planned_position, r.position
        from jsonb_to_recordset($3::jsonb) as r(
            message text, idx bigint, user_ref text, subject text, template text, state text, reason text,
            code bigint, rid text, wechat_msgid text, lot bigint, basis text, settled_by text,
            attempts bigint, not_before bigint, accepted_at bigint, started_at bigint, updated_at bigint,
            planned_position bigint, position bigint)
        on conflict (log, generation, message, idx) do update set
            user_ref = excluded.user_ref, subject = excluded.subject, template = excluded.template,
            state = excluded.state, reason = excluded.reason, code = excluded.code, rid = excluded.rid,
            wechat_msgid = excluded.wechat_msgid, lot = excluded.lot, basis = excluded.basis,
            settled_by = excluded.settled_by, attempts = excluded.attempts,
            not_before = excluded.not_before, accepted_at = excluded.accepted_at,
            started_at = excluded.started_at, updated_at = excluded.updated_at,
            planned_position = excluded.planned_position, position = excluded.position",
    scan: "select row_to_json(t)::text from deliveries t
        where t.log = $1 and t.generation = $2 order by t.message, t.idx",
    drop: "delete from deliveries where ctid = any (array(
            select ctid from deliveries where log = $1 and generation = $2 limit $3))",
};

/// One message; parameter: id.
pub(crate) const ONE: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from messages t
        where t.log = p.log and t.generation = p.generation
            and t.id = $2
        order by t.id) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'messages' and p.purpose = 'live'";

/// Messages by id; parameter: a JSON array of ids.
pub(crate) const SOME: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from messages t
        where t.log = p.log and t.generation = p.generation
            and t.id in (select jsonb_array_elements_text($2::jsonb))
        order by t.id) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'messages' and p.purpose = 'live'";

/// Messages before a position; parameters: position, limit, then app, template and state or nulls.
pub(crate) const PAGE: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from messages t
        where t.log = p.log and t.generation = p.generation
            and t.position < $2
            and ($4::text is null or t.app = $4::text)
            and ($5::text is null or t.template = $5::text)
            and ($6::text is null or (case $6::text
                when 'queued' then t.queued when 'started' then t.started
                when 'in_doubt' then t.in_doubt when 'sent' then t.sent
                when 'refused' then t.refused when 'failed' then t.failed
                when 'expired' then t.expired when 'retracted' then t.retracted
                when 'not_sent' then t.not_sent when 'skipped' then t.skipped end) > 0)
        order by t.position desc limit $3) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'messages' and p.purpose = 'live'";

/// Deliveries of a message after an index; parameters: message, index, limit, then state or null.
pub(crate) const OF_MESSAGE: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from deliveries t
        where t.log = p.log and t.generation = p.generation
            and t.message = $2
            and t.idx > $3
            and ($5::text is null or t.state = $5::text)
        order by t.idx limit $4) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'messages' and p.purpose = 'live'";

/// One delivery; parameters: message, index.
pub(crate) const DELIVERY: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from deliveries t
        where t.log = p.log and t.generation = p.generation
            and t.message = $2
            and t.idx = $3
        order by t.idx) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'messages' and p.purpose = 'live'";

/// Deliveries to a subject before a key; parameters: subject, position planned at, message, index, limit.
pub(crate) const OF_SUBJECT: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from deliveries t
        where t.log = p.log and t.generation = p.generation
            and t.subject = $2
            and (t.planned_position, t.message, t.idx) < ($3, $4, $5)
        order by t.planned_position desc, t.message desc, t.idx desc limit $6) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'messages' and p.purpose = 'live'";

/// Deliveries in doubt after a key; parameters: position, message, index, limit.
pub(crate) const IN_DOUBT: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from deliveries t
        where t.log = p.log and t.generation = p.generation
            and t.state = 'in_doubt'
            and (t.position, t.message, t.idx) > ($2, $3, $4)
        order by t.position, t.message, t.idx limit $5) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'messages' and p.purpose = 'live'";
