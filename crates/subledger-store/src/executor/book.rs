//! One log during one batch: its head as locked and as it will be, the states, and what is to be written.
//!
//! A book is thrown away when its batch fails; only [`Book::close`] lets anything out.

use std::{collections::hash_map::Entry, sync::Arc};

use subledger_domain::{DeliveryId, LogName, StreamName, Timestamp};

use super::{cache::Cache, pushes::Pushes};
use crate::{
    Effect, QueueRow, QueueState, StoreError,
    chain::{self, Record},
    fold::{Unfolded, snapshot_every},
    rows::{
        ContentKey, EventWrite, Forgets, HeadCheck, HeadWrite, LogHead, QueueInsert, QueueMove, ReceiptRow,
        SealedRow, SnapshotRow, StreamWrite, Writes, signed,
    },
    store::{SHARED, place},
    vault::Vault,
    work::{Digest, Draft, Map, ReceiptDigest, Staged, States, Versioned},
};

/// The longest payload of one event, in bytes. Far above any real event; a longer one is a defect of the work.
const MAX_EVENT_BYTES: usize = 1 << 20;
/// The longest stream name, in bytes; longer ones do not fit PostgreSQL's index pages.
const MAX_NAME_BYTES: usize = 512;

/// Versions after which a state is weighed anew; in between, the bytes of its events are added, which is too much for states
/// that do not grow.
const WEIGHED_EVERY: u64 = 16;

/// What is stored of a stream, beside its state.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stored {
    /// Its number; `None` while it has no events, not even in this batch.
    pub(super) number: Option<i64>,
    /// Its version before this batch.
    pub(super) version: u64,
    /// An estimate of its state's size.
    pub(super) bytes: usize,
    /// Whether this batch has appended to it.
    pub(super) moved: bool,
}

/// A receipt.
#[derive(Clone)]
pub(super) struct Receipt {
    pub(super) fingerprint: Digest,
    pub(super) outcome: Arc<str>,
    pub(super) position: u64,
}

/// What the queue effects of a batch come to for one delivery.
#[derive(Default)]
struct QueueChange {
    delete: bool,
    insert: Vec<(QueueRow, QueueState)>,
    change: Option<QueueMove>,
}

/// One log during one batch.
pub(super) struct Book {
    before: LogHead,
    after: LogHead,
    /// The time of all decisions and events of this batch in this log.
    pub(super) now: Timestamp,
    pub(super) states: States,
    pub(super) stored: Map<StreamName, Stored>,
    /// Streams that could not be loaded, and why.
    pub(super) broken: Map<StreamName, Unfolded>,
    /// Receipts, found or made.
    pub(super) receipts: Map<Digest, Receipt>,
    /// Those that this batch makes.
    made: Vec<ReceiptRow>,
    events: Vec<EventWrite>,
    /// Room to put a record of the chain together in.
    record: Vec<u8>,
    queue: Map<DeliveryId, QueueChange>,
    queue_order: Vec<DeliveryId>,
    vaults: Vaults,
    /// Bytes of events and contents so far.
    pub(super) bytes: usize,
}

#[derive(Default)]
struct Vaults {
    forget: Forgets,
    identities: Vec<SealedRow>,
    users: Vec<SealedRow>,
    contents: Vec<SealedRow>,
    secrets: Vec<(String, Vec<u8>)>,
    pushes: Pushes,
}

impl Vaults {
    /// Takes in what a later command of the batch leaves behind: what it deletes is no longer kept.
    fn append(&mut self, mut later: Self) {
        for (log, subject) in std::mem::take(&mut later.forget.identities) {
            self.forget_openid(log, subject);
        }
        for user in std::mem::take(&mut later.forget.users) {
            self.forget_user(user);
        }
        for key in std::mem::take(&mut later.forget.contents) {
            self.forget_content(key);
        }
        self.identities.append(&mut later.identities);
        self.users.append(&mut later.users);
        self.contents.append(&mut later.contents);
        self.secrets.append(&mut later.secrets);
        self.pushes.append(later.pushes);
    }

    fn forget_openid(&mut self, log: i64, subject: [u8; 16]) {
        self.identities.retain(|row| row.key != subject);
        self.forget.identities.push((log, subject));
    }

    fn forget_user(&mut self, user: [u8; 16]) {
        self.users.retain(|row| row.key != user);
        self.forget.users.push(user);
    }

    fn forget_content(&mut self, key: ContentKey) {
        let (_, message, index) = key;
        self.contents.retain(|row| row.key != message || row.index != index);
        self.forget.contents.push(key);
    }
}

