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

/// What the channel's policies are; all false is the default. `only`: whose taps count, the push's or the client's.
#[derive(Clone, Copy, Default, Debug)]
pub struct Rules { pub only: Option<bool>, pub consume: bool, pub clear: bool }

/// A tap that one side has told of.
pub struct Tap { nth: usize, at: i64, push: bool, accept: bool, noted: bool }

/// A send, or a stranger's, by the number in its msgid; what WeChat pushed of it, and what it did before the answer.
#[derive(Clone, Copy)]
pub struct Sent { pub d: Option<u8>, pub m: Option<u8>, good: bool, bad: bool, early: Option<bool> }

#[derive(Default)]
pub struct Model {
    pub rules: Rules,
    pub taps: Vec<Tap>,
    pub heard: usize,
    pub sends: Vec<Sent>,
    pub settings: Option<i64>,
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
            Op::Tap { accept, push, back } => self.tap(accept, push, now - back),
            Op::Adjust { by: 0 } => return false,
            Op::Adjust { by } if by > 0 => self.grants.extend((0..by).map(|_| (At::Open, None))),
            Op::Adjust { by } => {
                let open: Vec<_> = (0..self.grants.len()).filter(|n| self.grants[*n].0 == At::Open).collect();
                let Some(kept) = open.len().checked_sub(by.unsigned_abs().into()) else { return false };
                let doubts: Vec<_> = open[kept..].iter().filter_map(|n| std::mem::replace(&mut self.grants[*n], (At::Void, None)).1).collect();
                doubts.into_iter().for_each(|doubt| self.rehouse(Some(doubt)));
            }
            Op::Sent { m, good } => self.event((m < Op::UNNAMED).then_some(m), good),
            Op::Import { n: 0 } => return false,
            Op::Import { n } => (self.known, _) = (true, self.grants.extend((0..n).map(|_| (At::Open, None)))),
            Op::Suspend { push, back } => {
                let at = now - back;
                if push { self.settings = self.settings.max(Some(at)) }
                if self.accept > Some(at) { return true }
                for n in 0..self.grants.len() {
                    let waits = |d| self.deliveries[&d].phase == Waiting;
                    let gone = match self.grants[n].0 { At::Open => true, At::Held(d) => waits(d), _ => false };
                    if self.rules.clear && gone { self.grants[n] = (At::Void, None) }
                }
                self.stopped = self.stopped.max(Some(at));
            }
            Op::Reserve { d, probe } => {
                let lot = self.find(|at, _| at == At::Open).filter(|_| !self.long);
                let consent = self.long && (self.accept.is_some() || !self.grants.is_empty());
                let probing = self.deliveries.values().any(|it| it.probe && it.phase < Ended);
                let probe = probe && lot.is_none() && !consent && !self.known && !probing;
                if phase.is_some() || self.stopped.is_some() || !(lot.is_some() || consent || probe) { return false }
                if let Some(lot) = lot { self.grants[lot].0 = At::Held(d) }
                self.deliveries.insert(d, Delivery { phase: Waiting, pays: lot.is_some(), probe, tries: 0, seen: (0, None) });
            }
            Op::Settle { d, out: Out::Accepted | Out::Mute, .. } | Op::Resolve { d, sent: true } if phase == Some(Ended) => {
                let Some(lot) = self.find(|_, doubt| doubt == Some(d)) else { return false };
                let m = matches!(op, Op::Settle { out: Out::Accepted, .. }).then_some(d);
                // One message spends one grant, also if a push made it another delivery's.
                if self.sends.iter().any(|it| m.is_some() && it.m == m && it.d.is_some_and(|sent| sent != d) && it.early.is_none()) { return true }
                let early = self.sends.iter().find(|it| m.is_some() && it.m == m).and_then(|it| it.early);
                self.grants[lot] = (At::Spent, None);
                self.went(d, m);
                if let Some(good) = early { self.event(m, good) }
            }
            Op::Start { d, expired } if phase == Some(Waiting) => {
                let busy = self.deliveries.values().any(|it| matches!(it.phase, Started | Doubt));
                if expired || self.stopped.is_some() || self.robbed(d) { self.back(d, None); return true }
                if busy { return false }
                let (phase, seen) = (Started, (self.grants.len(), self.accept));
                self.deliveries.entry(d).and_modify(|it| *it = Delivery { phase, seen, tries: it.tries + 1, ..*it });
            }
            Op::Release { d } if phase == Some(Waiting) => self.back(d, None),
            Op::Resolve { d, sent: true } if phase == Some(Doubt) => { self.pay(d); self.went(d, None) }
            Op::Resolve { d, .. } if phase == Some(Doubt) => self.back(d, Some(d)),
            Op::Settle { d, out, stale: false } if phase == Some(Started) || phase == Some(Doubt) => self.answer(d, out, now),
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
        self.sends.retain(|it| it.d != Some(d));
    }

    fn pay(&mut self, d: u8) {
        let own = self.find(|at, _| at == At::Held(d));
        let other = self.find(|at, _| at == At::Open).or(self.grants.iter().rposition(|(at, _)| matches!(at, At::Held(_))));
        self.move_lot(d, if self.robbed(d) { other } else { own }, At::Spent, None);
    }

    fn answer(&mut self, d: u8, out: Out, now: i64) {
        let early = self.sends.iter().find(|it| it.d == Some(d)).copied().filter(|it| it.early.is_some());
        match out {
            Out::Accepted | Out::Mute => {
                let m = (out == Out::Accepted).then_some(d);
                self.pay(d);
                self.went(d, m);
                // Another message than the one pushed before: that was somebody else's.
                let other = early.filter(|it| m.is_some() && it.m.is_some() && it.m != m);
                if let Some(it) = other { self.event(it.m, it.early == Some(true)) }
                return;
            }
            Out::Unknown => return match early {
                Some(it) => { self.pay(d); self.went(d, it.m) }
                None => self.turn(d, Doubt),
            },
            Out::Denied => self.deny(d, now),
            Out::Postponed if self.deliveries[&d].tries < Op::MAX_ATTEMPTS => { self.turn(d, Waiting); self.sends.retain(|it| it.d != Some(d)) }
            Out::Refused if self.rules.consume && self.deliveries[&d].pays => { self.pay(d); self.sends.retain(|it| it.d != Some(d)) }
            Out::Postponed | Out::Refused => self.back(d, None),
        }
        if let Some(it) = early { self.event(it.m, it.early == Some(true)) }
    }

    /// One tap of one side goes with one of the other, the oldest first.
    fn tap(&mut self, accept: bool, push: bool, at: i64) {
        let counts = self.rules.only.is_none_or(|only| only == push);
        let twins = self.taps.iter().filter(|it| it.push != push && it.accept == accept && (it.at - at).abs() <= Op::WINDOW && (counts || !it.noted));
        let twin = twins.min_by_key(|it| (it.at, it.nth)).map(|it| (it.nth, it.noted, it.at));
        let known = twin.is_some_and(|(_, noted, _)| !noted);
        if !known && self.taps.len() == subledger_domain::ledger::MAX_REMEMBERED_TAPS { self.taps.remove(0); }
        match twin {
            Some((nth, ..)) => self.taps.retain(|it| it.nth != nth),
            None => { self.heard += 1; self.taps.push(Tap { nth: self.heard, at, push, accept, noted: !counts }) }
        }
        if !accept || !(counts || known) { return }
        // A note dates the grant that it becomes, too.
        let at = twin.filter(|(_, noted, _)| *noted).map_or(at, |(.., noted)| at.max(noted));
        self.accept = self.accept.max(Some(at));
        self.stopped = self.stopped.filter(|since| at < *since);
        if counts && !known && !self.long { self.grants.push((At::Open, None)) }
    }

    /// WeChat's word on a send.
    fn event(&mut self, m: Option<u8>, good: bool) {
        if let Some(it) = self.sends.iter().find(|it| m.is_some() && it.m == m).copied() {
            if let Some(d) = it.d.filter(|_| !if good { it.good } else { it.bad }) { self.word(d, m, good) }
            return;
        }
        let busy = self.deliveries.iter().find(|(_, it)| matches!(it.phase, Started | Doubt)).map(|(d, it)| (*d, it.phase));
        match busy {
            Some((d, Doubt)) => { self.pay(d); self.went(d, m); return self.word(d, m, good) }
            Some((d, Started)) if self.sends.iter().all(|it| it.d != Some(d)) => return self.word(d, m, good),
            _ => {}
        }
        if let Some(it) = self.sends.iter().find(|it| it.m.is_none() && !it.good && !it.bad) {
            return self.word(it.d.unwrap(), m, good);
        }
        if let Some(lot) = self.find(|_, doubt| doubt.is_some()) {
            let d = self.grants[lot].1.unwrap();
            self.grants[lot] = (At::Spent, None);
            self.went(d, m);
            return self.word(d, m, good);
        }
        if m.is_some() { self.keep(None, m) }
    }

    fn word(&mut self, d: u8, m: Option<u8>, good: bool) {
        let under_way = self.deliveries[&d].phase < Ended;
        if self.sends.iter().all(|it| it.d != Some(d)) { self.keep(Some(d), m) }
        for it in self.sends.iter_mut().filter(|it| it.d == Some(d)) {
            *it = Sent { m: m.or(it.m), good: it.good || good, bad: it.bad || !good, early: under_way.then_some(good), ..*it };
        }
    }

    fn went(&mut self, d: u8, m: Option<u8>) {
        self.sends.retain(|it| it.early.is_none() || it.d == Some(d) || m.is_none() || it.m != m);
        let Some(it) = self.sends.iter_mut().find(|it| it.d == Some(d)) else { return self.keep(Some(d), m) };
        let same = m.is_none() || it.m.is_none() || it.m == m;
        *it = Sent { m: m.or(it.m), good: it.good && same, bad: it.bad && same, early: None, ..*it };
    }

    fn keep(&mut self, d: Option<u8>, m: Option<u8>) {
        self.sends.retain(|it| it.d.is_some() || it.m != m);
        if self.sends.len() == subledger_domain::ledger::MAX_REMEMBERED_SENDS {
            let stranger = self.sends.iter().position(|it| it.d.is_none());
            let least = stranger.or(self.sends.iter().position(|it| it.early.is_none()));
            self.sends.remove(least.unwrap());
        }
        self.sends.push(Sent { d, m, good: false, bad: false, early: None });
    }

    fn move_lot(&mut self, d: u8, lot: Option<usize>, to: At, doubt: Option<u8>) {
        let mut doubt = doubt.filter(|_| self.deliveries[&d].pays);
        self.turn(d, Ended);
        if let Some(lot) = lot {
            let earlier = self.grants[lot].1.take();
            self.grants[lot] = (to, doubt.or(earlier).filter(|_| to == At::Open));
            doubt = if to == At::Open { doubt.and(earlier) } else { earlier };
        }
        self.rehouse(doubt);
    }

    /// A doubt is about one grant of several: without a grant of its own it goes to the oldest free of doubt.
    fn rehouse(&mut self, doubt: Option<u8>) {
        let free = self.find(|at, doubt| matches!(at, At::Open | At::Held(_)) && doubt.is_none());
        if let (Some(_), Some(free)) = (doubt, free) { self.grants[free].1 = doubt }
    }

    fn deny(&mut self, d: u8, now: i64) {
        let (count, accept) = self.deliveries[&d].seen;
        let mut proved = std::collections::BTreeSet::new();
        let newer = self.accept > accept; // a tap during the call is not disproved by its answer
        for (at, doubt) in self.grants.iter_mut().take(if newer { count } else { usize::MAX }) {
            if !matches!(at, At::Open | At::Held(_)) { continue }
            *at = if let Some(doubt) = doubt.take() { proved.insert(doubt); At::Spent } else { At::Void };
        }
        self.turn(d, Ended);
        self.sends.retain(|it| it.d != Some(d));
        proved.into_iter().for_each(|doubt| self.went(doubt, None));
        self.known = true;
        self.stopped = if newer { self.stopped } else { self.stopped.max(Some(now)) };
    }
}
