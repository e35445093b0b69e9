//! Statements of the projection `ledgers` for PostgreSQL.
//!
//! Rows cross as JSON. A question answers (position, JSON array of rows) in one statement: both are of one snapshot.

use crate::table::TableSql;

/// The table `ledgers`.
pub(crate) const LEDGERS: TableSql = TableSql {
    load: "select row_to_json(t)::text
        from jsonb_to_recordset($3::jsonb) as k(subject text, template text)
        join ledgers t on t.log = $1 and t.generation = $2
            and t.subject = k.subject and t.template = k.template",
    upsert: "insert into ledgers (log, generation,
            subject, template, balance, reserved, in_doubt, granted, consumed, voided, rejected,
            suspended_since, consented, last_grant_at, last_choice, last_event_at, state)
        select $1, $2,
            r.subject, r.template, r.balance, r.reserved, r.in_doubt, r.granted, r.consumed, r.voided,
            r.rejected, r.suspended_since, r.consented, r.last_grant_at, r.last_choice, r.last_event_at,
            r.state
        from jsonb_to_recordset($3::jsonb) as r(
            subject text, template text, balance bigint, reserved bigint, in_doubt bigint, granted bigint,
            consumed bigint, voided bigint, rejected bigint, suspended_since bigint, consented boolean,
            last_grant_at bigint, last_choice text, last_event_at bigint, state jsonb)
        on conflict (log, generation, subject, template) do update set
            balance = excluded.balance, reserved = excluded.reserved, in_doubt = excluded.in_doubt,
            granted = excluded.granted, consumed = excluded.consumed, voided = excluded.voided,
            rejected = excluded.rejected, suspended_since = excluded.suspended_since,
            consented = excluded.consented, last_grant_at = excluded.last_grant_at,
            last_choice = excluded.last_choice, last_event_at = excluded.last_event_at,
            state = excluded.state",
    scan: "select row_to_json(t)::text from ledgers t
        where t.log = $1 and t.generation = $2 order by t.subject, t.template",
    drop: "delete from ledgers where ctid = any (array(
            select ctid from ledgers where log = $1 and generation = $2 limit $3))",
};

/// The table `ledger_lots`.
pub(crate) const LEDGER_LOTS: TableSql = TableSql {
    load: "select row_to_json(t)::text
        from jsonb_to_recordset($3::jsonb) as k(subject text, template text, lot bigint)
        join ledger_lots t on t.log = $1 and t.generation = $2
            and t.subject = k.subject and t.template = k.template and t.lot = k.lot",
    upsert: "insert into ledger_lots (log, generation,
            subject, template, lot, state, granted_at, word, evidence_source, evidence_ref, delivery,
            doubted_by, changed_at)
        select $1, $2,
            r.subject, r.template, r.lot, r.state, r.granted_at, r.word, r.evidence_source,
            r.evidence_ref, r.delivery, r.doubted_by, r.changed_at
        from jsonb_to_recordset($3::jsonb) as r(
            subject text, template text, lot bigint, state text, granted_at bigint, word text,
            evidence_source text, evidence_ref text, delivery text, doubted_by text, changed_at bigint)
        on conflict (log, generation, subject, template, lot) do update set
            state = excluded.state, granted_at = excluded.granted_at, word = excluded.word,
            evidence_source = excluded.evidence_source, evidence_ref = excluded.evidence_ref,
            delivery = excluded.delivery, doubted_by = excluded.doubted_by,
            changed_at = excluded.changed_at",
    scan: "select row_to_json(t)::text from ledger_lots t
        where t.log = $1 and t.generation = $2 order by t.subject, t.template, t.lot",
    drop: "delete from ledger_lots where ctid = any (array(
            select ctid from ledger_lots where log = $1 and generation = $2 limit $3))",
};

/// One ledger; parameters: subject, template.
pub(crate) const ONE: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select to_jsonb(t) - 'state' as r from ledgers t
        where t.log = p.log and t.generation = p.generation
            and t.subject = $2
            and t.template = $3
        order by t.subject) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'ledgers' and p.purpose = 'live'";

/// Ledgers of a subject; parameters: subject, limit.
pub(crate) const OF_SUBJECT: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select to_jsonb(t) - 'state' as r from ledgers t
        where t.log = p.log and t.generation = p.generation
            and t.subject = $2
        order by t.template limit $3) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'ledgers' and p.purpose = 'live'";

/// Ledgers after a key; parameters: subject, template, limit.
pub(crate) const PAGE: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select to_jsonb(t) - 'state' as r from ledgers t
        where t.log = p.log and t.generation = p.generation
            and (t.subject, t.template) > ($2, $3)
        order by t.subject, t.template limit $4) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'ledgers' and p.purpose = 'live'";

/// Ledgers of a template after a subject; parameters: template, subject, limit.
pub(crate) const PAGE_OF_TEMPLATE: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select to_jsonb(t) - 'state' as r from ledgers t
        where t.log = p.log and t.generation = p.generation
            and t.template = $2
            and t.subject > $3
        order by t.subject limit $4) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'ledgers' and p.purpose = 'live'";

/// Lots of a ledger after a lot; parameters: subject, template, lot, limit.
pub(crate) const LOTS: &str = "select p.position, coalesce((select json_agg(s.r) from (
        select row_to_json(t) as r from ledger_lots t
        where t.log = p.log and t.generation = p.generation
            and t.subject = $2
            and t.template = $3
            and t.lot > $4
        order by t.lot limit $5) s), '[]')::text
    from projection p where p.log = $1 and p.name = 'ledgers' and p.purpose = 'live'";
