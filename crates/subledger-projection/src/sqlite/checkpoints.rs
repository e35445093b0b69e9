//! Statements of the table `projection` for SQLite: which generations there are and how far they have come.

/// Makes the first live generation; parameters: log, name, now.
pub(crate) const ENSURE: &str = "insert into projection (log, name, purpose, position, touched_at)
    select ?1, ?2, 'live', 0, ?3
    where not exists (select 1 from projection where log = ?1 and name = ?2 and purpose = 'live')
    on conflict do nothing";

/// (name, generation, position, paused position, stream, kind and error, unknown events) of the live generations;
/// parameter: log.
pub(crate) const LIVE: &str =
    "select name, generation, position, paused_position, paused_stream, paused_kind,
        paused_error, unknown
    from projection where log = ?1 and purpose = 'live' order by name";

/// The same of one generation; parameter: generation.
pub(crate) const ONE: &str = "select name, generation, position, paused_position, paused_stream, paused_kind,
        paused_error, unknown
    from projection where generation = ?1 and purpose <> 'dropping'";

/// (log, and the same as above) of the live generations of every log.
pub(crate) const ALL_LIVE: &str = "select log, name, generation, position, paused_position, paused_stream,
        paused_kind, paused_error, unknown
    from projection where purpose = 'live' order by log, name";

/// Moves a checkpoint, if it stands where it is believed to stand; parameters: generation, position believed, position
/// reached, paused position, stream, kind and error, now, unknown events.
pub(crate) const ADVANCE: &str = "update projection
    set position = ?3, paused_position = ?4, paused_stream = ?5, paused_kind = ?6, paused_error = ?7,
        touched_at = ?8, unknown = ?9
    where generation = ?1 and position = ?2 and purpose <> 'dropping'
        and held_until <= ?8";

/// Begins a generation beside the live one and answers with its number; parameters: log, name, purpose, now, version of the
/// fold.
pub(crate) const BEGIN: &str = "insert into projection (log, name, purpose, position, touched_at, schema)
    values (?1, ?2, ?3, 0, ?4, ?5) returning generation";

/// (generation, position, version of the fold) of unfinished rebuilds, the furthest first; parameters: log, name.
pub(crate) const UNFINISHED: &str = "select generation, position, schema from projection
    where log = ?1 and name = ?2 and purpose = 'rebuild' order by position desc, generation";

/// Keeps the live generation where it stands, for a while; parameters: log, name, now, microseconds.
pub(crate) const HOLD_LIVE: &str = "update projection
    set held_until = ?3 + ?4
    where log = ?1 and name = ?2 and purpose = 'live'";

/// Takes the live generation out, if the new one is as far; parameters: log, name, new generation.
pub(crate) const DEMOTE: &str = "update projection set purpose = 'dropping'
    where log = ?1 and name = ?2 and purpose = 'live'
        and position <= (select n.position from projection n
            where n.generation = ?3 and n.purpose = 'rebuild')";

/// Makes the new generation the live one; parameter: generation.
pub(crate) const PROMOTE: &str = "update projection set purpose = 'live'
    where generation = ?1 and purpose = 'rebuild'";

/// Gives a generation up that is not live; parameter: generation.
pub(crate) const GIVE_UP: &str = "update projection set purpose = 'dropping'
    where generation = ?1 and purpose <> 'live'";

/// (generation) of what is being dropped, and of verifications not touched since; parameters: log, name, moment.
pub(crate) const ABANDONED: &str = "select generation from projection
    where log = ?1 and name = ?2
        and (purpose = 'dropping' or purpose = 'verify' and touched_at < ?3) order by generation";

/// Holds a generation that is being dropped; parameters: generation, now.
pub(crate) const HOLD_DROPPING: &str = "update projection set touched_at = ?2
    where generation = ?1 and purpose = 'dropping'";

/// Forgets a generation whose rows are gone; parameter: generation.
pub(crate) const FORGET: &str = "delete from projection
    where generation = ?1 and purpose = 'dropping'";
