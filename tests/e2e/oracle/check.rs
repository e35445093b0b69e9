//! The identity: for every user and template, what we believe minus what is true is the sum of differences that have a name.
//!
//! ```text
//! balance + reserved + in_doubt − remaining =
//!     grants on the books − taps that WeChat counted            taps
//!   + messages WeChat accepted − grants spent on them           deliveries, each on its own
//!   + messages of strangers                                     the journal
//!   + grants added by hand − grants found void                  drift, policy, adjustment
//!   + counts that WeChat took, or forgot, without a message − counts that it gave back
//! ```
//!
//! Both sides come from different places, and every term is checked for what may be in it: a tap may be missing only if nobody
//! told of it; two taps may be one only if a report and a push stand within the window; a delivery may differ from the journal
//! only under a doubt, a verdict, or a policy; and drift may be found only where something was off, or too much was on the books.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::{
    book::{Book, Delivery},
    deadlines,
    log::Ours,
    pushes,
    told::{Source, Told},
    truth::{Pair, Truth, Truths, was_taken},
    world::World,
};

/// A name of a difference.
pub type Named = BTreeMap<&'static str, i64>;

/// The most taps of one ledger that all are remembered, so that each one that can be paired is.
const REMEMBERED: usize = 32;

/// What the whole channel has been asked for and has taken in.
pub struct Ground {
    /// Page, openid and template by delivery id.
    pub asked: HashMap<String, (String, String, String)>,
    /// The pushes that the service keeps, by key.
    pub inbox: HashMap<String, Value>,
}

/// Deliveries as they were asked for.
pub fn asked(world: &World) -> HashMap<String, (String, String, String)> {
    let known = world.known.lock().unwrap();
    let mut asked = HashMap::new();
    for (page, one) in &known.asked {
        for (index, openid) in one.openids.iter().enumerate() {
            let wanted = (page.clone(), openid.clone(), one.template.clone());
            asked.insert(format!("{}-{index}", one.msgid), wanted);
        }
    }
    asked
}

/// A pair under examination.
pub struct Case<'a> {
    pub world: &'a World,
    pub ground: &'a Ground,
    pub pair: &'a Pair,
    pub truth: &'a Truth,
    pub ours: &'a Ours,
    pub truths: &'a Truths,
    pub named: Named,
    pub faults: Vec<String>,
    /// Of what may later be found as drift.
    pub surplus: i64,
}

impl<'a> Case<'a> {
    pub fn new(
        world: &'a World,
        ground: &'a Ground,
        pair: &'a Pair,
        truths: &'a Truths,
        (truth, ours): (&'a Truth, &'a Ours),
    ) -> Self {
        let (named, faults) = (Named::new(), Vec::new());
        Self { world, ground, pair, truth, ours, truths, named, faults, surplus: 0 }
    }

    fn name(&mut self, name: &'static str, amount: i64) {
        if amount != 0 {
            *self.named.entry(name).or_default() += amount;
            self.surplus += amount.max(0);
        }
    }

    fn require(&mut self, holds: bool, why: impl FnOnce() -> String) {
        if !holds {
            self.faults.push(why());
        }
    }

    pub fn check(&mut self) {
        let truth = self.truth;
        let mut book = Book::default();
        for event in &self.ours.events {
            book.read(&event.kind, &event.data);
        }
        self.faults.append(&mut book.faults);
        self.shown(&book);
        let faults = deadlines::faults(self);
        self.faults.extend(faults);
        if self.world.is_long_term(&self.pair.1) {
            return self.without_count(&book);
        }
        self.taps(book.granted - book.added);
        let faults = pushes::acted_on_once(self);
        self.faults.extend(faults);
        self.name("taps beyond the most that pile up", truth.capped);
        self.deliveries(&book);
        self.name("counts taken by refusals", truth.forfeited);
        self.name("counts forgotten by WeChat", truth.cleared);
        self.name("grants added by hand", book.added);
        self.drift(&book);
        self.name("drift", -book.voided.get("drift_found").copied().unwrap_or(0));
        self.name("cleared by policy", -book.voided.get("cleared").copied().unwrap_or(0));
        self.name("taken away by hand", -book.voided.get("adjusted").copied().unwrap_or(0));
        self.name("counts given back by WeChat", -truth.returned);

        let (open, reserved, in_doubt) = book.places();
        let difference = open + reserved + in_doubt - truth.remaining;
        let explained: i64 = self.named.values().sum();
        self.require(difference == explained, || {
            format!(
                "{open} open + {reserved} reserved + {in_doubt} in doubt - {} true = {difference}, of which {explained} has a name",
                truth.remaining
            )
        });
        let true_sum = truth.accepts - truth.capped - truth.accepted_sends - truth.forfeited - truth.cleared
            + truth.returned;
        self.require(true_sum == truth.remaining, || "the sandbox contradicts itself".to_owned());
    }

