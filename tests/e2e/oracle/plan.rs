//! What is done in a round: a list of operations that follows from one seed and nothing else.
//!
//! The generator knows neither the service nor the simulated WeChat. Each operation draws from a seed of its own, so a list cut
//! down to one user has the same operations for that user.

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};

/// Templates of the Mini Program. All are one-time, but for the last one in rounds that say so.
pub const TEMPLATES: usize = 3;
/// Seconds after which doubts are closed in rounds that say so.
pub const DEADLINE_S: u64 = 2;

/// How a Mini Program tells of a tap.
#[derive(Debug, Clone, Copy)]
pub enum Report {
    /// Never.
    Lost,
    /// At once, so often; with the time of the tap or without.
    Now { times: usize, dated: bool },
    /// By an operation of its own, later.
    Late,
}

/// What the user does in the popup.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// WeChat's word; where the user's kept answers allow it, `silent` goes before.
    pub word: &'static str,
    /// No popup, if answers are kept.
    pub silent: bool,
    /// "Always keep" ticked.
    pub keep: bool,
}

#[derive(Debug, Clone)]
pub enum Op {
    Tap {
        user: usize,
        templates: Vec<usize>,
        answer: Answer,
        report: Report,
    },
    /// The report of an earlier tap, by the number of its operation.
    LateReport {
        tap: usize,
        dated: bool,
    },
    Setting {
        user: usize,
        template: usize,
        body: Value,
    },
    /// One message for each template. `refused`: WeChat will not like the words. `repeated`: the answer is lost and the
    /// request repeated under the same key.
    Send {
        users: Vec<usize>,
        templates: Vec<usize>,
        refused: bool,
        repeated: bool,
    },
    /// The messages of an earlier send, by the number of its operation.
    Retract {
        send: usize,
    },
    /// Something goes wrong with the next send to this user.
    SendFault {
        user: usize,
        template: usize,
        fault: Value,
    },
    /// Something goes wrong with the next push from this user.
    PushFault {
        user: usize,
        fault: Value,
    },
    /// WeChat ends every token.
    Revoke,
    /// Another `EncodingAESKey` is entered, while pushes are under way.
    NewKey,
    /// A person settles a doubt, on no ground at all.
    Settle {
        sent: bool,
    },
    /// An operator adds grants, or takes some away, on no ground at all.
    Adjust {
        user: usize,
        template: usize,
        by: i64,
    },
    /// A balance that another system is said to have counted is imported.
    Open {
        user: usize,
        template: usize,
        count: u32,
    },
    /// Another system of the same company sends.
    Stranger {
        user: usize,
        template: usize,
    },
}

impl Op {
    /// Whose operation it is; none for those about nobody in particular.
    pub fn user(&self) -> Option<usize> {
        match self {
            Self::Tap { user, .. }
            | Self::Setting { user, .. }
            | Self::SendFault { user, .. }
            | Self::PushFault { user, .. }
            | Self::Adjust { user, .. }
            | Self::Open { user, .. }
            | Self::Stranger { user, .. } => Some(*user),
            Self::Send { users, .. } => users.first().copied(),
            Self::LateReport { .. }
            | Self::Retract { .. }
            | Self::Revoke
            | Self::NewKey
            | Self::Settle { .. } => None,
        }
    }
}

/// How a round is to be played.
#[derive(Debug, Clone)]
pub struct Round {
    pub seed: u64,
    pub number: u64,
    pub profile: &'static str,
    pub operations: usize,
    pub users: usize,
}

impl Round {
    fn dice(&self, salt: u64) -> SmallRng {
        let mixed = self.seed ^ self.number.rotate_left(20) ^ salt.rotate_left(40);
        SmallRng::seed_from_u64(mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt)
    }

