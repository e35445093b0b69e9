//! What WeChat's documents leave open (wechat-api §14), as switches, and three profiles that set them all.
//!
//! Nobody outside WeChat knows which choice is true, and WeChat may change it. So a suite runs under every profile, and a
//! single switch can be turned to ask what would follow from it. Each app has its own reality, or the sandbox's.

use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::ControlError;

/// Most times WeChat hands over one push.
const MOST_DELIVERIES: u32 = 20;

/// A named set of choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// What the documents say, to the letter; where they are silent, the reading closest to their samples.
    Documented,
    /// What developers report from real traffic. The default.
    Observed,
    /// The choices that hurt, and shapes that change from push to push, drawn from the seed.
    Hostile,
}

impl Profile {
    /// All of them, for suites that run under each.
    pub const ALL: [Self; 3] = [Self::Documented, Self::Observed, Self::Hostile];

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Documented => "documented",
            Self::Observed => "observed",
            Self::Hostile => "hostile",
        }
    }

    /// The choices it stands for.
    ///
    /// No profile has WeChat answer -1 for a message that it sent (§14.32): whoever repeats after -1, as everybody does,
    /// then sends twice. [`Reality::system_errors_send`] is there to look at that.
    pub fn reality(self) -> Reality {
        let observed = Reality {
            refusal_takes_count: false,
            most_counts: None,
            off_clears_counts: false,
            deleting_clears_counts: false,
            answer_msgid: true,
            lose_msgid: 0.0,
            number_values: true,
            system_errors: 0.0,
            system_errors_send: 0.0,
            failed_deliveries: 0.0,
            failure_returns_count: false,
            trial_shares_counts: true,
            silent_taps_push: Habit::Never,
            settings_page_pushes: Habit::Always,
            main_switch_pushes: Habit::Never,
            exact_words: Habit::Never,
            unusual_words_push: Habit::Never,
            deliveries: 3,
            retries_renew: Habit::Never,
            previous_key: Habit::Never,
            list: ListShape::ByCount,
            xml_bare_list: Habit::Never,
            xml_lines: Habit::Never,
            create_time: Scalar::Number,
            push_msgid: Scalar::Text,
            push_codes: Scalar::Text,
            popup_scene: Scene::Zero,
            quota_wrong_by: 0.0,
            pre_auth_code_seconds: 1_800,
            replaced_token_seconds: 300,
            ticket_repeats: Habit::Mixed,
            push_has_its_own_code: Habit::Always,
            unchanged_sets_push: Habit::Never,
            refresh_token_rotates: Habit::Never,
            rotated_refresh_token_ends: false,
            list_hides_unqueried: true,
            named_sets: Habit::Never,
            platform_ends_own_tokens: false,
        };
        match self {
            Self::Observed => observed,
            Self::Documented => Reality {
                answer_msgid: false,
                number_values: false,
                settings_page_pushes: Habit::Never,
                create_time: Scalar::Text,
                ticket_repeats: Habit::Never,
                list_hides_unqueried: false,
                named_sets: Habit::Always,
                ..observed
            },
            Self::Hostile => Reality {
                refusal_takes_count: true,
                most_counts: Some(20),
                off_clears_counts: true,
                deleting_clears_counts: true,
                lose_msgid: 0.5,
                number_values: false,
                system_errors: 0.05,
                failed_deliveries: 0.05,
                trial_shares_counts: false,
                silent_taps_push: Habit::Mixed,
                settings_page_pushes: Habit::Mixed,
                main_switch_pushes: Habit::Always,
                exact_words: Habit::Mixed,
                unusual_words_push: Habit::Mixed,
                deliveries: 4,
                retries_renew: Habit::Mixed,
                previous_key: Habit::Mixed,
                list: ListShape::Mixed,
                xml_bare_list: Habit::Mixed,
                xml_lines: Habit::Mixed,
                create_time: Scalar::Mixed,
                push_msgid: Scalar::Mixed,
                push_codes: Scalar::Mixed,
                popup_scene: Scene::Mixed,
                quota_wrong_by: 0.01,
                pre_auth_code_seconds: 600,
                replaced_token_seconds: 0,
                push_has_its_own_code: Habit::Mixed,
                unchanged_sets_push: Habit::Mixed,
                refresh_token_rotates: Habit::Mixed,
                rotated_refresh_token_ends: true,
                named_sets: Habit::Mixed,
                platform_ends_own_tokens: true,
                ..observed
            },
        }
    }
}

impl std::str::FromStr for Profile {
    type Err = ControlError;

    fn from_str(name: &str) -> Result<Self, ControlError> {
        let known = Self::ALL.into_iter().find(|profile| profile.as_str() == name);
        known.ok_or_else(|| ControlError::invalid("profile", "is documented, observed or hostile"))
    }
}

/// Whether WeChat does a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Habit {
    /// It does not.
    Never,
    /// It does, each time.
    Always,
    /// Every other time, drawn from the seed.
    Mixed,
}

impl Habit {
    pub(crate) fn draw(self, dice: &mut StdRng) -> bool {
        // A draw is made either way, so that one switch does not shift what the others draw.
        let coin = dice.random::<bool>();
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Mixed => coin,
        }
    }
}

