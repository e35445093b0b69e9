//! Statements of the table `projection` for SQLite: which generations there are and how far they have come.

/// Makes the first live generation; parameters: log, name, now.
pub(crate) const ENSURE: &str =
    "insert into projection (log, name, generation, purpose, position, touched_at)
    select ?1, ?2, 1, 'live', 0, ?3
    where not exists (select 1 from projection where log = ?1 and name = ?2 and purpose = 'live')
    on conflict do nothing";

/// (name, generation, position, paused position, stream, kind and error, unknown events) of the live generations;
/// parameter: log.
pub(crate) const LIVE: &str =
    "select name, generation, position, paused_position, paused_stream, paused_kind,
        paused_error, unknown
    from projection where log = ?1 and purpose = 'live' order by name";

/// The same of one generation; parameters: log, name, generation.
pub(crate) const ONE: &str = "select name, generation, position, paused_position, paused_stream, paused_kind,
        paused_error, unknown
    from projection where log = ?1 and name = ?2 and generation = ?3 and purpose <> 'dropping'";

/// (log, and the same as above) of the live generations of every log.
pub(crate) const ALL_LIVE: &str = "select log, name, generation, position, paused_position, paused_stream,
        paused_kind, paused_error, unknown
    from projection where purpose = 'live' order by log, name";

/// Moves a checkpoint, if it stands where it is believed to stand; parameters: log, name, generation, position
/// believed, position reached, paused position, stream, kind and error, now, unknown events.
pub(crate) const ADVANCE: &str = "update projection
    set position = ?5, paused_position = ?6, paused_stream = ?7, paused_kind = ?8, paused_error = ?9,
        touched_at = ?10, unknown = ?11
    where log = ?1 and name = ?2 and generation = ?3 and position = ?4 and purpose <> 'dropping'
        and held_until <= ?10";

/// (generation) of everything there is; parameters: log, name.
pub(crate) const GENERATIONS: &str = "select generation from projection
    where log = ?1 and name = ?2 order by generation";

/// Begins a generation beside the live one; parameters: log, name, generation, purpose, now, version of the fold.
pub(crate) const BEGIN: &str =
    "insert into projection (log, name, generation, purpose, position, touched_at, schema)
    values (?1, ?2, ?3, ?4, 0, ?5, ?6) on conflict do nothing";

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
            where n.log = ?1 and n.name = ?2 and n.generation = ?3 and n.purpose = 'rebuild')";

/// Makes the new generation the live one; parameters: log, name, generation.
pub(crate) const PROMOTE: &str = "update projection set purpose = 'live'
    where log = ?1 and name = ?2 and generation = ?3 and purpose = 'rebuild'";

/// Gives a generation up that is not live; parameters: log, name, generation.
pub(crate) const GIVE_UP: &str = "update projection set purpose = 'dropping'
    where log = ?1 and name = ?2 and generation = ?3 and purpose <> 'live'";

/// (generation) of what is being dropped, and of verifications not touched since; parameters: log, name, moment.
pub(crate) const ABANDONED: &str = "select generation from projection
    where log = ?1 and name = ?2
        and (purpose = 'dropping' or purpose = 'verify' and touched_at < ?3) order by generation";

/// Holds a generation that is being dropped; parameters: log, name, generation, now.
pub(crate) const HOLD_DROPPING: &str = "update projection set touched_at = ?4
    where log = ?1 and name = ?2 and generation = ?3 and purpose = 'dropping'";

/// Forgets a generation whose rows are gone; parameters: log, name, generation.
pub(crate) const FORGET: &str = "delete from projection
    where log = ?1 and name = ?2 and generation = ?3 and purpose = 'dropping'";
