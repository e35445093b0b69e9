//! A ledger of the checker's own: what a pair's events, read as documents, say about each grant.
//!
//! Written from the guide for integrators (`docs/ledger.md`), with none of the service's code.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

/// Where an open grant is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Open,
    Held(String),
}

/// What pays for a delivery under way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Funding {
    Lot(u64),
    /// Its grant turned out to be void.
    Void,
    /// None is needed.
    Without,
}

/// What a delivery has come to.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    /// Let in without a grant: on what basis.
    pub basis: Option<String>,
    /// Grants that its end has spent: 0 or 1.
    pub spent: i64,
    pub in_doubt: bool,
    pub started: bool,
    /// Kinds of the events that ended it, with the source of their evidence.
    pub ends: Vec<(String, String)>,
    /// It was accepted or settled as sent while its own grant was void already.
    pub unfunded: bool,
}

#[derive(Debug, Default)]
pub struct Book {
    lots: BTreeMap<u64, Place>,
    /// Doubts settled as "not sent", by the lot that carries the remark.
    remarks: BTreeMap<u64, String>,
    funding: HashMap<String, Funding>,
    pub deliveries: BTreeMap<String, Delivery>,
    pub granted: i64,
    pub consumed: i64,
    /// By what made them void: `drift_found`, `cleared`, `adjusted`.
    pub voided: BTreeMap<&'static str, i64>,
    /// Opened or added by hand.
    pub added: i64,
    /// What does not fit.
    pub faults: Vec<String>,
}

impl Book {
    /// Reads one event.
    pub fn read(&mut self, kind: &str, data: &Value) {
        let text = |field: &str| data[field].as_str().unwrap_or_default().to_owned();
        let delivery = text("delivery");
        match kind {
            "ledger.granted" => self.grant(&data["lot"], 1),
            "ledger.opened" => {
                self.grant(&data["first_lot"], data["count"].as_i64().unwrap_or(0));
                self.added += data["count"].as_i64().unwrap_or(0);
            }
            "ledger.adjusted" => {
                let count = data["added"]["count"].as_i64().unwrap_or(0);
                if count > 0 {
                    self.grant(&data["added"]["first_lot"], count);
                    self.added += count;
                }
                let lots = lots_of(&data["removed"]);
                let remarks: Vec<String> =
                    lots.iter().filter_map(|lot| self.remarks.get(lot).cloned()).collect();
                self.void("adjusted", &lots);
                remarks.into_iter().for_each(|remark| self.pass_on(remark));
            }
            "ledger.reserved" => self.reserve(&delivery, data["lot"].as_u64().unwrap_or(0)),
            "ledger.admitted" => {
                self.funding.insert(delivery.clone(), Funding::Without);
                self.deliveries.entry(delivery).or_default().basis = Some(text("basis"));
            }
            "ledger.started" => self.change(&delivery, |it| it.started = true),
            "ledger.postponed" => self.change(&delivery, |it| it.started = false),
            "ledger.doubted" => self.change(&delivery, |it| (it.in_doubt, it.started) = (true, false)),
            "ledger.consumed" | "ledger.forfeited" => self.spend(&delivery),
            "ledger.settled_late" if data["outcome"] == "sent" => self.spend(&delivery),
            "ledger.settled_late" => self.give_back(&delivery, true),
            "ledger.released" | "ledger.denied" => self.give_back(&delivery, false),
            "ledger.drift_found" => self.void("drift_found", &lots_of(&data["lots"])),
            "ledger.cleared" => self.void("cleared", &lots_of(&data["lots"])),
            _ => {}
        }
        let ends = ["consumed", "forfeited", "settled_late", "released", "denied"];
        if let Some(end) = ends.into_iter().find(|end| kind.strip_prefix("ledger.") == Some(*end)) {
            let outcome = data["outcome"].as_str().or(data["why"].as_str()).unwrap_or(end);
            let source = data["evidence"]["source"].as_str().unwrap_or_default();
            let ended = (outcome.to_owned(), source.to_owned());
            self.change(&text("delivery"), |it| {
                it.ends.push(ended);
                (it.in_doubt, it.started) = (false, false);
            });
        }
    }

    /// The open grants.
    pub fn open(&self) -> Vec<u64> {
        self.lots.iter().filter(|(_, place)| **place == Place::Open).map(|(lot, _)| *lot).collect()
    }

    /// Open grants; set aside; held by doubts.
    pub fn places(&self) -> (i64, i64, i64) {
        let (mut open, mut reserved, mut in_doubt) = (0, 0, 0);
        for place in self.lots.values() {
            match place {
                Place::Open => open += 1,
                Place::Held(by) if self.deliveries[by].in_doubt => in_doubt += 1,
                Place::Held(_) => reserved += 1,
            }
        }
        (open, reserved, in_doubt)
    }

