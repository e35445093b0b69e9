//! The ledger's rules once more, from their text and not from the crate: where every grant is, and nothing clever.
use crate::properties::{Op, Out};
use Phase::{Doubt, Ended, Started, Waiting};
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub enum Phase { Waiting, Started, Doubt, Ended }

#[derive(Clone, Copy)]
pub struct Delivery { pub phase: Phase, pub pays: bool, probe: bool, tries: u16, seen: (usize, Option<i64>) }

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum At { Open, Held(u8), Spent, Void }

#[derive(Default)]
pub struct Model {
    pub long: bool,
    pub grants: Vec<(At, Option<u8>)>, // oldest first; with the doubt that may have spent it
    pub deliveries: BTreeMap<u8, Delivery>,
    pub stopped: Option<i64>,
    pub accept: Option<i64>,
    pub known: bool,
}

impl Model {
    /// Does what is asked, or says that it is refused.
    pub fn step(&mut self, op: Op, now: i64) -> bool {
        let phase = op.delivery().and_then(|d| self.deliveries.get(&d)).map(|it| it.phase);
        match op {
            Op::Tap { accept: false, .. } => {}
            Op::Tap { back, .. } => {
                self.accept = self.accept.max(Some(now - back));
                self.stopped = self.stopped.filter(|since| now - back < *since);
                self.grants.extend((!self.long).then_some((At::Open, None)));
            }
            Op::Import { n: 0 } => return false,
            Op::Import { n } => (self.known, _) = (true, self.grants.extend((0..n).map(|_| (At::Open, None)))),
            Op::Suspend { back } if self.accept > Some(now - back) => {}
            Op::Suspend { back } => self.stopped = self.stopped.max(Some(now - back)),
            Op::Reserve { d, probe } => {
                let lot = self.find(|at, _| at == At::Open).filter(|_| !self.long);
                let consent = self.long && (self.accept.is_some() || !self.grants.is_empty());
                let probing = self.deliveries.values().any(|it| it.probe && it.phase < Ended);
                let probe = probe && lot.is_none() && !consent && !self.known && !probing;
                if phase.is_some() || self.stopped.is_some() || !(lot.is_some() || consent || probe) { return false }
                if let Some(lot) = lot { self.grants[lot].0 = At::Held(d) }
                self.deliveries.insert(d, Delivery { phase: Waiting, pays: lot.is_some(), probe, tries: 0, seen: (0, None) });
            }
            Op::Settle { d, out: Out::Accepted, .. } | Op::Resolve { d, sent: true } if phase == Some(Ended) =>
                return self.find(|_, doubt| doubt == Some(d)).map(|lot| self.grants[lot] = (At::Spent, None)).is_some(),
            Op::Start { d, expired } if phase == Some(Waiting) => {
                let busy = self.deliveries.values().any(|it| matches!(it.phase, Started | Doubt));
                if expired || self.stopped.is_some() || self.robbed(d) { self.back(d, None); return true }
                if busy { return false }
                let (phase, seen) = (Started, (self.grants.len(), self.accept));
                self.deliveries.entry(d).and_modify(|it| *it = Delivery { phase, seen, tries: it.tries + 1, ..*it });
            }
            Op::Release { d } if phase == Some(Waiting) => self.back(d, None),
            Op::Resolve { d, sent } if phase == Some(Doubt) => if sent { self.pay(d) } else { self.back(d, Some(d)) },
            Op::Settle { d, out, stale: false } if phase == Some(Started) || phase == Some(Doubt) => match out {
                Out::Accepted => self.pay(d),
                Out::Denied => self.deny(d, now),
                Out::Unknown => self.turn(d, Doubt),
                Out::Postponed if self.deliveries[&d].tries < Op::MAX_ATTEMPTS => self.turn(d, Waiting),
                Out::Postponed | Out::Refused => self.back(d, None),
            },
            _ => return false,
        }
        true
    }

    fn find(&self, wanted: impl Fn(At, Option<u8>) -> bool) -> Option<usize> { self.grants.iter().position(|(at, doubt)| wanted(*at, *doubt)) }
    fn turn(&mut self, d: u8, phase: Phase) { self.deliveries.entry(d).and_modify(|it| it.phase = phase); }
    pub fn robbed(&self, d: u8) -> bool { self.deliveries[&d].pays && self.find(|at, _| at == At::Held(d)).is_none() }

    fn back(&mut self, d: u8, doubt: Option<u8>) {
        let lot = self.find(|at, _| at == At::Held(d));
        self.move_lot(d, lot, At::Open, doubt);
    }

    fn pay(&mut self, d: u8) {
        let own = self.find(|at, _| at == At::Held(d));
        let other = self.find(|at, _| at == At::Open).or(self.grants.iter().rposition(|(at, _)| matches!(at, At::Held(_))));
        self.move_lot(d, if self.robbed(d) { other } else { own }, At::Spent, None);
    }

    fn move_lot(&mut self, d: u8, lot: Option<usize>, to: At, doubt: Option<u8>) {
        let mut doubt = doubt.filter(|_| self.deliveries[&d].pays);
        self.turn(d, Ended);
        if let Some(lot) = lot {
            let earlier = self.grants[lot].1.take();
            self.grants[lot] = (to, doubt.or(earlier).filter(|_| to == At::Open));
            doubt = if to == At::Open { doubt.and(earlier) } else { earlier };
        }
        // A doubt is about one grant of several: without a grant of its own it goes to the oldest free of doubt.
        let free = self.find(|at, doubt| matches!(at, At::Open | At::Held(_)) && doubt.is_none());
        if let (Some(_), Some(free)) = (doubt, free) { self.grants[free].1 = doubt }
    }

    fn deny(&mut self, d: u8, now: i64) {
        let (count, accept) = self.deliveries[&d].seen;
        let newer = self.accept > accept; // a tap during the call is not disproved by its answer
        for (at, doubt) in self.grants.iter_mut().take(if newer { count } else { usize::MAX }) {
            if matches!(at, At::Open | At::Held(_)) { *at = if doubt.take().is_some() { At::Spent } else { At::Void } }
        }
        self.turn(d, Ended);
        self.known = true;
        self.stopped = if newer { self.stopped } else { self.stopped.max(Some(now)) };
    }
}
