//! The book of pushes: what was made, what waits for its delivery, and in which order it goes.
//!
//! A push is one job for each copy. Pushes of one user go one at a time and in the order they were made; one that waits
//! (held back by a fault, or for its next delivery) does not hold up the others. Jobs carry all that a delivery needs, so
//! an entry that the journal dropped is still delivered.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;

use super::fault::{Fate, PushFaults};
use super::{Delivery, DeliveryVerdict, PushEntry, PushState, PushSums, Target};
use crate::clock::{Millis, SECOND};
use crate::journal::Journal;

/// Most jobs that wait; a push beyond them is given up at once.
const MOST_WAITING: usize = 1_000_000;
/// Newest pushes whose bodies are kept to look at.
const BODIES_KEPT: u64 = 10_000;

/// What a delivery carries: the same for every copy and every repetition.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(super) target: Arc<Target>,
    /// `openid` of the query, which what a platform is told about itself does not have.
    pub(super) openid: Option<String>,
    pub(super) body: String,
    pub(super) encrypt: Option<String>,
    /// Nonces are derived from it.
    pub(super) salt: u64,
    /// Deliveries in all until one is taken.
    pub(super) deliveries: u32,
    /// Repetitions get a new timestamp and nonce.
    pub(super) renew: bool,
}

/// A user of an app.
type Lane = (String, String);

/// One copy of a push on its way.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(super) key: u64,
    push: u64,
    pub(super) copy: u32,
    /// The delivery that comes next, from 1.
    pub(super) number: u32,
    /// `timestamp` of the first delivery, in seconds.
    pub(super) stamp: Option<i64>,
    pub(super) parcel: Arc<Parcel>,
    lane: Lane,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Ready(u64),
    /// Until then, unless something releases it.
    Later(Instant),
    /// Until the sandbox's clock gets there, unless something releases it.
    Simulated(Millis),
    /// Until then, whatever happens: the pause before a repetition.
    Retry(Instant),
    Flying,
}

/// What the worker is to do.
#[derive(Debug)]
pub(super) enum Next {
    Deliver(Box<Job>),
    /// Nothing before this instant, unless it is woken.
    At(Instant),
    Idle,
}

/// A push with jobs left.
#[derive(Debug)]
struct Open {
    jobs: u32,
    taken: bool,
}

#[derive(Debug)]
pub(crate) struct PushBook {
    pub(crate) journal: Journal<PushEntry>,
    pub(crate) sums: BTreeMap<String, PushSums>,
    pub(super) faults: PushFaults,
    jobs: HashMap<u64, Job>,
    open: HashMap<u64, Open>,
    /// Jobs of each app.
    waiting: HashMap<String, usize>,
    ready: BTreeMap<u64, u64>,
    timed: BTreeSet<(Instant, u64)>,
    simulated: BTreeSet<(Millis, u64)>,
    /// Jobs that faults hold back.
    held_back: BTreeSet<u64>,
    /// Reordered jobs that wait to be overtaken.
    reordered: HashMap<Lane, Vec<u64>>,
    busy: HashSet<Lane>,
    last_key: u64,
    last_ticket: u64,
    /// Something changed that the worker or a waiting caller should look at.
    news: bool,
}

impl PushBook {
    pub(crate) fn new(journal_limit: usize, last_seq: u64, last_key: u64) -> Self {
        Self {
            journal: Journal::new(journal_limit, last_seq),
            sums: BTreeMap::new(),
            faults: PushFaults::default(),
            jobs: HashMap::new(),
            open: HashMap::new(),
            waiting: HashMap::new(),
            ready: BTreeMap::new(),
            timed: BTreeSet::new(),
            simulated: BTreeSet::new(),
            held_back: BTreeSet::new(),
            reordered: HashMap::new(),
            busy: HashSet::new(),
            last_key,
            last_ticket: 0,
            news: true,
        }
    }

    /// An empty book whose numbers go on: deliveries still on the wire must not be taken for later ones.
    pub(crate) fn emptied(&self, journal_limit: usize) -> Self {
        Self::new(journal_limit, self.journal.last_seq(), self.last_key)
    }

    /// True once after each change.
    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// The clock moved.
    pub(crate) fn nudge(&mut self) {
        self.news = true;
    }

