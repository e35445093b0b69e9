//! Re-sealing: bringing values that were sealed under older data keys under the newest.
//!
//! Tables are gone through in order of their keys, in small pieces. A value is replaced only if it is still what was read, so
//! the service goes on beside it: what was written or deleted meanwhile stays written or deleted. Each piece is one
//! transaction with the position it leads to, so a process that dies loses at most one piece, and doing a piece twice does
//! nothing the second time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use subledger_domain::Timestamp;

use super::{KeyError, Store, keys::LEASE_FOR};
use crate::{
    StoreError,
    rows::{
        keys::{KeyValue, Part, Replacement, ResealRow, SEALED, SealedColumn, number},
        unsigned,
    },
    vault::{DataKeyId, NotOpened},
};

/// After how many looks what still is under an older key is reported instead of being looked for once more.
const LOOKS: u32 = 5;
/// Between looks: what other nodes were about to write when the key was made is written by then.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// How long nodes are waited for that have not taken up the new data key.
const NODES_FOR: Duration = Duration::from_secs(40);
/// The longest rest between two pieces; less is taken if a piece took less.
const LONGEST_REST: Duration = Duration::from_millis(100);

/// How to go about it.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Values read at once, 1 to 10,000.
    pub values: u32,
    /// The least rest between two pieces.
    pub rest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { values: 200, rest: Duration::ZERO }
    }
}

/// How far a table has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resealed {
    /// The table.
    pub table: &'static str,
    /// Values it held when this began, a little more or less.
    pub total: u64,
    /// Values looked at.
    pub seen: u64,
    /// Values that were sealed anew.
    pub resealed: u64,
    /// Values that do not open: they were damaged before, and stay as they are.
    pub damaged: u64,
    /// Values that were left under older keys, damaged ones included. Counted at the end.
    pub left: u64,
    /// How long it took, without the time between two runs.
    pub took: Duration,
    /// When it began.
    pub started_at: Timestamp,
}

/// What re-sealing came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResealReport {
    /// The data key that values are sealed under now.
    pub data_key: u16,
    /// The tables.
    pub tables: Vec<Resealed>,
    /// Nodes that run and do not know that key: what they write is sealed under an older one.
    pub behind: Vec<String>,
    /// Whether nothing is left under older keys, and they are retired.
    pub retired: bool,
}

/// A table under way.
struct Way {
    of: &'static SealedColumn,
    key: DataKeyId,
    after: Option<Vec<KeyValue>>,
    seen: u64,
    resealed: u64,
    damaged: u64,
    took: Duration,
    started_at: i64,
    done_at: Option<i64>,
}

impl Store {
    /// How many sealed values each table holds under older data keys than the newest, as far as they say so themselves. Values
    /// from before keys had numbers always count.
    pub async fn left_to_reseal(&self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let key = self.inner.vault.ring().current();
        let mut left = Vec::with_capacity(SEALED.len());
        for of in SEALED {
            let mut reader = self.inner.database.reader().await?;
            left.push((of.table, unsigned(reader.session().count_others(of, key).await?)?));
        }
        Ok(left)
    }

    /// Whether a data key was made and re-sealing has not come to its end since: it did not begin, was stopped, or goes on.
    pub async fn reseal_is_unfinished(&self) -> Result<bool, StoreError> {
        let mut reader = self.inner.database.reader().await?;
        let mut session = reader.session();
        let keys = session.data_keys().await?;
        let Some((newest, ..)) = keys.last().copied() else { return Ok(false) };
        if keys.iter().all(|(id, _, retired_at)| *id == newest || retired_at.is_some()) {
            return Ok(false);
        }
        let done = session.progress().await?;
        let is_done =
            |of: &SealedColumn| done.iter().any(|row| row.0 == of.tag && row.1 == newest && row.8.is_some());
        Ok(!SEALED.iter().all(is_done))
    }

    /// Seals every value under the newest data key that is under another, goes on where an earlier run has stopped, and
    /// retires the older keys if nothing is left under them. Run again when it is done, it looks at everything once more.
    ///
    /// `watch` is told of each piece.
    pub async fn reseal(
        &self,
        pace: Pace,
        mut watch: impl FnMut(&Resealed) + Send,
    ) -> Result<ResealReport, KeyError> {
        let lease = self.lease_keys().await?;
        let report = self.reseal_all(pace, &lease, &mut watch).await;
        self.lease_release(&[lease]).await?;
        report
    }