/// How a number is spelled in the JSON of a push. In XML it stands bare, and under `mixed` now and then as CDATA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scalar {
    /// In quotes.
    Text,
    /// As a JSON number.
    Number,
    /// Now so, now so.
    Mixed,
}

/// How the JSON of an event carries its items (wechat-api §7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListShape {
    /// `List` at the top: an object when there is one item, an array when there are more.
    ByCount,
    /// `List` at the top, always an array.
    Array,
    /// Older documents: the wrapper's name with an array.
    WrapperArray,
    /// As in XML: the wrapper with a `List` inside, which goes by count.
    WrapperList,
    /// One of these for each push.
    Mixed,
}

/// What `PopupScene` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scene {
    /// 0, the only value defined for Mini Programs.
    Zero,
    /// 2, as the XML sample has it.
    Two,
    /// Now so, now so.
    Mixed,
}

/// Points that WeChat's documents leave open (wechat-api §14); suites should pass under more than one choice. The default is
/// [`Profile::Observed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reality {
    /// A send refused for its content or page (47003, 45168, 41030) still takes one count (§14.1). Default false.
    pub refusal_takes_count: bool,
    /// Most counts one (user, template) can pile up; further accepts add nothing (§14.2). Default no limit.
    pub most_counts: Option<u64>,
    /// Switching a template or the main switch off erases the counts (§14.3). Default false.
    pub off_clears_counts: bool,
    /// Deleting a template erases the counts of it (§14.30). Default false.
    pub deleting_clears_counts: bool,
    /// A successful send answers `msgid` (§14.17: absent from the table, present in practice). Default true.
    pub answer_msgid: bool,
    /// Share of the answers that should carry `msgid` and do not, 0..=1 (§14.17). Default 0.
    pub lose_msgid: f64,
    /// A JSON number as the `value` of a keyword is taken; otherwise 47003 (§14.10). Default true.
    pub number_values: bool,
    /// Share of otherwise good sends that are answered -1, 0..=1 (§14.32). Default 0.
    pub system_errors: f64,
    /// Share of those that were sent all the same, 0..=1 (§14.32). Default 0, in every profile.
    pub system_errors_send: f64,
    /// Share of accepted sends that fail later: their sent event has an `ErrorCode` that is not 0, 0..=1 (§14.18). The
    /// codes are invented; WeChat publishes none. Default 0.
    pub failed_deliveries: f64,
    /// Such a failure gives the count back (§14.1). Default false.
    pub failure_returns_count: bool,
    /// Taps in the development and trial versions add to the counts of the formal one, and messages that open those versions
    /// take from them (§14.5). Otherwise they have counts of their own. Default true.
    pub trial_shares_counts: bool,
    /// Calls that showed no popup ("always keep") push the popup event (§14.4). Default never.
    pub silent_taps_push: Habit,
    /// A template switched off in the settings page is pushed, as it is from the card's menu (§14.33). Default always.
    pub settings_page_pushes: Habit,
    /// The main switch going off pushes a reject of every template the user ever answered. Default never.
    pub main_switch_pushes: Habit,
    /// Pushes say `acceptWithAudio` and the like where the user chose so, rather than `accept` (§7.2). Default never.
    pub exact_words: Habit,
    /// Pushes list templates that came out as `ban` or `filter`. Default never.
    pub unusual_words_push: Habit,
    /// How often a push is handed over in all until it is taken, 1..=20 (§14.6: three or four). Default 3.
    pub deliveries: u32,
    /// A repeated push has a new timestamp, nonce and signature (§14.6). Default never.
    pub retries_renew: Habit,
    /// After the key was changed, pushes still come under the one before (wechat-api §8). Default never.
    pub previous_key: Habit,
    /// How JSON carries the items of an event (§14.16). Default by count.
    pub list: ListShape,
    /// XML leaves the wrapper around `List` out (§14.16). Default never.
    pub xml_bare_list: Habit,
    /// XML has line ends between elements. Default never.
    pub xml_lines: Habit,
    /// `CreateTime` (§14.15). Default number.
    pub create_time: Scalar,
    /// `MsgID` of the sent event. Default text.
    pub push_msgid: Scalar,
    /// `PopupScene` and `ErrorCode`. Default text.
    pub push_codes: Scalar,
    /// `PopupScene` (§14.14). Default 0.
    pub popup_scene: Scene,
    /// By how much of itself `used` in `openapi/quota/get` may be wrong, 0..=1 (§14.19). Default 0.
    pub quota_wrong_by: f64,
    /// Life of a `pre_auth_code` in seconds, 60..=86,400 (§14.12: 1,800 or 600). Default 1,800.
    pub pre_auth_code_seconds: i64,
    /// How long a platform's token, or one it holds for an app, works after a newer one was fetched, in seconds,
    /// 0..=7,200. WeChat tells only of an app's own: 300. Default 300.
    pub replaced_token_seconds: i64,
    /// A ticket is pushed again while it is good for another hour at least (§9.2). Default mixed.
    pub ticket_repeats: Habit,
    /// The push that tells of an authorization has another code than the redirect (§9.5: both work). With one code for both,
    /// the second to be traded is refused. Default always.
    pub push_has_its_own_code: Habit,
    /// Scanning again without changing the permission sets is pushed (§9.5). Default never.
    pub unchanged_sets_push: Habit,
    /// `api_authorizer_token` gives a new refresh token (§14.29). Default never.
    pub refresh_token_rotates: Habit,
    /// The refresh token before such a new one stops working at once. Default false.
    pub rotated_refresh_token_ends: bool,
    /// `api_get_authorizer_list` leaves `refresh_token` empty until the code was traded (§9.6). Default true.
    pub list_hides_unqueried: bool,
    /// `func_info` tells `type`, `name` and `desc` of a permission set besides its `id` (§9.7). Default never.
    pub named_sets: Habit,
    /// Token calls with the appid and secret of an app that authorized a platform answer 61024 (§9.8). Default false: its
    /// other systems go on as before.
    pub platform_ends_own_tokens: bool,
}