    fn change(&mut self, delivery: &str, change: impl FnOnce(&mut Delivery)) {
        match self.deliveries.get_mut(delivery) {
            Some(it) => change(it),
            None => self.faults.push(format!("{delivery} was never reserved or admitted")),
        }
    }

    fn grant(&mut self, first: &Value, count: i64) {
        if first.as_i64() != Some(self.granted + 1) {
            self.faults.push(format!("lot {first} is not the next after {}", self.granted));
        }
        for _ in 0..count {
            self.granted += 1;
            self.lots.insert(self.granted.unsigned_abs(), Place::Open);
        }
    }

    fn reserve(&mut self, delivery: &str, lot: u64) {
        let oldest = self.lots.iter().find(|(_, place)| **place == Place::Open).map(|(lot, _)| *lot);
        if oldest != Some(lot) {
            self.faults.push(format!("{delivery} reserved lot {lot}; the oldest open one is {oldest:?}"));
        }
        if self.deliveries.contains_key(delivery) {
            self.faults.push(format!("{delivery} was reserved twice"));
        }
        self.lots.insert(lot, Place::Held(delivery.to_owned()));
        self.funding.insert(delivery.to_owned(), Funding::Lot(lot));
        self.deliveries.insert(delivery.to_owned(), Delivery::default());
    }

    fn spend(&mut self, delivery: &str) {
        let spent = match self.funding.remove(delivery) {
            Some(Funding::Lot(lot)) => {
                self.take(lot);
                1
            }
            Some(Funding::Void) => {
                self.change(delivery, |it| it.unfunded = true);
                self.take_any()
            }
            Some(Funding::Without) => 0,
            None => self.spend_returned(delivery),
        };
        self.consumed += spent;
        self.change(delivery, |it| it.spent += spent);
    }

    fn take(&mut self, lot: u64) {
        self.lots.remove(&lot);
        if let Some(remark) = self.remarks.remove(&lot) {
            self.pass_on(remark);
        }
    }

    /// WeChat took another grant than the one set aside, which was void: the oldest open one, else the newest that waits.
    fn take_any(&mut self) -> i64 {
        let open = self.lots.iter().find(|(_, place)| **place == Place::Open).map(|(lot, _)| *lot);
        let Some(lot) = open.or_else(|| self.lots.keys().next_back().copied()) else { return 0 };
        if let Some(Place::Held(by)) = self.lots.get(&lot) {
            self.funding.insert(by.clone(), Funding::Void);
        }
        self.take(lot);
        1
    }

    /// A doubt settled as "not sent" was sent: the grant with the remark is spent.
    fn spend_returned(&mut self, delivery: &str) -> i64 {
        let Some(lot) = self.remarks.iter().find(|(_, doubt)| *doubt == delivery).map(|(lot, _)| *lot) else {
            self.faults.push(format!("{delivery} ended as sent, and nothing is left for it to spend"));
            return 0;
        };
        self.remarks.remove(&lot);
        if let Some(Place::Held(by)) = self.lots.remove(&lot) {
            self.funding.insert(by, Funding::Void);
        }
        1
    }

    fn give_back(&mut self, delivery: &str, doubted: bool) {
        let homeless = match self.funding.remove(delivery) {
            Some(Funding::Lot(lot)) => {
                self.lots.insert(lot, Place::Open);
                if doubted { self.remarks.insert(lot, delivery.to_owned()) } else { None }
            }
            Some(Funding::Void) => doubted.then(|| delivery.to_owned()),
            Some(Funding::Without) => None,
            None => {
                self.faults.push(format!("{delivery} ended twice"));
                None
            }
        };
        if let Some(remark) = homeless {
            self.pass_on(remark);
        }
    }

    fn pass_on(&mut self, remark: String) {
        let free = self.lots.keys().find(|lot| !self.remarks.contains_key(lot)).copied();
        if let Some(lot) = free {
            self.remarks.insert(lot, remark);
        }
    }

    fn void(&mut self, why: &'static str, lots: &[u64]) {
        for lot in lots {
            self.remarks.remove(lot);
            match self.lots.remove(lot) {
                Some(Place::Held(by)) => drop(self.funding.insert(by, Funding::Void)),
                Some(Place::Open) => {}
                None => self.faults.push(format!("lot {lot} became void and was not there")),
            }
            *self.voided.entry(why).or_default() += 1;
        }
    }
}

fn lots_of(value: &Value) -> Vec<u64> {
    value.as_array().map(|lots| lots.iter().filter_map(Value::as_u64).collect()).unwrap_or_default()
}