    /// The channel's policy.
    pub fn policy(&self) -> Value {
        // Another one under each profile: the names differ in length.
        let mut dice = self.dice(u64::MAX - 8 - self.profile.len() as u64);
        let taps = ["both", "both", "client_only", "push_only"];
        let windows = [1, 2, 300];
        json!({
            "unknown_balance": if dice.random_bool(0.25) { "attempt" } else { "refuse" },
            "taps": taps[dice.random_range(0..4)],
            "tap_window_s": windows[dice.random_range(0..3)],
            "refused_send": if dice.random_bool(0.3) { "consume" } else { "release" },
            "settings_off": if dice.random_bool(0.3) { "clear" } else { "keep" },
            "doubt_deadline_s": if self.has_deadline() { DEADLINE_S } else { 2_592_000 },
            "doubt_verdict": if self.turn() == 1 { "release" } else { "assume_sent" },
        })
    }

    /// In turns, so that a short run has each: doubts wait for people, are released by a deadline, or are taken for sent by it.
    fn turn(&self) -> u64 {
        (self.number + self.profile.len() as u64) % 3
    }

    /// Whether doubts that nobody settles are closed within the round.
    pub fn has_deadline(&self) -> bool {
        self.turn() > 0
    }

    /// Whether this template is a long-term one.
    pub fn is_long_term(&self, template: usize) -> bool {
        template == TEMPLATES - 1 && self.number.is_multiple_of(2)
    }

    /// Of a push set-up: how it is protected and spelled.
    pub fn push_shape(&self) -> (&'static str, &'static str) {
        let mut dice = self.dice(u64::MAX - 1);
        let mode = ["secure", "secure", "compatible", "plaintext"][dice.random_range(0..4)];
        (mode, if dice.random_bool(0.5) { "json" } else { "xml" })
    }

    /// The operations, each with its number, for all users or for one.
    pub fn operations(&self, only: Option<usize>) -> Vec<(usize, Op)> {
        let mut late: Vec<(usize, usize)> = Vec::new();
        let mut sends: Vec<usize> = Vec::new();
        let mut operations = Vec::with_capacity(self.operations);
        for number in 0..self.operations {
            let mut dice = self.dice(number as u64);
            let due = late.iter().position(|(at, _)| *at <= number);
            let op = match due {
                _ if number == self.operations / 2 => Op::NewKey,
                Some(at) => Op::LateReport { tap: late.swap_remove(at).1, dated: dice.random_bool(0.6) },
                None => self.draw(&mut dice, &sends),
            };
            match &op {
                Op::Tap { report: Report::Late, .. } => {
                    late.push((number + dice.random_range(20..self.operations / 3 + 40), number));
                }
                Op::Send { .. } => sends.push(number),
                _ => {}
            }
            operations.push((number, op));
        }
        if let Some(only) = only {
            let of = |number: usize| operations[number].1.user();
            let kept = |op: &Op| match op {
                Op::LateReport { tap, .. } => of(*tap) == Some(only),
                Op::Retract { send } => of(*send) == Some(only),
                op => op.user().is_none_or(|user| user == only),
            };
            return operations.iter().filter(|(_, op)| kept(op)).cloned().collect();
        }
        operations
    }

    fn draw(&self, dice: &mut SmallRng, sends: &[usize]) -> Op {
        let user = self.user(dice);
        let template = dice.random_range(0..TEMPLATES);
        match dice.random_range(0..1_000) {
            0..430 => {
                Op::Tap { user, templates: some_templates(dice), answer: answer(dice), report: report(dice) }
            }
            430..790 => {
                let several = if dice.random_bool(0.15) { dice.random_range(1..5) } else { 0 };
                let mut users = vec![user];
                users.extend((0..several).map(|_| self.user(dice)));
                let (refused, repeated) = (dice.random_bool(0.05), dice.random_bool(0.1));
                Op::Send { users, templates: some_templates(dice), refused, repeated }
            }
            790..830 if !sends.is_empty() => {
                Op::Retract { send: sends[sends.len() - 1 - dice.random_range(0..sends.len().min(4))] }
            }
            830..870 => Op::Setting { user, template, body: setting(dice) },
            870..920 => Op::SendFault { user, template, fault: send_fault(dice) },
            920..960 => Op::PushFault { user, fault: push_fault(dice) },
            960..961 => Op::Revoke,
            961..968 => Op::Stranger { user, template },
            968..974 => Op::Adjust { user, template, by: [-2, -1, 1, 2][dice.random_range(0..4)] },
            974..976 => Op::Open { user, template, count: dice.random_range(1..4) },
            _ => Op::Settle { sent: dice.random_bool(0.6) },
        }
    }

