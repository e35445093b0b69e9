//! The row of a token, and what becomes of it when somebody asks. Plain arithmetic: both databases lock the row, hand it in
//! and write back what comes out.

use serde::de::DeserializeOwned;

use crate::StoreError;

const HOUR_MICROS: i64 = 3_600 * 1_000_000;
const DAY_MICROS: i64 = 24 * HOUR_MICROS;

/// A token's row and the database's time: version, sealed, issued_at, expires_at, refused_at, holder, fence, lease_until,
/// begun, forced, spent_at, now.
pub(crate) type TokenColumns =
    (i64, Option<Vec<u8>>, i64, i64, Option<i64>, String, i64, i64, String, String, Option<i64>, i64);

/// What is shown of a token: appid, mode, version, issued_at, expires_at, refused_at, lease_until, begun, forced, spent_at,
/// now.
pub(crate) type TokenStateColumns =
    (String, String, i64, i64, i64, Option<i64>, i64, String, String, Option<i64>, i64);

/// The columns that asking may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenWrite {
    pub(crate) refused_at: Option<i64>,
    pub(crate) holder: String,
    pub(crate) fence: i64,
    pub(crate) lease_until: i64,
    pub(crate) begun: String,
    pub(crate) forced: String,
    pub(crate) spent_at: Option<i64>,
}

/// What is asked; times in microseconds.
pub(crate) struct Asked<'a> {
    pub(crate) holder: &'a str,
    pub(crate) lease: i64,
    pub(crate) budget: usize,
    pub(crate) newer_than: i64,
    pub(crate) refused: bool,
    /// Whether a new one is fetched whatever is kept and however many were fetched.
    pub(crate) anyway: bool,
    /// Whether it is forced: how far apart such fetches are, and how many a day.
    pub(crate) forced: Option<(i64, usize)>,
}

/// What an asker gets; times in microseconds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// The kept token serves: age and what remains.
    Kept { age: i64, remains: i64 },
    /// It is the asker's turn to fetch.
    Turn { fence: i64, version: i64, began_at: i64 },
    /// Somebody else is fetching, for this long at most.
    Elsewhere { ends_in: i64 },
    /// Too many fetches in an hour.
    Spent { frees_in: i64 },
    /// Forced too soon, or too often in a day.
    TooSoon { frees_in: i64, of_day: bool },
}

/// A token that WeChat was found to refuse by this very ask: its age and the life it should have had.
pub(crate) type FirstRefused = Option<(i64, i64)>;

/// Decides on an ask. The write is `None` where nothing changes.
pub(crate) fn decide(
    row: &TokenColumns,
    asked: &Asked<'_>,
) -> Result<(Option<TokenWrite>, Got, FirstRefused), StoreError> {
    let (version, sealed, issued_at, expires_at, refused_at, holder, fence, lease_until, begun, forced, ..) =
        row;
    let (spent_at, now) = (row.10, row.11);
    let mut write = TokenWrite {
        refused_at: *refused_at,
        holder: holder.clone(),
        fence: *fence,
        lease_until: *lease_until,
        begun: begun.clone(),
        forced: forced.clone(),
        spent_at,
    };
    let before = write.clone();
    let changed = |write: TokenWrite| (write != before).then_some(write);

    let mut first = None;
    if asked.refused && asked.newer_than == *version && 0 < *version && refused_at.is_none() {
        write.refused_at = Some(now);
        if now < *expires_at {
            first = Some((now.saturating_sub(*issued_at), expires_at.saturating_sub(*issued_at)));
        }
    }
    let serves = sealed.is_some()
        && write.refused_at.is_none()
        && now < *expires_at
        && asked.newer_than < *version
        && !asked.anyway
        && asked.forced.is_none();
    if serves {
        let got = Got::Kept { age: now.saturating_sub(*issued_at), remains: expires_at.saturating_sub(now) };
        return Ok((changed(write), got, first));
    }
    if now < *lease_until && holder != asked.holder {
        let got = Got::Elsewhere { ends_in: lease_until.saturating_sub(now) };
        return Ok((changed(write), got, first));
    }
    let mut begun = recent(begun, now, HOUR_MICROS)?;
    let mut forced = recent(forced, now, DAY_MICROS)?;
    if let Some((apart, per_day)) = asked.forced {
        let gap = forced.last().map(|last| last.saturating_add(apart)).filter(|free| now < *free);
        let of_day = forced.first().map(|oldest| oldest.saturating_add(DAY_MICROS));
        if let Some(free) = gap {
            return Ok((changed(write), Got::TooSoon { frees_in: free - now, of_day: false }, first));
        }
        if forced.len() >= per_day {
            let frees_in = of_day.map_or(DAY_MICROS, |free| free.saturating_sub(now));
            return Ok((changed(write), Got::TooSoon { frees_in, of_day: true }, first));
        }
        forced.push(now);
        write.forced = json(&forced)?;
    } else if !asked.anyway && begun.len() >= asked.budget {
        write.spent_at = Some(now);
        let oldest = begun.len().saturating_sub(asked.budget);
        let frees_at = begun.get(oldest).map_or(now, |begun| begun.saturating_add(HOUR_MICROS));
        return Ok((changed(write), Got::Spent { frees_in: frees_at.saturating_sub(now) }, first));
    }
    begun.push(now);
    write.begun = json(&begun)?;
    write.fence = fence.saturating_add(1);
    asked.holder.clone_into(&mut write.holder);
    write.lease_until = now.saturating_add(asked.lease);
    let got = Got::Turn { fence: write.fence, version: *version, began_at: now };
    Ok((changed(write), got, first))
}

/// The moments of a JSON array that are less than `span` old. Those from the future are left-overs of a clock that went back;
/// they must not block for ever.
pub(crate) fn recent(text: &str, now: i64, span: i64) -> Result<Vec<i64>, StoreError> {
    let mut moments: Vec<i64> = parsed(text)?;
    moments.retain(|moment| *moment <= now && now.saturating_sub(*moment) < span);
    Ok(moments)
}

/// How many began in the last hour, and were forced in the last day.
pub(crate) fn counts(begun: &str, forced: &str, now: i64) -> Result<(usize, usize), StoreError> {
    Ok((recent(begun, now, HOUR_MICROS)?.len(), recent(forced, now, DAY_MICROS)?.len()))
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("a token's list of fetches".to_owned()))
}

fn json(moments: &[i64]) -> Result<String, StoreError> {
    serde_json::to_string(moments).map_err(|_| StoreError::Corrupt("a token's list of fetches".to_owned()))
}