impl Book {
    /// Opens a book on a locked head. `taken_over`: somebody else wrote the head last.
    pub(super) fn open(head: LogHead, now: Timestamp, taken_over: bool) -> Self {
        let mut after = head.clone();
        if taken_over {
            after.epoch += 1;
        }
        Self {
            now: now.max(head.recorded_at),
            before: head,
            after,
            states: States::default(),
            stored: Map::default(),
            broken: Map::default(),
            receipts: Map::default(),
            made: Vec::new(),
            events: Vec::new(),
            record: Vec::new(),
            queue: Map::default(),
            queue_order: Vec::new(),
            vaults: Vaults::default(),
            bytes: 0,
        }
    }

    pub(super) fn log(&self) -> &LogName {
        &self.before.name
    }

    pub(super) fn log_id(&self) -> i64 {
        self.before.id
    }

    /// The newest position before this batch.
    pub(super) fn position_before(&self) -> u64 {
        self.before.position
    }

    /// The newest position, counting this batch.
    pub(super) fn position(&self) -> u64 {
        self.after.position
    }

    /// Adds a receipt that was found.
    pub(super) fn found_receipt(&mut self, row: ReceiptRow) -> Result<(), StoreError> {
        let position = crate::rows::unsigned(row.position)?;
        let outcome = row.outcome;
        let receipt = Receipt { fingerprint: row.fingerprint, outcome, position };
        // One that this batch makes stays: the write must find out.
        self.receipts.entry(row.key).or_insert(receipt);
        Ok(())
    }

    /// A state as this batch leaves it, for the batch after it.
    pub(super) fn state(&self, name: &StreamName) -> Option<(Versioned, Stored)> {
        let versioned = self.states.get(name)?.clone();
        let stored = self.stored.get(name).copied().unwrap_or_default();
        let version = versioned.version;
        Some((versioned, Stored { version, moved: false, ..stored }))
    }

    /// Adds a receipt that the batch under way makes.
    pub(super) fn borrow_receipt(&mut self, key: Digest, receipt: &Receipt) {
        self.receipts.insert(key, receipt.clone());
    }

    /// The head as this batch leaves it.
    pub(super) fn head_after(&self) -> &LogHead {
        &self.after
    }

    /// Takes in what an accepted command leaves behind; on an error nothing of it is taken.
    pub(super) fn accept(
        &mut self,
        vault: &Vault,
        staged: Staged,
        cause: &Arc<str>,
        receipt: Option<(ReceiptDigest, String)>,
    ) -> Result<(), String> {
        let drafts = staged.drafts.into_iter().map(checked).collect::<Result<Vec<_>, _>>()?;
        let mut sealed = Vaults::default();
        let mut queue = Vec::new();
        for effect in staged.effects {
            self.seal(vault, effect, &mut sealed, &mut queue)?;
        }
        // From here on nothing fails.
        for draft in drafts {
            self.append(draft, cause);
        }
        self.states.extend(staged.states);
        for effect in queue {
            self.enqueue(effect);
        }
        self.vaults.append(sealed);
        if let Some((ReceiptDigest { key, fingerprint }, outcome)) = receipt {
            self.bytes += outcome.len();
            let (log, recorded_at) = (self.before.id, self.now.micros());
            let (position, outcome) = (self.after.position, Arc::<str>::from(outcome));
            let row = ReceiptRow {
                log,
                key,
                fingerprint,
                outcome: Arc::clone(&outcome),
                position: signed(position),
                recorded_at,
            };
            self.made.push(row);
            self.receipts.insert(key, Receipt { fingerprint, outcome, position });
        }
        Ok(())
    }

    fn append(&mut self, draft: Checked, cause: &Arc<str>) {
        let stored = self.stored.entry(draft.stream.clone()).or_default();
        let number = *stored.number.get_or_insert_with(|| {
            self.after.streams += 1;
            self.after.streams
        });
        stored.moved = true;
        stored.bytes += draft.data.len();
        self.after.position += 1;
        self.after.recorded_at = self.now;
        self.after.link = chain::link(
            &self.after.link,
            &Record {
                log: self.before.name.as_str(),
                position: self.after.position,
                stream: draft.stream.as_str(),
                version: draft.version,
                kind: draft.kind.unsigned_abs(),
                schema: draft.schema.unsigned_abs(),
                recorded_at: self.now.micros(),
                data: draft.data.as_bytes(),
                cause: cause.as_bytes(),
            },
            &mut self.record,
        );
        self.bytes += draft.data.len() + cause.len();
        self.events.push(EventWrite {
            log: self.before.id,
            position: signed(self.after.position),
            stream: number,
            version: signed(draft.version),
            kind: draft.kind,
            schema: draft.schema,
            recorded_at: self.now.micros(),
            data: draft.data,
            cause: Arc::clone(cause),
            link: self.after.link,
        });
    }

