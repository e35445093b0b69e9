//! A day in the life of a Mini Program, from a seed: a thousand users who tap, refuse, tick "always keep", change their
//! settings, and are to be sent messages.
//!
//! The plan depends on its [`DaySpec`] and the app's templates alone. It is played act by act, each through the same door
//! as a tap by hand, so that WeChat's pushes of it come by themselves; what an honest Mini Program would report of it is
//! given to the caller, who may forward, lose, repeat or delay it.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha1::{Digest, Sha1};

use crate::act::SettingPlace;
use crate::error::ControlError;
use crate::ids::openid_from;
use crate::sandbox::Sandbox;
use crate::tap::TapSpec;
use crate::template::ONE_TIME;
use crate::user::{Choice, SettingState};

/// Most users, taps and sends of a day.
const MOST_USERS: usize = 100_000;
const MOST_ACTS: usize = 1_000_000;
/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 3_600 * 1_000;
/// One change of settings to so many taps.
const TAPS_A_SETTING: usize = 25;
/// Most templates of one call; older clients take no more (wechat-api §6.1).
const MOST_IDS: usize = 3;

/// What kind of day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaySpec {
    /// The same seed is the same day.
    pub seed: u64,
    /// How many users, 1..=100,000. Those that do not exist are made; their openids come from the seed.
    pub users: usize,
    /// Calls of `wx.requestSubscribeMessage`, 0..=1,000,000. Some users tap much more than others.
    pub taps: usize,
    /// Moments at which the service is to send, 0..=1,000,000. Default 0. Nothing is sent by the sandbox.
    #[serde(default)]
    pub sends: usize,
    /// The templates it is about. Default: every one-time template of the app.
    #[serde(default)]
    pub templates: Vec<String>,
    /// How many of its seconds pass in one second of real time. Default: no waiting at all.
    #[serde(default)]
    pub scale: Option<f64>,
    /// Move the sandbox's clock along, so that the day ends a day later. Default false. Leave it off where the service
    /// under test compares times with a clock of its own.
    #[serde(default)]
    pub move_clock: bool,
}

impl DaySpec {
    /// A day without sends, as fast as it goes.
    pub const fn new(seed: u64, users: usize, taps: usize) -> Self {
        Self { seed, users, taps, sends: 0, templates: Vec::new(), scale: None, move_clock: false }
    }
}

/// One thing that happened, in the order it happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DayLine {
    /// A tap: what the client would report.
    Tap {
        /// Milliseconds since the day began.
        at_ms: u64,
        /// The tap's id in the journal of acts.
        id: String,
        /// Who.
        openid: String,
        /// A popup was shown.
        popup: bool,
        /// The client's result object.
        result: Value,
    },
    /// A change of settings. No client reports it.
    Setting {
        /// Milliseconds since the day began.
        at_ms: u64,
        /// Who.
        openid: String,
        /// None for the main switch.
        template_id: Option<String>,
        /// What it was set to.
        state: SettingState,
        /// Where.
        place: SettingPlace,
    },
    /// The moment for the service to send this; whether it may is for its ledger to know.
    Send {
        /// Milliseconds since the day began.
        at_ms: u64,
        /// To whom.
        openid: String,
        /// What.
        template_id: String,
    },
    /// The last line.
    End {
        /// Taps played.
        taps: usize,
        /// Accepted answers among them, over all templates.
        accepts: usize,
        /// Changes of settings.
        settings: usize,
        /// Moments to send.
        sends: usize,
        /// SHA-1 of all lines before, each with its line end: two equal days have equal digests.
        digest: String,
    },
}

#[derive(Debug)]
struct Planned {
    at_ms: u64,
    user: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Templates with what the user will say if asked, and whether "always keep" is ticked then.
    Tap {
        intents: Vec<(usize, Choice)>,
        keep: bool,
    },
    Setting {
        template: Option<usize>,
        state: SettingState,
        place: SettingPlace,
    },
    Send {
        template: usize,
    },
}

/// A day that is being played. Each step plays one act.
#[derive(Debug)]
pub struct Day {
    sandbox: Sandbox,
    appid: String,
    spec: DaySpec,
    openids: Vec<String>,
    templates: Vec<String>,
    plan: std::vec::IntoIter<Planned>,
    played: u64,
    clock_ms: u64,
    sums: [usize; 4],
    hash: Sha1,
    ended: bool,
}

