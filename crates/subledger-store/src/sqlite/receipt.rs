//! Receipts: what was answered to a command id.
//!
//! Rows are appended. What finds them by their key, the table `receipt_key`, is in order of the key, so a receipt filed
//! there at once would write a page that hardly any other receipt of its batch writes. Instead the newest receipts wait in
//! memory, and each batch files as many as it adds, in order of their keys, beginning where the batch before left off: those
//! stand on few pages. A receipt waits for a turn around all keys at most. Nothing depends on memory: the rows are in the
//! table, and those that wait are found among the newest when the process starts.

use std::{
    collections::BTreeSet,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, params};
use sqlx::SqliteConnection;

use crate::{
    StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::{ReceiptColumns, ReceiptRow, bytes},
    work::Digest,
};

/// Receipts that wait to be filed when there are enough of them: the more wait, the fewer pages a batch writes, and the
/// longer it takes to find them after a start.
const WAITING: usize = 16_384;

/// The number of the next receipt.
const NEXT: &str =
    "select 1 + max(f.number, coalesce((select max(number) from receipt), 0)) from receipt_filed f";
/// The receipts that wait.
const UNFILED: &str = "select substr(r.key, 1, 8), r.number from receipt_filed f cross join receipt r
     where r.number > f.number and not exists
         (select 1 from receipt_key k where k.prefix = substr(r.key, 1, 8) and k.number = r.number)";

/// The beginning of a key, and the number of the receipt.
type Entry = ([u8; 8], i64);

/// The receipts of a file that wait to be filed. Changed only by who holds the turn to write the file.
#[derive(Debug)]
pub(crate) struct Unfiled {
    waiting: Mutex<Option<Waiting>>,
    /// How many wait.
    most: usize,
}

#[derive(Debug)]
struct Waiting {
    entries: BTreeSet<Entry>,
    /// The last that was filed.
    filed: Entry,
    /// The number of the next receipt. Never used twice while the process runs, or a receipt that was deleted while it waited
    /// would be taken for another.
    next: i64,
    /// A batch is under way. If the next batch finds this, that one broke off. Also set where it is only known what waited at
    /// some time: good enough to read, not to write.
    changing: bool,
}

/// What a batch changes; see [`Unfiled::committed`].
pub(crate) struct Filing {
    added: Vec<Entry>,
    filed: Vec<Entry>,
}

impl Default for Unfiled {
    fn default() -> Self {
        Self { waiting: Mutex::default(), most: WAITING }
    }
}

impl Unfiled {
    fn lock(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is written is committed.
    pub(crate) fn committed(&self, filing: Filing) {
        let mut waiting = self.lock();
        let Some(waiting) = &mut *waiting else { return };
        if let Some(last) = filing.filed.last() {
            waiting.filed = *last;
        }
        for entry in &filing.filed {
            waiting.entries.remove(entry);
        }
        waiting.next += filing.added.len() as i64;
        waiting.entries.extend(filing.added);
        waiting.changing = false;
    }

    /// Nothing was written.
    pub(crate) fn taken_back(&self) {
        if let Some(waiting) = &mut *self.lock() {
            waiting.changing = false;
        }
    }

    /// The numbers of receipts that wait and may have one of these keys, and the number from which on nothing is known; nothing
    /// if it is not known which wait.
    fn like(&self, keys: &[(i64, Digest)]) -> Option<(Vec<i64>, i64)> {
        let waiting = self.lock();
        let waiting = waiting.as_ref()?;
        Some((keys.iter().flat_map(|(_, key)| waiting.like(key)).collect(), waiting.next))
    }

    /// Finds out which receipts wait, for whoever has not written to the file.
    async fn learn(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let failed = while_doing("looking for receipts to file");
        // In this order: what is added in between is known twice rather than not at all.
        let next: i64 = sqlx::query_scalar(NEXT).fetch_one(&mut *connection).await.map_err(failed)?;
        let rows: Vec<(Vec<u8>, i64)> =
            sqlx::query_as(UNFILED).fetch_all(connection).await.map_err(failed)?;
        let entries = rows.into_iter().map(|(prefix, number)| Ok((bytes(prefix)?, number)));
        let entries = entries.collect::<Result<_, StoreError>>()?;
        let learnt = Waiting { entries, filed: Entry::default(), next, changing: true };
        self.lock().get_or_insert(learnt);
        Ok(())
    }
}

impl Waiting {
    /// Finds out which receipts wait.
    fn read(connection: &Connection) -> Result<Self, StoreError> {
        let failed = while_doing("looking for receipts to file");
        let next = connection.query_row(NEXT, [], |row| row.get(0)).map_err(failed)?;
        let mut statement = connection.prepare(UNFILED).map_err(failed)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        let entries = rows.collect::<Result<_, _>>().map_err(failed)?;
        Ok(Self { entries, filed: Entry::default(), next, changing: false })
    }