    fn seal(
        &mut self,
        vault: &Vault,
        effect: Effect,
        sealed: &mut Vaults,
        queue: &mut Vec<Effect>,
    ) -> Result<(), String> {
        use secrecy::ExposeSecret;
        let seal =
            |place: &[&[u8]], value: &[u8]| vault.seal(place, value).map_err(|error| error.to_string());
        let (log, name) = (self.before.id, self.before.name.as_str());
        match effect {
            Effect::KeepOpenid { subject, openid } => {
                let key = *subject.as_bytes();
                let value = seal(&place::identity(name, &key), openid.as_str().as_bytes())?;
                sealed.identities.push(SealedRow { log, key, index: 0, sealed: value });
            }
            Effect::KeepUserId { user, userid } => {
                let key = *user.as_bytes();
                let value = seal(&place::user(&key), userid.as_str().as_bytes())?;
                sealed.users.push(SealedRow { log, key, index: 0, sealed: value });
            }
            Effect::KeepContent { delivery, shared, contents } => {
                let key = *delivery.message.as_bytes();
                let index = if shared { SHARED } else { i64::from(delivery.index) };
                let value = seal(&place::content(name, &key, &index.to_le_bytes()), &contents)?;
                self.bytes += value.len();
                sealed.contents.push(SealedRow { log, key, index, sealed: value });
            }
            Effect::ForgetOpenid { subject } => sealed.forget_openid(log, *subject.as_bytes()),
            Effect::ForgetUserId { user } => sealed.forget_user(*user.as_bytes()),
            Effect::ForgetContent { delivery, shared } => {
                let index = if shared { SHARED } else { i64::from(delivery.index) };
                sealed.forget_content((log, *delivery.message.as_bytes(), index));
            }
            Effect::KeepSecret { reference, secret } => {
                let value = seal(&place::secret(&reference), secret.expose_secret().as_bytes())?;
                sealed.secrets.push((reference, value));
            }
            Effect::KeepPush(row) => self.bytes += sealed.pushes.keep(vault, (log, name), row)?,
            Effect::SettlePush { key, state, effect } => sealed.pushes.settle(key, state, effect)?,
            Effect::ForgetPushes { subject } => sealed.pushes.forget(subject),
            effect => queue.push(effect),
        }
        Ok(())
    }

    fn enqueue(&mut self, effect: Effect) {
        let (delivery, state, due_at, attempts) = match effect {
            Effect::Enqueue(row) => {
                let change = self.queue_change(row.delivery);
                change.change = None;
                change.insert.push((row, QueueState::Queued));
                return;
            }
            Effect::Dequeue(delivery) => {
                let change = self.queue_change(delivery);
                *change = QueueChange { delete: true, ..QueueChange::default() };
                return;
            }
            Effect::MarkStarted(delivery) => (delivery, QueueState::Started, None, 1),
            Effect::Requeue { delivery, due_at } => (delivery, QueueState::Queued, Some(due_at), 0),
            Effect::MarkInDoubt(delivery) => (delivery, QueueState::InDoubt, None, 0),
            // Sealed before; see `seal`.
            _ => return,
        };
        let log = self.before.id;
        let change = self.queue_change(delivery);
        if let Some((row, at)) = change.insert.last_mut() {
            *at = state;
            row.due_at = due_at.unwrap_or(row.due_at);
            row.attempts = row.attempts.saturating_add(attempts);
        } else if !change.delete {
            let due_at = due_at.map(Timestamp::micros);
            let attempts = i64::from(attempts);
            let moved =
                change.change.get_or_insert(QueueMove { log, delivery, state, due_at: None, attempts: 0 });
            moved.state = state;
            moved.due_at = due_at.or(moved.due_at);
            moved.attempts += attempts;
        }
    }

