//! Statements of the reports of drift and of doubt for SQLite.
//!
//! A question answers (position, JSON) in one statement: both are of one snapshot. Parameters after the log: since, until, the
//! place to go on before (when, where), limit, whether to count, then template and cause or null, bounds of ages as JSON.

/// Findings of drift.
pub(crate) const DRIFT: &str = "select p.position, json_object(
    'known', exists (select 1 from report_templates t where t.generation = p.generation
        and t.template = (select n.number from term n where n.text = ?8)),
    'groups', json(case when ?7 <> 0 then
        (select json_group_array(json_array(s.template, s.age, s.cause, s.found, s.grants)) from (
        select n.text as template, x.age, x.cause, x.found, x.grants from (
            select d.template, case when d.last_grant_at is null then 5 else case when d.found_at - d.last_grant_at < ?10 ->> 0 then 0
                when d.found_at - d.last_grant_at < ?10 ->> 1 then 1
                when d.found_at - d.last_grant_at < ?10 ->> 2 then 2
                when d.found_at - d.last_grant_at < ?10 ->> 3 then 3 else 4 end end as age,
                d.cause, count(*) as found, sum(d.grants) as grants
            from drifts d where d.generation = p.generation and d.found_at >= ?2 and d.found_at < ?3
            and (?8 is null or d.template = (select n.number from term n where n.text = ?8))
            and (?9 is null or d.cause = ?9)
            group by 1, 2, 3) x join term n on n.number = x.template order by 1, 2, 3) s)
        else '[]' end),
    'entries', (select json_group_array(json_array(s.found_at, s.position, s.template_id, lower(hex(s.subject)), lower(hex(s.message)),
        s.idx, s.grants, s.explained, s.cause, s.last_grant_at, s.last_settings_at)) from (
        select d.*, n.text as template_id from drifts d cross join term n on n.number = d.template
        where d.generation = p.generation and d.found_at >= ?2 and d.found_at < ?3
            and (?8 is null or d.template = (select n.number from term n where n.text = ?8))
            and (?9 is null or d.cause = ?9)
            and (d.found_at, d.position) < (?4, ?5)
        order by d.found_at desc, d.position desc limit ?6) s))
    from projection p where p.log = ?1 and p.name = 'ledgers' and p.purpose = 'live'";

/// Doubts; two more parameters: state (0 open, -1 ended, -2 corrected, or what ended them) or null, and the moment until which
/// open ones are measured.
pub(crate) const DOUBTS: &str = "select p.position, json_object(
    'known', exists (select 1 from report_templates t where t.generation = p.generation
        and t.template = (select n.number from term n where n.text = ?8)),
    'groups', json(case when ?7 <> 0 then
        (select json_group_array(json_array(s.template, s.age, s.cause, s.ended, s.doubts, s.corrected)) from (
        select n.text as template, x.age, x.cause, x.ended, x.doubts, x.corrected from (
            select d.template, case when coalesce(d.ended_at, ?12) - d.began_at < ?10 ->> 0 then 0
                when coalesce(d.ended_at, ?12) - d.began_at < ?10 ->> 1 then 1
                when coalesce(d.ended_at, ?12) - d.began_at < ?10 ->> 2 then 2
                when coalesce(d.ended_at, ?12) - d.began_at < ?10 ->> 3 then 3
                when coalesce(d.ended_at, ?12) - d.began_at < ?10 ->> 4 then 4 else 5 end as age, d.cause,
                coalesce(d.ended, 0) as ended, count(*) as doubts, count(d.corrected) as corrected
            from doubts d where d.generation = p.generation and d.began_at >= ?2 and d.began_at < ?3
            and (?8 is null or d.template = (select n.number from term n where n.text = ?8))
            and (?9 is null or d.cause = ?9)
            and (?11 is null or coalesce(d.ended, 0) = ?11 or (?11 = -1 and d.ended is not null)
                or (?11 = -2 and d.corrected is not null))
            group by 1, 2, 3, 4) x join term n on n.number = x.template order by 1, 2, 3, 4) s)
        else '[]' end),
    'entries', (select json_group_array(json_array(json_array(s.began_at, s.position), json_array(lower(hex(s.message)), s.idx, s.attempt), s.template_id,
        case when s.subject is not null then lower(hex(s.subject)) end, s.cause, json_array(s.ended_at, s.ended, s.outcome), json_array(s.corrected_at, s.corrected))) from (
        select d.*, n.text as template_id from doubts d cross join term n on n.number = d.template
        where d.generation = p.generation and d.began_at >= ?2 and d.began_at < ?3
            and (?8 is null or d.template = (select n.number from term n where n.text = ?8))
            and (?9 is null or d.cause = ?9)
            and (?11 is null or coalesce(d.ended, 0) = ?11 or (?11 = -1 and d.ended is not null)
                or (?11 = -2 and d.corrected is not null))
            and (d.began_at, d.position) < (?4, ?5)
        order by d.began_at desc, d.position desc limit ?6) s))
    from projection p where p.log = ?1 and p.name = 'messages' and p.purpose = 'live'";