    /// Records a push and queues it, as the faults in force will have it.
    pub(super) fn add(
        &mut self,
        mut entry: PushEntry,
        parcel: Arc<Parcel>,
        now: Millis,
        dice: &mut StdRng,
    ) -> u64 {
        let push = self.journal.last_seq() + 1;
        let fate = self.faults.fate(&entry, push, dice);
        let sums = self.sums.entry(entry.event.clone()).or_default();
        sums.made += 1;
        entry.faults.clone_from(&fate.kinds);
        if fate.lost {
            sums.lost += 1;
            entry.state = PushState::Lost;
        } else if self.jobs.len() >= MOST_WAITING {
            sums.given_up += 1;
            entry.state = PushState::GivenUp;
        }
        let (queued, lane) = (entry.state == PushState::Waiting, (entry.appid.clone(), entry.openid.clone()));
        self.journal.append(entry);
        if queued {
            self.queue(push, &lane, &parcel, &fate, now);
        }
        if let Some(old) = push.checked_sub(BODIES_KEPT).and_then(|seq| self.journal.get_mut(seq)) {
            old.body = None;
        }
        push
    }

    fn queue(&mut self, push: u64, lane: &Lane, parcel: &Arc<Parcel>, fate: &Fate, now: Millis) {
        let jobs = 1 + fate.more_copies;
        self.open.insert(push, Open { jobs, taken: false });
        let instant = Instant::now();
        let after = |ms: u64| instant + Duration::from_millis(ms);
        // A push that finds another one waiting to be overtaken overtakes it, fault or not.
        let reorder = fate.reorder_ms.filter(|_| !self.reordered.contains_key(lane));
        let place = match (fate.late_ms, fate.late_seconds, reorder) {
            (Some(ms), _, _) | (None, None, Some(ms)) => Place::Later(after(ms)),
            (None, Some(seconds), _) => {
                let seconds = Millis::try_from(seconds).unwrap_or(Millis::MAX);
                Place::Simulated(now.saturating_add(seconds.saturating_mul(SECOND)))
            }
            (None, None, None) => Place::Ready(0),
        };
        for copy in 1..=jobs {
            self.last_key += 1;
            let key = self.last_key;
            let job = Job {
                key,
                push,
                copy,
                number: 1,
                stamp: None,
                parcel: Arc::clone(parcel),
                lane: lane.clone(),
                place: Place::Flying,
            };
            self.jobs.insert(key, job);
            *self.waiting.entry(lane.0.clone()).or_default() += 1;
            self.put(key, place);
            if reorder.is_some() && fate.late_ms.is_none() && fate.late_seconds.is_none() {
                self.reordered.entry(lane.clone()).or_default().push(key);
            }
        }
        if matches!(place, Place::Ready(_)) {
            for overtaken in self.reordered.remove(lane).unwrap_or_default() {
                self.put(overtaken, Place::Ready(0));
            }
        }
    }