    async fn reseal_all(
        &self,
        pace: Pace,
        lease: &super::Lease,
        watch: &mut (impl FnMut(&Resealed) + Send),
    ) -> Result<ResealReport, KeyError> {
        self.reload_keys().await?;
        let key = self.inner.vault.ring().current();
        let behind = self.wait_for_nodes(key, lease).await?;
        let mut tables = Vec::with_capacity(SEALED.len());
        let ways = self.ways(key).await?;
        for mut way in ways {
            let total = unsigned(self.inner.database.reader().await?.session().count(way.of).await?)?;
            self.go(&mut way, None, pace, total, lease, watch).await?;
            let mut left = 0;
            for look in 0..LOOKS {
                let mut reader = self.inner.database.reader().await?;
                left = unsigned(reader.session().count_others(way.of, key).await?)?;
                drop(reader);
                // What does not open stays and is not looked at again.
                if left <= way.damaged || look + 1 == LOOKS {
                    break;
                }
                tokio::time::sleep(BETWEEN_LOOKS).await;
                way.after = None;
                let damaged = std::mem::take(&mut way.damaged);
                self.go(&mut way, Some(key), pace, total, lease, watch).await?;
                way.damaged = way.damaged.max(damaged);
            }
            tables.push(Resealed { left, ..way.told(total) });
        }
        let retired = behind.is_empty() && tables.iter().all(|table| table.left == 0);
        if retired {
            let now = self.inner.clock.now().micros();
            self.inner.database.unclaimed().await?.session().retire(key, now).await?;
        }
        Ok(ResealReport { data_key: key, tables, behind, retired })
    }

    /// The tables, each as far as it has come. If all are done, all begin anew.
    async fn ways(&self, key: DataKeyId) -> Result<Vec<Way>, StoreError> {
        let now = self.inner.clock.now().micros();
        let rows = self.inner.database.reader().await?.session().progress().await?;
        let rows: HashMap<String, ResealRow> = rows.into_iter().map(|row| (row.0.clone(), row)).collect();
        let mut ways = Vec::with_capacity(SEALED.len());
        for of in SEALED {
            let known = rows.get(of.tag).map(|row| Way::known(of, row)).transpose()?;
            ways.push(known.filter(|way| way.key == key).unwrap_or_else(|| Way::new(of, key, now)));
        }
        if ways.iter().all(|way| way.done_at.is_some()) {
            ways = SEALED.iter().map(|of| Way::new(of, key, now)).collect();
        }
        Ok(ways)
    }

    /// Goes through a table from where it stands to its end; with `but`, only through values that do not name that key.
    async fn go(
        &self,
        way: &mut Way,
        but: Option<DataKeyId>,
        pace: Pace,
        total: u64,
        lease: &super::Lease,
        watch: &mut (impl FnMut(&Resealed) + Send),
    ) -> Result<(), KeyError> {
        if but.is_none() && way.done_at.is_some() {
            return Ok(());
        }
        let mut renewed = Instant::now();
        loop {
            let began = Instant::now();
            let more = self.piece(way, but, pace.values).await?;
            watch(&way.told(total));
            if !more {
                return Ok(());
            }
            if renewed.elapsed() > LEASE_FOR / 3 {
                renewed = Instant::now();
                if !self.lease_renew(lease, LEASE_FOR).await? {
                    return Err(KeyError::Busy);
                }
            }
            // At most half of the time is taken from those who work beside it.
            tokio::time::sleep(pace.rest.max(began.elapsed().min(LONGEST_REST))).await;
        }
    }