impl Default for Reality {
    fn default() -> Self {
        Profile::Observed.reality()
    }
}

impl Reality {
    /// Lays `switches` over this one. Errors: a switch that does not exist, a value out of range.
    pub(crate) fn with(&self, switches: Map<String, Value>) -> Result<Self, ControlError> {
        let bad = |e: serde_json::Error| ControlError::invalid("reality", e.to_string());
        let mut value = serde_json::to_value(self).map_err(bad)?;
        for (name, given) in switches {
            match value.get_mut(&name) {
                Some(old) => *old = given,
                None => return Err(ControlError::invalid("reality", format!("no switch {name:?}"))),
            }
        }
        let reality: Self = serde_json::from_value(value).map_err(bad)?;
        reality.validate()?;
        Ok(reality)
    }

    pub(crate) fn validate(&self) -> Result<(), ControlError> {
        let shares = [
            ("lose_msgid", self.lose_msgid),
            ("system_errors", self.system_errors),
            ("system_errors_send", self.system_errors_send),
            ("failed_deliveries", self.failed_deliveries),
            ("quota_wrong_by", self.quota_wrong_by),
        ];
        for (field, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return Err(ControlError::invalid(field, "must be 0..=1"));
            }
        }
        if !(1..=MOST_DELIVERIES).contains(&self.deliveries) {
            return Err(ControlError::invalid("deliveries", format!("must be 1..={MOST_DELIVERIES}")));
        }
        if !(60..=86_400).contains(&self.pre_auth_code_seconds) {
            return Err(ControlError::invalid("pre_auth_code_seconds", "must be 60..=86400"));
        }
        if !(0..=7_200).contains(&self.replaced_token_seconds) {
            return Err(ControlError::invalid("replaced_token_seconds", "must be 0..=7200"));
        }
        Ok(())
    }
}

/// The name of a reality: `documented`, `observed`, `hostile`; with `+changes` when single switches differ; or `custom`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileName(Arc<str>);

impl ProfileName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ProfileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ProfileName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A reality in force and the name that journals write down for it.
#[derive(Debug)]
pub(crate) struct Ruling {
    pub(crate) reality: Reality,
    pub(crate) name: ProfileName,
}

impl Ruling {
    /// `base` is the profile that `reality` was made from, if it was made from one.
    pub(crate) fn new(reality: Reality, base: Option<Profile>) -> Arc<Self> {
        let name = match (Profile::ALL.into_iter().find(|p| p.reality() == reality), base) {
            (Some(same), _) => same.as_str().to_owned(),
            (None, Some(base)) => format!("{}+changes", base.as_str()),
            (None, None) => "custom".to_owned(),
        };
        Arc::new(Self { reality, name: ProfileName(name.into()) })
    }

    pub(crate) fn view(&self) -> RealityView {
        RealityView { profile: self.name.clone(), reality: self.reality.clone() }
    }
}

/// The choices an app lives under.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RealityView {
    /// The profile's name.
    pub profile: ProfileName,
    /// Every switch.
    pub reality: Reality,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn switches(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_reality_is_named_after_the_profile_it_equals_or_comes_from() {
        let name = |reality, base| Ruling::new(reality, base).name.to_string();
        for profile in Profile::ALL {
            assert_eq!(name(profile.reality(), None), profile.as_str());
        }
        let changed = Profile::Hostile.reality().with(switches(json!({ "deliveries": 1 }))).unwrap();
        assert_eq!(name(changed.clone(), Some(Profile::Hostile)), "hostile+changes");
        assert_eq!(name(changed, None), "custom");
        assert_eq!(name(Reality::default(), Some(Profile::Hostile)), "observed");
    }

    #[test]
    fn what_no_switch_can_be_is_refused() {
        for bad in [
            json!({ "gravity": 1 }),
            json!({ "lose_msgid": 1.1 }),
            json!({ "system_errors": -0.1 }),
            json!({ "deliveries": 0 }),
            json!({ "list": "heap" }),
            json!({ "silent_taps_push": true }),
        ] {
            assert!(Reality::default().with(switches(bad.clone())).is_err(), "{bad}");
        }
    }
}