    fn like(&self, key: &Digest) -> impl Iterator<Item = i64> {
        let prefix = prefix(key);
        self.entries.range((prefix, i64::MIN)..=(prefix, i64::MAX)).map(|(_, number)| *number)
    }

    /// What is to be filed with a batch that adds so many; and if that ends a turn around all keys, the number up to which
    /// all are filed.
    fn due(&self, added: usize, most: usize) -> (Vec<Entry>, Option<i64>) {
        let count = (self.entries.len() + added).saturating_sub(most).min(self.entries.len());
        let ahead = self.entries.range((Bound::Excluded(self.filed), Bound::Unbounded)).take(count);
        let mut due: Vec<Entry> = ahead.copied().collect();
        if due.len() == count {
            return (due, None);
        }
        due.extend(self.entries.iter().take(count - due.len()));
        let first = self.entries.iter().map(|(_, number)| *number).min();
        (due, first.map(|first| first - 1))
    }
}

fn prefix(key: &Digest) -> [u8; 8] {
    std::array::from_fn(|at| key[at])
}

/// The receipts under these keys, as (log id, key).
pub(crate) async fn find_receipts(
    connection: &mut SqliteConnection,
    unfiled: &Unfiled,
    keys: &[(i64, Digest)],
) -> Result<Vec<ReceiptRow>, StoreError> {
    let known = match unfiled.like(keys) {
        None => {
            unfiled.learn(connection).await?;
            unfiled.like(keys)
        }
        known => known,
    };
    // What is filed from here on is found by its number all the same, and what is added by looking at the newest.
    let (like, next) = known.unwrap_or_default();
    let (json, blob) = JsonRows::of(keys, |row, (log, key)| row.int(*log).bytes(key)).into_parts();
    let like = JsonRows::of(like, |row, number| row.int(number)).into_text();
    let rows: Vec<ReceiptColumns<Vec<u8>>> = sqlx::query_as(
        "with wanted (log, key) as materialized
             (select value ->> 0, substr(?2, value ->> 1, value ->> 2) from json_each(?1)),
         found (number) as (
             select k.number from wanted w cross join receipt_key k on k.prefix = substr(w.key, 1, 8)
             union select value ->> 0 from json_each(?3)
             union select number from receipt where number >= ?4)
         select r.log, r.key, r.fingerprint, r.outcome, r.position, r.recorded_at
         from found f cross join receipt r on r.number = f.number
         where (r.log, r.key) in (select log, key from wanted)",
    )
    .bind(json)
    .bind(blob)
    .bind(like)
    .bind(next)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading receipts"))?;
    let receipt = |(log, key, fingerprint, outcome, position, recorded_at): ReceiptColumns<_>| {
        Ok(ReceiptRow {
            log,
            key: bytes(key)?,
            fingerprint: bytes(fingerprint)?,
            outcome: outcome.into(),
            position,
            recorded_at,
        })
    };
    rows.into_iter().map(receipt).collect()
}

/// Adds receipts and files others. Nothing: one is there already. The caller says afterwards what became of the commit.
pub(crate) fn insert_receipts(
    connection: &Connection,
    unfiled: &Unfiled,
    receipts: &[ReceiptRow],
) -> Result<Option<Filing>, StoreError> {
    if receipts.is_empty() {
        return Ok(Some(Filing { added: Vec::new(), filed: Vec::new() }));
    }
    let (mut number, like, (due, all_filed)) = {
        let mut waiting = unfiled.lock();
        let waiting = match &mut *waiting {
            Some(waiting) if !waiting.changing => waiting,
            unknown => unknown.insert(Waiting::read(connection)?),
        };
        waiting.changing = true;
        let like: Vec<(usize, i64)> = receipts
            .iter()
            .enumerate()
            .flat_map(|(at, receipt)| waiting.like(&receipt.key).map(move |number| (at, number)))
            .collect();
        (waiting.next, like, waiting.due(receipts.len(), unfiled.most))
    };
    let failed = while_doing("adding receipts");
    let mut waits = connection
        .prepare_cached("select 1 from receipt where number = ?1 and log = ?2 and key = ?3")
        .map_err(failed)?;
    for (at, number) in like {
        let receipt = &receipts[at];
        if waits.exists(params![number, receipt.log, &receipt.key[..]]).map_err(failed)? {
            return Ok(None);
        }
    }
    let mut is_filed = connection
        .prepare_cached(
            "select 1 from receipt_key k cross join receipt r on r.number = k.number
             where k.prefix = ?1 and r.log = ?2 and r.key = ?3",
        )
        .map_err(failed)?;
    let mut insert = connection
        .prepare_cached(
            "insert into receipt (number, log, key, fingerprint, outcome, position, recorded_at)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .map_err(failed)?;
    let mut added = Vec::with_capacity(receipts.len());
    for receipt in receipts {
        let prefix = prefix(&receipt.key);
        if is_filed.exists(params![&prefix[..], receipt.log, &receipt.key[..]]).map_err(failed)? {
            return Ok(None);
        }
        insert
            .execute(params![
                number,
                receipt.log,
                &receipt.key[..],
                &receipt.fingerprint[..],
                &*receipt.outcome,
                receipt.position,
                receipt.recorded_at
            ])
            .map_err(failed)?;
        added.push((prefix, number));
        number += 1;
    }
    file(connection, &due, all_filed)?;
    Ok(Some(Filing { added, filed: due }))
}

fn file(connection: &Connection, due: &[Entry], all_filed: Option<i64>) -> Result<(), StoreError> {
    let failed = while_doing("filing receipts");
    // One that was deleted while it waited is not filed any more.
    let mut insert = connection
        .prepare_cached(
            "insert or ignore into receipt_key (prefix, number) select ?1, number from receipt where number = ?2",
        )
        .map_err(failed)?;
    for (prefix, number) in due {
        insert.execute(params![&prefix[..], number]).map_err(failed)?;
    }
    if let Some(number) = all_filed {
        connection.execute("update receipt_filed set number = ?1", [number]).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sqlite::migrate::MIGRATIONS;

    const MOST: usize = 40;

    fn receipts(numbers: impl Iterator<Item = u64>) -> Vec<ReceiptRow> {
        let receipt = |number: u64| ReceiptRow {
            log: 1,
            key: std::array::from_fn(|at| blake3::hash(&number.to_le_bytes()).as_bytes()[at]),
            fingerprint: [7; 16],
            outcome: Arc::from("null"),
            position: 1,
            recorded_at: number as i64,
        };
        numbers.map(receipt).collect()
    }

    fn unfiled() -> Unfiled {
        Unfiled { waiting: Mutex::default(), most: MOST }
    }

    fn count(connection: &Connection, sql: &str) -> i64 {
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// As the writer does it: a batch that repeats a receipt is taken back.
    fn write(connection: &mut Connection, unfiled: &Unfiled, receipts: &[ReceiptRow]) -> bool {
        let transaction = connection.transaction().unwrap();
        match insert_receipts(&transaction, unfiled, receipts).unwrap() {
            Some(filing) => {
                transaction.commit().unwrap();
                unfiled.committed(filing);
                true
            }
            None => {
                unfiled.taken_back();
                false
            }
        }
    }

    #[test]
    fn receipts_are_unique_whether_they_wait_or_are_filed() {
        let mut connection = Connection::open_in_memory().unwrap();
        for migration in MIGRATIONS.iter() {
            connection.execute_batch(migration.sql.as_str()).unwrap();
        }
        let connection = &mut connection;
        let mut file = unfiled();
        for batch in 0..50 {
            assert!(write(connection, &file, &receipts(batch * 7..batch * 7 + 7)));
            let all = 7 * (batch as i64 + 1);
            let filed = count(connection, "select count(*) from receipt_key");
            assert_eq!(filed, (all - MOST as i64).max(0));
            assert!(!write(connection, &file, &receipts([1_000_000, batch * 3].into_iter())));
            // A batch that broke off, and a start in between.
            if batch % 8 == 3 {
                insert_receipts(&connection.transaction().unwrap(), &file, &receipts(9_000..9_007)).unwrap();
            }
            if batch % 11 == 5 {
                file = unfiled();
            }
        }
        assert_eq!(count(connection, "select max(number) from receipt"), 350);
        assert!(count(connection, "select number from receipt_filed") > 0);
        for number in 0..350 {
            assert!(!write(connection, &file, &receipts(number..=number)), "receipt {number}");
        }
        // What is deleted while it waits is neither found nor filed.
        for table in ["receipt", "receipt_key"] {
            connection.execute(&format!("delete from {table} where number > 340"), []).unwrap();
        }
        assert!(write(connection, &file, &receipts(340..350)));
        for batch in 0..40 {
            assert!(write(connection, &file, &receipts(1_000 + batch * 5..1_005 + batch * 5)));
        }
        let dangling = "select count(*) from receipt_key k
                        where not exists (select 1 from receipt r where r.number = k.number)";
        assert_eq!(count(connection, dangling), 0);
        assert!(!write(connection, &file, &receipts(345..346)));
    }
}