    /// What the API shows is what the events say.
    fn shown(&mut self, book: &Book) {
        let shown = &self.ours.shown;
        let number = |field: &str| shown[field].as_i64().unwrap_or(0);
        let (open, reserved, in_doubt) = book.places();
        let voided: i64 = book.voided.values().sum();
        let told = ["granted", "balance", "reserved", "in_doubt", "consumed", "voided"].map(number);
        let read = [book.granted, open, reserved, in_doubt, book.consumed, voided];
        self.require(told == read, || format!("the ledger shows {told:?}, its events say {read:?}"));
        let started = book.deliveries.iter().find(|(_, delivery)| delivery.started);
        self.require(started.is_none(), || format!("still on its way: {started:?}"));
    }

    /// Of a long-term template: consent and sends are on the books, and no number ever moves.
    fn without_count(&mut self, book: &Book) {
        let consents = self.ours.events.iter().filter(|event| event.kind == "ledger.consented").count();
        self.taps(consents as i64);
        let consented = self.ours.shown["consented"] == true;
        self.require(consented == (consents > 0), || {
            format!("{consents} consents, and the ledger shows {consented}")
        });
        let faults = pushes::acted_on_once(self);
        self.faults.extend(faults);
        self.deliveries(book);
        let numbers = (book.granted, book.consumed, book.voided.len(), self.truth.remaining);
        self.require(numbers == (0, 0, 0, 0), || {
            format!("numbers of a template without a count: {numbers:?}")
        });
        let sent = self.truth.sends.iter().filter(|send| send["committed"] == true).count() as i64;
        self.require(sent == self.truth.accepted_sends, || "the sandbox contradicts itself".to_owned());
        self.denials();
        self.named.clear();
    }

    pub fn policy(&self, name: &str) -> &str {
        self.world.policy[name].as_str().unwrap_or_default()
    }