    /// One piece. Answers whether there may be more.
    async fn piece(&self, way: &mut Way, but: Option<DataKeyId>, values: u32) -> Result<bool, StoreError> {
        let began = Instant::now();
        let limit = values.clamp(1, 10_000);
        let (rows, logs) = {
            let mut reader = self.inner.database.reader().await?;
            let mut session = reader.session();
            let rows = session.page(way.of, way.after.as_deref(), but, i64::from(limit)).await?;
            (rows, session.log_names().await?.into_iter().collect::<HashMap<_, _>>())
        };
        let more = u64::try_from(rows.len()).unwrap_or(u64::MAX) == u64::from(limit);
        let ring = self.inner.vault.ring();
        let mut replacements = Vec::new();
        for (key, old) in rows {
            way.seen += u64::from(but.is_none());
            way.after = Some(key.clone());
            let Some(place) = way.of.place(&key, |log| logs.get(&log).map(String::as_str)) else {
                way.damaged += 1;
                continue;
            };
            let place: Vec<&[u8]> = place.iter().map(Vec::as_slice).collect();
            match ring.open(&place, &old) {
                Ok((of, _)) if of == ring.current() => {}
                Ok((_, value)) => {
                    let new = ring.seal(&place, &value)?;
                    replacements.push(Replacement { key, old, new });
                }
                Err(NotOpened::UnknownKey(_) | NotOpened::Damaged) => {
                    way.damaged += 1;
                    tracing::error!(table = way.of.table, "a sealed value does not open; it stays as it is");
                }
            }
        }
        if !more {
            way.done_at = Some(self.inner.clock.now().micros());
        }
        way.took += began.elapsed();
        let mut writer = self.inner.database.unclaimed().await?;
        way.resealed += writer.session().replace_sealed(way.of, &replacements, &way.row()?).await?;
        Ok(more)
    }

    /// Waits until every running node seals under this key. Answers with those that still do not.
    async fn wait_for_nodes(&self, key: DataKeyId, lease: &super::Lease) -> Result<Vec<String>, KeyError> {
        let until = Instant::now() + NODES_FOR;
        loop {
            let nodes = self.key_state().await?.nodes;
            let behind = nodes.into_iter().filter(|node| node.data_key < key);
            let behind: Vec<String> = behind.map(|node| node.name).collect();
            if behind.is_empty() || Instant::now() >= until {
                return Ok(behind);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            if !self.lease_renew(lease, LEASE_FOR).await? {
                return Err(KeyError::Busy);
            }
        }
    }
}

impl SealedColumn {
    /// What a value in the row with this key is bound to. `None`: its log is not there.
    fn place<'a>(&self, key: &[KeyValue], log: impl Fn(i64) -> Option<&'a str>) -> Option<Vec<Vec<u8>>> {
        let mut place = vec![self.tag.as_bytes().to_vec()];
        for ((_, part), value) in self.key.iter().zip(key) {
            place.push(match (part, value) {
                (Part::Log, KeyValue::Number(id)) => log(*id)?.as_bytes().to_vec(),
                (_, KeyValue::Number(number)) => number.to_le_bytes().to_vec(),
                (_, KeyValue::Text(text)) => text.as_bytes().to_vec(),
                (_, KeyValue::Bytes(bytes)) => bytes.clone(),
            });
        }
        Some(place)
    }
}

impl Way {
    fn new(of: &'static SealedColumn, key: DataKeyId, now: i64) -> Self {
        Self {
            of,
            key,
            after: None,
            seen: 0,
            resealed: 0,
            damaged: 0,
            took: Duration::ZERO,
            started_at: now,
            done_at: None,
        }
    }

    fn known(of: &'static SealedColumn, row: &ResealRow) -> Result<Self, StoreError> {
        let (_, key, position, seen, resealed, damaged, micros, started_at, done_at) = row;
        let broken = |_| StoreError::Corrupt(format!("the position of re-sealing {}", of.tag));
        Ok(Self {
            of,
            key: number(*key)?,
            after: position.as_deref().map(serde_json::from_str).transpose().map_err(broken)?,
            seen: unsigned(*seen)?,
            resealed: unsigned(*resealed)?,
            damaged: unsigned(*damaged)?,
            took: Duration::from_micros(unsigned(*micros)?),
            started_at: *started_at,
            done_at: *done_at,
        })
    }

    fn row(&self) -> Result<ResealRow, StoreError> {
        let broken = |_| StoreError::Corrupt(format!("the position of re-sealing {}", self.of.tag));
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let position = self.after.as_ref().map(serde_json::to_string).transpose().map_err(broken)?;
        Ok((
            self.of.tag.to_owned(),
            i64::from(self.key),
            position,
            signed(self.seen),
            signed(self.resealed),
            signed(self.damaged),
            i64::try_from(self.took.as_micros()).unwrap_or(i64::MAX),
            self.started_at,
            self.done_at,
        ))
    }

    fn told(&self, total: u64) -> Resealed {
        Resealed {
            table: self.of.table,
            total: total.max(self.seen),
            seen: self.seen,
            resealed: self.resealed,
            damaged: self.damaged,
            left: 0,
            took: self.took,
            started_at: Timestamp::from_micros(self.started_at),
        }
    }
}

#[cfg(test)]
mod tests;