    /// Moves a job to a place; a ticket is drawn for one that becomes ready.
    fn put(&mut self, key: u64, place: Place) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        self.held_back.remove(&key);
        // What `timed` and `simulated` still say of the old place is ignored when its time comes.
        let place = match place {
            Place::Ready(_) => {
                self.last_ticket += 1;
                self.ready.insert(self.last_ticket, key);
                Place::Ready(self.last_ticket)
            }
            other => other,
        };
        match place {
            Place::Later(at) => {
                self.timed.insert((at, key));
                self.held_back.insert(key);
            }
            Place::Simulated(at) => {
                self.simulated.insert((at, key));
                self.held_back.insert(key);
            }
            Place::Retry(at) => {
                self.timed.insert((at, key));
            }
            Place::Ready(_) | Place::Flying => {}
        }
        job.place = place;
        self.news = true;
    }

    /// The next delivery. Its job flies until [`Self::finish`].
    pub(super) fn next(&mut self, now: Instant, clock: Millis) -> Next {
        while let Some(&(at, key)) = self.timed.first()
            && at <= now
        {
            self.timed.pop_first();
            let place = self.jobs.get(&key).map(|job| job.place);
            if place == Some(Place::Later(at)) || place == Some(Place::Retry(at)) {
                self.forget_reordered(key);
                self.put(key, Place::Ready(0));
            }
        }
        while let Some(&(at, key)) = self.simulated.first()
            && at <= clock
        {
            self.simulated.pop_first();
            if self.jobs.get(&key).map(|job| job.place) == Some(Place::Simulated(at)) {
                self.put(key, Place::Ready(0));
            }
        }
        let free = |key: &u64| self.jobs.get(key).is_some_and(|job| !self.busy.contains(&job.lane));
        let found = self.ready.iter().find(|(_, key)| free(key)).map(|(ticket, key)| (*ticket, *key));
        if let Some((ticket, key)) = found
            && let Some(job) = self.jobs.get_mut(&key)
        {
            self.ready.remove(&ticket);
            job.place = Place::Flying;
            self.busy.insert(job.lane.clone());
            job.stamp = job.stamp.filter(|_| !job.parcel.renew).or(Some(clock.div_euclid(SECOND)));
            return Next::Deliver(Box::new(job.clone()));
        }
        self.timed.first().map_or(Next::Idle, |(at, _)| Next::At(*at))
    }

    fn forget_reordered(&mut self, key: u64) {
        let Some(lane) = self.jobs.get(&key).map(|job| job.lane.clone()) else { return };
        if let Some(keys) = self.reordered.get_mut(&lane) {
            keys.retain(|k| *k != key);
            if keys.is_empty() {
                self.reordered.remove(&lane);
            }
        }
    }

    /// Books what came of a delivery.
    pub(super) fn finish(&mut self, job: &Job, delivery: Delivery) {
        if !self.jobs.contains_key(&job.key) {
            // From before a reset.
            return;
        }
        self.busy.remove(&job.lane);
        self.news = true;
        let taken = delivery.verdict == DeliveryVerdict::Taken;
        let event = self.journal.get_mut(job.push).map(|entry| {
            entry.deliveries.push(delivery);
            if taken {
                entry.state = PushState::Taken;
            }
            entry.event.clone()
        });
        if let Some(sums) = event.as_ref().and_then(|event| self.sums.get_mut(event)) {
            sums.deliveries += 1;
        }
        if !taken && job.number < job.parcel.deliveries {
            if let Some(kept) = self.jobs.get_mut(&job.key) {
                kept.number += 1;
            }
            let pause = Duration::from_millis(job.parcel.target.view.retry_ms);
            self.put(job.key, Place::Retry(Instant::now() + pause));
            return;
        }
        self.jobs.remove(&job.key);
        if let Some(waiting) = self.waiting.get_mut(&job.lane.0) {
            *waiting = waiting.saturating_sub(1);
        }
        let Some(open) = self.open.get_mut(&job.push) else { return };
        open.jobs = open.jobs.saturating_sub(1);
        open.taken |= taken;
        if open.jobs > 0 {
            return;
        }
        let taken = open.taken;
        self.open.remove(&job.push);
        if let Some(entry) = self.journal.get_mut(job.push)
            && !taken
        {
            entry.state = PushState::GivenUp;
        }
        if let Some(sums) = event.and_then(|event| self.sums.get_mut(&event)) {
            *(if taken { &mut sums.taken } else { &mut sums.given_up }) += 1;
        }
    }

    /// Lets everything go that faults hold back.
    pub(super) fn release(&mut self, appid: Option<&str>) {
        let keys: Vec<u64> = self.held_back.iter().copied().filter(|key| self.is_of(*key, appid)).collect();
        for key in keys {
            self.forget_reordered(key);
            self.put(key, Place::Ready(0));
        }
    }

    /// Jobs that are not settled, those that wait for the sandbox's clock left out; and the number of these.
    pub(crate) fn unsettled(&self, appid: Option<&str>) -> (usize, usize) {
        let simulated = |key: &&u64| {
            self.is_of(**key, appid)
                && matches!(self.jobs.get(key).map(|job| job.place), Some(Place::Simulated(_)))
        };
        let asleep = self.held_back.iter().filter(simulated).count();
        let all = match appid {
            Some(appid) => self.waiting.get(appid).copied().unwrap_or(0),
            None => self.jobs.len(),
        };
        (all.saturating_sub(asleep), asleep)
    }

    fn is_of(&self, key: u64, appid: Option<&str>) -> bool {
        appid.is_none_or(|appid| self.jobs.get(&key).is_some_and(|job| job.lane.0 == appid))
    }
}