    fn queue_change(&mut self, delivery: DeliveryId) -> &mut QueueChange {
        match self.queue.entry(delivery) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.queue_order.push(delivery);
                entry.insert(QueueChange::default())
            }
        }
    }

    /// Adds what this log needs written, and unless its head is locked, checked. The events leave the book, the rest stays for [`Self::close`].
    pub(super) fn collect(&mut self, writes: &mut Writes, locked: bool) {
        let log = self.before.id;
        let receipts = !self.made.is_empty();
        if self.events.is_empty() && receipts {
            // Receipts are checked against what others wrote through the head, so it must move for them too.
            self.after.epoch += 1;
        }
        if !self.events.is_empty() || receipts {
            writes.heads.push(HeadWrite {
                id: log,
                position_before: signed(self.before.position),
                epoch_before: self.before.epoch,
                position: signed(self.after.position),
                link: self.after.link,
                epoch: self.after.epoch,
                streams: self.after.streams,
                recorded_at: self.after.recorded_at.micros(),
            });
        } else {
            self.after = self.before.clone();
            if !locked {
                writes.checks.push(HeadCheck {
                    id: log,
                    position: signed(self.before.position),
                    epoch: self.before.epoch,
                });
            }
        }
        writes.events.append(&mut self.events);
        let streams = writes.new_streams.len();
        for (name, stored) in self.stored.iter_mut().filter(|(_, stored)| stored.moved) {
            let (Some(number), Some(versioned)) = (stored.number, self.states.get(name)) else { continue };
            if stored.version == 0 {
                writes.new_streams.push(StreamWrite { log, number, name: name.clone() });
            }
            if versioned.version / WEIGHED_EVERY > stored.version / WEIGHED_EVERY {
                stored.bytes = versioned.state.weight();
            }
            let every = snapshot_every(stored.bytes);
            if versioned.version / every > stored.version / every {
                let state = versioned.state.snapshot().ok().and_then(|json| String::from_utf8(json).ok());
                // A state that cannot be written as JSON is only slower to load.
                let Some(state) = state else { continue };
                stored.bytes = state.len();
                let version = signed(versioned.version);
                writes.snapshots.push(SnapshotRow { log, stream: number, version, state });
            }
        }
        writes.new_streams[streams..].sort_unstable_by_key(|stream| stream.number);
        writes.receipts.append(&mut self.made);
        self.collect_queue(writes);
        writes.forget.append(&mut self.vaults.forget);
        writes.identities.append(&mut self.vaults.identities);
        writes.users.append(&mut self.vaults.users);
        writes.contents.append(&mut self.vaults.contents);
        writes.secrets.append(&mut self.vaults.secrets);
        self.vaults.pushes.collect(log, &mut writes.pushes);
    }

    fn collect_queue(&mut self, writes: &mut Writes) {
        let log = self.before.id;
        for delivery in self.queue_order.drain(..) {
            let Some(change) = self.queue.remove(&delivery) else { continue };
            if change.delete {
                writes.queue.delete.push((log, delivery));
            }
            let insert = change.insert.into_iter().map(|(row, state)| QueueInsert { log, row, state });
            writes.queue.insert.extend(insert);
            match change.change {
                Some(moved) if moved.state == QueueState::Started => writes.queue.start.push(moved),
                Some(moved) => writes.queue.idle.push(moved),
                None => {}
            }
        }
    }

    /// After the commit: hands the states and the head to the cache. Answers with the head as it is now.
    pub(super) fn close(self, cache: &mut Cache) -> LogHead {
        for (name, versioned) in self.states {
            let stored = self.stored.get(&name).copied().unwrap_or_default();
            cache.keep(&self.before.name, name, versioned, stored.number, stored.bytes);
        }
        for (key, receipt) in self.receipts {
            cache.remember(&self.before.name, key, receipt);
        }
        cache.moved(self.after.clone());
        self.after
    }
}

struct Checked {
    stream: StreamName,
    version: u64,
    kind: i16,
    schema: i16,
    data: String,
}

/// What no database could store is refused before it can spoil a batch.
fn checked(draft: Draft) -> Result<Checked, String> {
    let Draft { stream, version, kind, schema, data } = draft;
    if data.len() > MAX_EVENT_BYTES {
        return Err(format!("an event of {} bytes; at most {MAX_EVENT_BYTES}", data.len()));
    }
    if stream.as_str().len() > MAX_NAME_BYTES {
        return Err(format!("a stream name of {} bytes; at most {MAX_NAME_BYTES}", stream.as_str().len()));
    }
    if stream.as_str().contains('\0') || data.contains(&0) {
        return Err(format!("an event of kind {kind} with a NUL, which PostgreSQL does not store"));
    }
    let data = String::from_utf8(data).map_err(|_| format!("an event of kind {kind} that is not UTF-8"))?;
    let (Ok(kind), Ok(schema)) = (i16::try_from(kind), i16::try_from(schema)) else {
        return Err(format!("kind {kind} or schema {schema} is out of range"));
    };
    Ok(Checked { stream, version, kind, schema, data })
}