    fn taps(&mut self, granted: i64) {
        let told = Told::of(&self.ours.events);
        self.faults.extend(told.faults.iter().cloned());
        let reported: HashSet<String> = {
            let known = self.world.known.lock().unwrap();
            let told = known
                .taps
                .iter()
                .filter(|(_, tapped)| tapped.told && tapped.result.get(&self.pair.1).is_some());
            told.map(|(number, _)| super::driver::report_id(*number)).collect()
        };
        let truth = self.truth;
        let pushed = |seq: &u64| {
            self.truths.pushes.get(seq).is_some_and(|push| {
                let speaks = push["template_ids"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|id| *id == *self.pair.1));
                speaks && was_taken(push)
            })
        };
        for (accept, heard) in [(true, &told.accepts), (false, &told.refusals)] {
            let answers = || truth.answers.iter().filter(|answer| answer.accept == accept);
            let expected: HashSet<&String> =
                answers().map(|answer| &answer.tap).filter(|tap| reported.contains(*tap)).collect();
            let reports: HashSet<&String> = heard.reports.iter().collect();
            self.require(reports == expected && heard.reports.len() == expected.len(), || {
                let lost: Vec<_> = expected.difference(&reports).collect();
                let made_up: Vec<_> = reports.difference(&expected).collect();
                format!(
                    "reports of {}: {lost:?} are not on the books, {made_up:?} are and never were",
                    word(accept)
                )
            });
            let heard_of: Vec<u64> = answers().filter_map(|answer| answer.push).filter(pushed).collect();
            // WeChat's pushes carry whole seconds: two of one second that say the same are one.
            let seconds = pushes::classes(heard_of.iter().map(|seq| &self.truths.pushes[seq]));
            self.require((seconds.len()..=heard_of.len()).contains(&heard.pushes.len()), || {
                format!(
                    "{} pushes of {} were taken, {} are on the books",
                    heard_of.len(),
                    word(accept),
                    heard.pushes.len()
                )
            });
            if accept {
                let both = answers().filter(|answer| {
                    reported.contains(&answer.tap) && answer.push.as_ref().is_some_and(pushed)
                });
                let none = answers().filter(|answer| {
                    !reported.contains(&answer.tap) && !answer.push.as_ref().is_some_and(pushed)
                });
                let (both, none) = (both.count() as i64, none.count() as i64);
                let alike = (heard_of.len().saturating_sub(heard.pushes.len())) as i64;
                let (reports, pushes) = (heard.reports.len() as i64, heard.pushes.len() as i64);
                let counted = match self.policy("taps") {
                    "client_only" => reports,
                    "push_only" => pushes,
                    _ => reports + pushes - (told.pairs.len() + told.pairs_without_lot) as i64,
                };
                self.require(granted == counted, || {
                    format!("{granted} grants for {reports} reports and {pushes} pushes")
                });
                match self.policy("taps") {
                    "client_only" => self.name("taps that no report told of", reports - truth.accepts),
                    "push_only" => self.name("taps that no push told of", pushes - truth.accepts),
                    _ => {
                        self.name("taps that nobody told of", -none);
                        let apart = both - alike - told.pairs.len() as i64;
                        self.name("taps told of twice and not taken for one", apart.max(0));
                        let seconds = alike.min((-apart).max(0));
                        self.name("pushes that WeChat's seconds cannot tell apart", -seconds);
                        self.name("taps taken for one within the window", apart.min(0) + seconds);
                        // Told of twice and counted twice first, though another two were taken for one later.
                        let exact =
                            told.pairs.iter().filter(|(lot, second)| self.is_exact(&told, **lot, second));
                        let passing = both - exact.count() as i64 - apart.max(0);
                        self.surplus += passing.max(0);
                    }
                }
            }
        }
        self.pairs(&told);
    }

    /// Whether both sources of a lot speak of one tap, as far as WeChat's seconds tell.
    fn is_exact(&self, told: &Told, lot: u64, second: &Source) -> bool {
        let Some(first) = told.lots.get(&lot) else { return false };
        let (report, push) = if second.source == "wechat_push" { (first, second) } else { (second, first) };
        let tap = self.truth.answers.iter().find(|answer| answer.tap == report.reference);
        tap.is_some_and(|tap| tap.time.as_second() == push.at.div_euclid(1_000_000))
    }

    /// Every pair stands within the window, and nothing that could be a pair stands alone.
    fn pairs(&mut self, told: &Told) {
        let window = self.world.policy["tap_window_s"].as_i64().unwrap_or(300) * 1_000_000;
        for (lot, second) in &told.pairs {
            let Some(first) = told.lots.get(lot) else {
                self.faults.push(format!("lot {lot} is corroborated and was never granted"));
                continue;
            };
            self.require(first.source != second.source && (first.at - second.at).abs() <= window, || {
                format!("{second:?} corroborates {first:?}, with a window of {window} µs")
            });
        }
        let heard = told.accepts.reports.len()
            + told.accepts.pushes.len()
            + told.refusals.reports.len()
            + told.refusals.pushes.len();
        if self.policy("taps") != "both" || heard > REMEMBERED {
            return;
        }
        let alone: Vec<&Source> =
            told.lots.iter().filter(|(lot, _)| !told.pairs.contains_key(lot)).map(|(_, one)| one).collect();
        for one in &alone {
            let other =
                alone.iter().find(|other| other.source != one.source && (other.at - one.at).abs() <= window);
            self.require(other.is_none(), || format!("{one:?} and {other:?} are counted as two taps"));
        }
    }

    fn deliveries(&mut self, book: &Book) {
        let mut committed: HashMap<&str, i64> = HashMap::new();
        for send in &self.truth.sends {
            if send["committed"] == true {
                *committed.entry(send["page"].as_str().unwrap_or_default()).or_default() += 1;
            }
        }
        self.name("messages of strangers", committed.remove("pages/stranger").unwrap_or(0));
        for (id, delivery) in &book.deliveries {
            let Some((page, openid, template)) = self.ground.asked.get(id) else {
                self.faults.push(format!("{id} was never asked for"));
                continue;
            };
            self.require((openid, template) == (&self.pair.0, &self.pair.1), || {
                format!("{id} is somebody else's")
            });
            let cards = committed.remove(page.as_str()).unwrap_or(0);
            self.require(cards <= 1, || format!("{id} reached the user {cards} times"));
            self.delivery(id, delivery, cards);
        }
        self.require(committed.is_empty(), || {
            format!("WeChat accepted what no grant was set aside for: {committed:?}")
        });
    }

    /// One delivery: what WeChat took for it and what it cost on the books.
    fn delivery(&mut self, id: &str, delivery: &Delivery, cards: i64) {
        let guess = |end: &(String, String), outcome: &str| {
            end.0 == outcome && matches!(end.1.as_str(), "operator" | "policy")
        };
        let called_off = delivery.ends.iter().any(|end| guess(end, "not_sent"));
        let last = delivery.ends.last().cloned().unwrap_or_default();
        let went_out = matches!(last.0.as_str(), "consumed" | "sent");
        let by_policy = last.1 == "policy";
        let standing = delivery.basis.as_deref() == Some("long_term");
        let name = match (cards, delivery.spent) {
            (1, 0) if standing && (went_out || delivery.in_doubt || called_off) => None,
            (1, 0) if delivery.in_doubt => Some("in doubt, and sent"),
            (1, 0) if delivery.basis.as_deref() == Some("unknown_balance") && went_out => {
                Some("sent on an unknown balance")
            }
            (1, 0) if delivery.unfunded => Some("sent after its grant was found void"),
            (1, 0) if by_policy && last.0 == "not_sent" => Some("released by the deadline, and sent"),
            (1, 0) if called_off && last.0 == "not_sent" => Some("settled as not sent, and sent"),
            (0, 1) if last.0 == "forfeited" => Some("counted as spent by a refusal"),
            (0, 1) if by_policy && guess(&last, "sent") => {
                Some("taken for sent by the deadline, and not sent")
            }
            (0, 1) if guess(&last, "sent") => Some("settled as sent, and not sent"),
            (0, 1) if last == ("sent".to_owned(), "wechat_push".to_owned()) => {
                Some("settled by a push about another message")
            }
            (0, 1) if called_off && last == ("sent".to_owned(), "wechat_answer".to_owned()) => {
                Some("explained by 43101, and not sent")
            }
            (1, 1) if went_out => None,
            (0, 0) => None,
            _ => {
                self.faults.push(format!(
                    "{id} reached the user {cards} times, cost {} grants, and ended as {:?}",
                    delivery.spent, delivery.ends
                ));
                None
            }
        };
        if let Some(name) = name {
            self.name(name, cards - delivery.spent);
        }
        if called_off && cards == 1 {
            // What a later 43101 or push has put right.
            self.surplus += 1;
        }
        let ended_well = last.0 == "consumed";
        self.require(!ended_well || cards == 1, || format!("{id} is sent, and WeChat knows nothing of it"));
    }

    /// Where nothing was ever switched off, 43101 disproves no more than what was too much on the books.
    fn drift(&mut self, book: &Book) {
        let drift = book.voided.get("drift_found").copied().unwrap_or(0);
        let surplus = self.surplus;
        self.require(self.truth.ever_off || drift <= surplus, || {
            format!("{drift} grants were found void; at most {surplus} were too much, and nothing was ever switched off")
        });
        self.denials();
    }

    /// No more sends were denied than WeChat denied.
    fn denials(&mut self) {
        let denied = self.ours.events.iter().filter(|event| event.kind == "ledger.denied").count();
        let refused = self
            .truth
            .sends
            .iter()
            .filter(|send| send["errcode"] == 43101 && send["page"] != "pages/stranger")
            .count();
        self.require(denied <= refused, || format!("{denied} denials for {refused} answers of 43101"));
    }
}

fn word(accept: bool) -> &'static str {
    if accept { "an accept" } else { "a refusal" }
}
