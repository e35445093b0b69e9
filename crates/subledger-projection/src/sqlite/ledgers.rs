//! Statements of the projection `ledgers` for SQLite.
//!
//! Rows cross as JSON. A question answers (position, JSON array of rows) in one statement: both are of one snapshot.
//! The tables are joined with `cross join` where SQLite must start from the list of keys.

use crate::table::TableSql;

macro_rules! ledger {
    () => {
        "json_object(
            'subject', t.subject, 'template', t.template, 'balance', t.balance, 'reserved', t.reserved,
            'in_doubt', t.in_doubt, 'granted', t.granted, 'consumed', t.consumed, 'voided', t.voided,
            'rejected', t.rejected, 'suspended_since', t.suspended_since, 'consented', t.consented,
            'last_grant_at', t.last_grant_at, 'last_choice', t.last_choice,
            'last_event_at', t.last_event_at)"
    };
}

/// The table `ledgers`.
pub(crate) const LEDGERS: TableSql = TableSql {
    load: concat!(
        "select ",
        "json_set(",
        ledger!(),
        ", '$.state', json(t.state))",
        " from json_each(?3) k cross join ledgers t on t.log = ?1 and t.generation = ?2
            and t.subject = k.value ->> 'subject' and t.template = k.value ->> 'template'"
    ),
    upsert: "insert into ledgers (log, generation,
            subject, template, balance, reserved, in_doubt, granted, consumed, voided, rejected,
            suspended_since, consented, last_grant_at, last_choice, last_event_at, state)
        select ?1, ?2,
            r.value ->> 'subject', r.value ->> 'template', r.value ->> 'balance', r.value ->> 'reserved',
            r.value ->> 'in_doubt', r.value ->> 'granted', r.value ->> 'consumed', r.value ->> 'voided',
            r.value ->> 'rejected', r.value ->> 'suspended_since', r.value ->> 'consented',
            r.value ->> 'last_grant_at', r.value ->> 'last_choice', r.value ->> 'last_event_at',
            nullif(r.value -> 'state', 'null')
        from json_each(?3) r where true
        on conflict (log, generation, subject, template) do update set
            balance = excluded.balance, reserved = excluded.reserved, in_doubt = excluded.in_doubt,
            granted = excluded.granted, consumed = excluded.consumed, voided = excluded.voided,
            rejected = excluded.rejected, suspended_since = excluded.suspended_since,
            consented = excluded.consented, last_grant_at = excluded.last_grant_at,
            last_choice = excluded.last_choice, last_event_at = excluded.last_event_at,
            state = excluded.state",
    scan: concat!(
        "select ",
        "json_set(",
        ledger!(),
        ", '$.state', json(t.state))",
        " from ledgers t where t.log = ?1 and t.generation = ?2 order by t.subject, t.template"
    ),
    drop: "delete from ledgers where (log, generation, subject, template) in (
            select log, generation, subject, template from ledgers where log = ?1 and generation = ?2 limit ?3)",
};

macro_rules! lot {
    () => {
        "json_object(
            'subject', t.subject, 'template', t.template, 'lot', t.lot, 'state', t.state,
            'granted_at', t.granted_at, 'word', t.word, 'evidence_source', t.evidence_source,
            'evidence_ref', t.evidence_ref, 'delivery', t.delivery, 'doubted_by', t.doubted_by,
            'changed_at', t.changed_at)"
    };
}

/// The table `ledger_lots`.
pub(crate) const LEDGER_LOTS: TableSql = TableSql {
    load: concat!(
        "select ",
        lot!(),
        " from json_each(?3) k cross join ledger_lots t on t.log = ?1 and t.generation = ?2
            and t.subject = k.value ->> 'subject' and t.template = k.value ->> 'template' and t.lot = k.value ->> 'lot'"
    ),
    upsert: "insert into ledger_lots (log, generation,
            subject, template, lot, state, granted_at, word, evidence_source, evidence_ref, delivery,
            doubted_by, changed_at)
        select ?1, ?2,
            r.value ->> 'subject', r.value ->> 'template', r.value ->> 'lot', r.value ->> 'state',
            r.value ->> 'granted_at', r.value ->> 'word', r.value ->> 'evidence_source',
            r.value ->> 'evidence_ref', r.value ->> 'delivery', r.value ->> 'doubted_by',
            r.value ->> 'changed_at'
        from json_each(?3) r where true
        on conflict (log, generation, subject, template, lot) do update set
            state = excluded.state, granted_at = excluded.granted_at, word = excluded.word,
            evidence_source = excluded.evidence_source, evidence_ref = excluded.evidence_ref,
            delivery = excluded.delivery, doubted_by = excluded.doubted_by,
            changed_at = excluded.changed_at",
    scan: concat!(
        "select ",
        lot!(),
        " from ledger_lots t where t.log = ?1 and t.generation = ?2 order by t.subject, t.template, t.lot"
    ),
    drop: "delete from ledger_lots where (log, generation, subject, template, lot) in (
            select log, generation, subject, template, lot from ledger_lots where log = ?1 and generation = ?2 limit ?3)",
};

/// One ledger; parameters: subject, template.
pub(crate) const ONE: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    ledger!(),
    " as r from ledgers t
        where t.log = p.log and t.generation = p.generation
            and t.subject = ?2
            and t.template = ?3
        order by t.subject) s)
    from projection p where p.log = ?1 and p.name = 'ledgers' and p.purpose = 'live'"
);

/// Ledgers of a subject; parameters: subject, limit.
pub(crate) const OF_SUBJECT: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    ledger!(),
    " as r from ledgers t
        where t.log = p.log and t.generation = p.generation
            and t.subject = ?2
        order by t.template limit ?3) s)
    from projection p where p.log = ?1 and p.name = 'ledgers' and p.purpose = 'live'"
);

/// Ledgers after a key; parameters: subject, template, limit.
pub(crate) const PAGE: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    ledger!(),
    " as r from ledgers t
        where t.log = p.log and t.generation = p.generation
            and (t.subject, t.template) > (?2, ?3)
        order by t.subject, t.template limit ?4) s)
    from projection p where p.log = ?1 and p.name = 'ledgers' and p.purpose = 'live'"
);

/// Ledgers of a template after a subject; parameters: template, subject, limit.
pub(crate) const PAGE_OF_TEMPLATE: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    ledger!(),
    " as r from ledgers t
        where t.log = p.log and t.generation = p.generation
            and t.template = ?2
            and t.subject > ?3
        order by t.subject limit ?4) s)
    from projection p where p.log = ?1 and p.name = 'ledgers' and p.purpose = 'live'"
);

/// Lots of a ledger after a lot; parameters: subject, template, lot, limit.
pub(crate) const LOTS: &str = concat!(
    "select p.position, (select json_group_array(json(s.r)) from (select ",
    lot!(),
    " as r from ledger_lots t
        where t.log = p.log and t.generation = p.generation
            and t.subject = ?2
            and t.template = ?3
            and t.lot > ?4
        order by t.lot limit ?5) s)
    from projection p where p.log = ?1 and p.name = 'ledgers' and p.purpose = 'live'"
);