impl Sandbox {
    /// Plans a day and makes its users. Errors: no such app or template, a number out of range.
    pub fn day(&self, appid: &str, spec: &DaySpec) -> Result<Day, ControlError> {
        let app = self.app(appid)?;
        let one_time = app.templates.iter().filter(|t| t.kind == ONE_TIME).map(|t| t.pri_tmpl_id.clone());
        let templates = if spec.templates.is_empty() { one_time.collect() } else { spec.templates.clone() };
        if templates.is_empty() || templates.iter().any(|id| !known(&app.templates, id)) {
            return Err(ControlError::NotFound { what: "template" });
        }
        let ranges = [
            ("users", spec.users, MOST_USERS),
            ("taps", spec.taps, MOST_ACTS),
            ("sends", spec.sends, MOST_ACTS),
        ];
        for (field, number, most) in ranges {
            if number > most || (field == "users" && number == 0) {
                return Err(ControlError::invalid(
                    field,
                    format!("must be at most {most}; users at least 1"),
                ));
            }
        }
        if spec.scale.is_some_and(|scale| !(scale.is_finite() && scale >= 1.0)) {
            return Err(ControlError::invalid("scale", "must be 1 or more"));
        }
        let mut dice = StdRng::seed_from_u64(spec.seed ^ 0xd6e8_feb8_6659_fd93);
        let openids: Vec<String> = (0..spec.users).map(|_| openid_from(&mut dice)).collect();
        let plan = plan(spec, templates.len(), app.settings.tap_limit, &mut dice);
        for openid in &openids {
            match self.create_user(appid, Some(openid)) {
                Ok(_) | Err(ControlError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Day {
            sandbox: self.clone(),
            appid: appid.to_owned(),
            spec: spec.clone(),
            openids,
            templates,
            plan: plan.into_iter(),
            played: 0,
            clock_ms: 0,
            sums: [0; 4],
            hash: Sha1::new(),
            ended: false,
        })
    }
}

fn known(templates: &[crate::template::Template], id: &str) -> bool {
    templates.iter().any(|t| t.pri_tmpl_id == id)
}

/// Draws the day. Busy hours are those around noon and in the evening; a few users do most of the tapping.
fn plan(spec: &DaySpec, templates: usize, tap_limit: usize, dice: &mut StdRng) -> Vec<Planned> {
    let mut plan = Vec::with_capacity(spec.taps + spec.sends + 2 * spec.taps / TAPS_A_SETTING);
    for _ in 0..spec.taps {
        let user = skewed(spec.users, dice);
        let most = MOST_IDS.min(templates).min(tap_limit).max(1);
        let first = dice.random_range(0..templates);
        let ids = (0..dice.random_range(1..=most)).map(|i| (first + i) % templates);
        let intents = ids.map(|id| (id, word(dice.random_range(0..100)))).collect();
        let keep = dice.random_range(0..100) < 15;
        plan.push(Planned { at_ms: hour(dice), user, what: What::Tap { intents, keep } });
    }
    for _ in 0..spec.taps / TAPS_A_SETTING {
        let (user, at_ms) = (skewed(spec.users, dice), hour(dice));
        let template = Some(dice.random_range(0..templates));
        let place = if dice.random() { SettingPlace::Card } else { SettingPlace::SettingsPage };
        let mut change = |at_ms, template, state, place| {
            plan.push(Planned { at_ms, user, what: What::Setting { template, state, place } });
        };
        match dice.random_range(0..10) {
            0..6 => change(at_ms, template, SettingState::Reject, place),
            6..9 => change(at_ms, template, SettingState::Accept, place),
            _ => {
                // The main switch is in the settings page only, and goes on again an hour later.
                change(at_ms, None, SettingState::MainSwitchOff, SettingPlace::SettingsPage);
                let later = (at_ms + DAY_MS / 24).min(DAY_MS - 1);
                change(later, None, SettingState::MainSwitchOn, SettingPlace::SettingsPage);
            }
        }
    }
    for _ in 0..spec.sends {
        let (user, template) = (skewed(spec.users, dice), dice.random_range(0..templates));
        plan.push(Planned { at_ms: hour(dice), user, what: What::Send { template } });
    }
    // Stable: what falls into one millisecond stays in the order it was drawn.
    plan.sort_by_key(|planned| planned.at_ms);
    plan
}

fn skewed(users: usize, dice: &mut StdRng) -> usize {
    let (a, b) = (dice.random_range(0..users), dice.random_range(0..users));
    a.min(b)
}

fn hour(dice: &mut StdRng) -> u64 {
    let around = |hour: u64, dice: &mut StdRng| {
        let spread = 4 * 3_600_000;
        hour * 3_600_000 - spread / 2 + dice.random_range(0..spread)
    };
    match dice.random_range(0..10) {
        0..3 => around(12, dice),
        3..7 => around(20, dice),
        _ => dice.random_range(0..DAY_MS),
    }
}

fn word(percent: u32) -> Choice {
    match percent {
        0..74 => Choice::Accept,
        74..78 => Choice::AcceptWithAlert,
        78..80 => Choice::AcceptWithAudio,
        80..98 => Choice::Reject,
        _ => Choice::Ban,
    }
}

impl Day {
    /// How long after the day's first moment the next line is due, in real time; zero without a scale, none at the end.
    pub fn next_after(&self) -> Option<Duration> {
        let due = self.plan.as_slice().first().map(|planned| planned.at_ms);
        let due = if due.is_none() && !self.ended { Some(DAY_MS) } else { due };
        let seconds = |ms: u64| ms as f64 / 1_000.0 / self.spec.scale.unwrap_or(f64::INFINITY);
        due.map(|ms| Duration::try_from_secs_f64(seconds(ms)).unwrap_or_default())
    }

    fn play(&mut self, planned: Planned) -> Result<DayLine, ControlError> {
        let Planned { at_ms, user, what } = planned;
        self.follow_clock(at_ms)?;
        self.played += 1;
        let openid = self.openids.get(user).cloned().unwrap_or_default();
        let id_of = |template: usize| self.templates.get(template).cloned().unwrap_or_default();
        Ok(match what {
            What::Tap { intents, keep } => {
                let id = format!("day-{}-{}", self.spec.seed, self.played);
                let spec = TapSpec {
                    template_ids: intents.iter().map(|(template, _)| id_of(*template)).collect(),
                    keep,
                    id: Some(id.clone()),
                    ..TapSpec::new(&openid, &[], Choice::Accept)
                };
                let intents = intents.iter().map(|(template, choice)| (id_of(*template), *choice)).collect();
                let (result, popup) = self.sandbox.with(|state| {
                    state.tap_unless_kept(&self.appid, TapSpec { choice: None, ..spec }, intents)
                })?;
                self.sums[0] += 1;
                self.sums[1] += accepts(&result);
                DayLine::Tap { at_ms, id, openid, popup, result }
            }
            What::Setting { template, state, place } => {
                let template_id = template.map(id_of);
                self.sandbox.change_setting_at(place, &self.appid, &openid, template_id.as_deref(), state)?;
                self.sums[2] += 1;
                DayLine::Setting { at_ms, openid, template_id, state, place }
            }
            What::Send { template } => {
                self.sums[3] += 1;
                DayLine::Send { at_ms, openid, template_id: id_of(template) }
            }
        })
    }

    /// Moves the sandbox's clock to this moment of the day, in whole seconds.
    fn follow_clock(&mut self, at_ms: u64) -> Result<(), ControlError> {
        let seconds = at_ms.saturating_sub(self.clock_ms) / 1_000;
        if self.spec.move_clock && seconds > 0 {
            self.sandbox.advance(i64::try_from(seconds).unwrap_or(0))?;
            self.clock_ms += seconds * 1_000;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<DayLine, ControlError> {
        self.follow_clock(DAY_MS)?;
        let [taps, accepts, settings, sends] = self.sums;
        let digest = hex::encode(self.hash.clone().finalize());
        Ok(DayLine::End { taps, accepts, settings, sends, digest })
    }
}

fn accepts(result: &Value) -> usize {
    let fields = result.as_object().into_iter().flatten();
    fields
        .filter(|(name, word)| *name != "errMsg" && word.as_str().is_some_and(|w| w.starts_with("accept")))
        .count()
}

impl Iterator for Day {
    type Item = Result<DayLine, ControlError>;

    /// Plays the next act. An error (the app was reset away under it) ends the day.
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let line = match self.plan.next() {
            Some(planned) => self.play(planned),
            None => {
                self.ended = true;
                return Some(self.end());
            }
        };
        match &line {
            Ok(line) => {
                self.hash.update(serde_json::to_vec(line).unwrap_or_default());
                self.hash.update(b"\n");
            }
            Err(_) => self.ended = true,
        }
        Some(line)
    }
}