    /// A few users are busy.
    fn user(&self, dice: &mut SmallRng) -> usize {
        let most = if dice.random_bool(0.2) { self.users.div_ceil(10) } else { self.users };
        dice.random_range(0..most)
    }
}

fn some_templates(dice: &mut SmallRng) -> Vec<usize> {
    let count = [1, 1, 1, 2, 3][dice.random_range(0..5)];
    let first = dice.random_range(0..TEMPLATES);
    (0..count).map(|next| (first + next) % TEMPLATES).collect()
}

fn answer(dice: &mut SmallRng) -> Answer {
    let word = match dice.random_range(0..100) {
        0..62 => "accept",
        62..70 => "acceptWithAlert",
        70..76 => "acceptWithAudio",
        76..80 => "acceptWithForcePush",
        80..94 => "reject",
        94..97 => "ban",
        _ => "filter",
    };
    Answer {
        word,
        silent: dice.random_bool(0.3),
        keep: word == "accept" && dice.random_bool(0.2) || dice.random_bool(0.01),
    }
}

fn report(dice: &mut SmallRng) -> Report {
    match dice.random_range(0..100) {
        0..70 => Report::Now { times: 1, dated: dice.random_bool(0.7) },
        70..80 => Report::Now { times: 2, dated: dice.random_bool(0.7) },
        80..90 => Report::Late,
        _ => Report::Lost,
    }
}

fn setting(dice: &mut SmallRng) -> Value {
    let place = if dice.random_bool(0.5) { "card" } else { "settings_page" };
    match dice.random_range(0..10) {
        0..5 => json!({ "state": "reject", "place": place }),
        5..8 => json!({ "state": "accept", "place": place }),
        8 => json!({ "main_switch": false, "place": "settings_page" }),
        _ => json!({ "main_switch": true, "place": "settings_page" }),
    }
}

/// `commit` is left out of `errcode`: whoever repeats after WeChat's own "try again" sends twice then, and nothing could tell.
fn send_fault(dice: &mut SmallRng) -> Value {
    let sent = dice.random_bool(0.5);
    match dice.random_range(0..20) {
        0..3 => json!({ "kind": "drop_before_commit" }),
        3..7 => json!({ "kind": "drop_after_commit" }),
        7 => json!({ "kind": "hang_before_commit" }),
        8 => json!({ "kind": "hang_after_commit" }),
        9..11 => json!({ "kind": "reset", "commit": sent }),
        11..13 => json!({ "kind": "http_5xx", "status": 502, "commit": sent }),
        13..15 => json!({ "kind": "garbage", "commit": sent }),
        15..17 => json!({ "kind": "errcode", "code": -1 }),
        17 => json!({ "kind": "errcode", "code": 43108 }),
        18 => json!({ "kind": "latency", "ms": dice.random_range(10..1_200) }),
        _ => json!({ "kind": "slow_body", "ms": dice.random_range(10..1_200) }),
    }
}

fn push_fault(dice: &mut SmallRng) -> Value {
    match dice.random_range(0..10) {
        0..4 => json!({ "kind": "lost" }),
        4..6 => json!({ "kind": "duplicated", "copies": dice.random_range(1..4) }),
        6..8 => json!({ "kind": "late", "ms": dice.random_range(10..3_000) }),
        _ => json!({ "kind": "reordered" }),
    }
}
