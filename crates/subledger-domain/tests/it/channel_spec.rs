//! A channel is set up once, follows WeChat's template list, and can be stopped.

use subledger_domain::channel::*;
use subledger_domain::ledger::{DoubtVerdict, RefusedSend, SettingsOff, Taps, UnknownBalance};
use subledger_domain::{ChannelCode, Decide, Template, TemplateId, TemplateKey, TemplateKind, Timestamp};

use crate::support::*;

fn registered() -> Registered {
    Registered {
        appid: "wx00000000demo0001".to_owned(),
        name: "Demo".to_owned(),
        secret: Some(SecretRef("secret-1".to_owned())),
        token_mode: TokenMode::Stable,
        token_url: None,
        policy: Policy::default(),
    }
}

fn set_up() -> Vec<ChannelEvent> {
    vec![ChannelEvent::Registered(registered())]
}

fn id(n: u8) -> TemplateId {
    format!("template-{n}").parse().unwrap()
}

fn template(n: u8, title: &str) -> Template {
    Template {
        id: id(n),
        title: title.to_owned(),
        content: "{{thing1.DATA}}".to_owned(),
        example: String::new(),
        kind: TemplateKind::OneTime,
        keys: vec![TemplateKey { key: "thing1".to_owned(), label: String::new(), allowed: vec![] }],
    }
}

fn refresh(listed: Vec<Template>) -> ChannelCommand {
    ChannelCommand::RefreshTemplates { listed }
}

fn refreshed(
    listed: u32,
    added: Vec<Template>,
    changed: Vec<Template>,
    vanished: Vec<TemplateId>,
) -> ChannelEvent {
    ChannelEvent::TemplatesRefreshed(TemplatesRefreshed { listed, added, changed, vanished })
}

#[test]
fn a_channel_is_set_up_once() {
    spec::<Channel>(vec![], ChannelCommand::Register(registered()), set_up());
    refused::<Channel>(set_up(), ChannelCommand::Register(registered()), ChannelError::AlreadyRegistered);
}

#[test]
fn nothing_can_be_asked_of_a_channel_that_is_not_set_up() {
    let secret = secret_ref(2);
    for ask in [
        ChannelCommand::ReplaceCredentials { secret: secret.clone() },
        ChannelCommand::ChangeTokenSource { source: source(TokenMode::Normal, Some(2), None) },
        ChannelCommand::SuspectTokenConflict { mode: TokenMode::Normal, code: 40001, age_s: 1, life_s: 2 },
        refresh(vec![]),
        ChannelCommand::Pause { reason: String::new() },
        ChannelCommand::Resume { reason: String::new() },
        ChannelCommand::ChangePolicy { policy: Policy::default() },
        relay_to("https://hooks.example.com/a", false),
        ChannelCommand::StopRelay { cause: RelayStop::Asked, only: None },
    ] {
        refused::<Channel>(vec![], ask, ChannelError::NotRegistered);
    }
}

#[test]
fn no_channel_may_be_called_main() {
    for name in ["main", "Main", "MAIN", "mAiN"] {
        let error = name.parse::<ChannelCode>().unwrap_err();
        assert_eq!(error.what, "channel code");
        assert!(serde_json::from_str::<ChannelCode>(&format!("\"{name}\"")).is_err());
    }
    for name in ["main1", "domain", "wechatmp123", "a"] {
        assert_eq!(name.parse::<ChannelCode>().unwrap().as_str(), name);
    }
    for name in ["", "a-b", "渠道", "a b", &"a".repeat(33)] {
        assert!(name.parse::<ChannelCode>().is_err(), "{name:?}");
    }
}

#[test]
fn the_newest_secret_is_the_one_in_use() {
    let secret = SecretRef("secret-2".to_owned());
    let replaced = ChannelEvent::CredentialsReplaced(CredentialsReplaced { secret: secret.clone() });
    spec::<Channel>(
        set_up(),
        ChannelCommand::ReplaceCredentials { secret: secret.clone() },
        vec![replaced.clone()],
    );
    let mut channel = Channel::default();
    set_up().into_iter().chain([replaced]).for_each(|event| cqrs_es::Aggregate::apply(&mut channel, event));
    assert_eq!(channel.secret(), Some(&secret));
}

fn secret_ref(n: u8) -> SecretRef {
    SecretRef(format!("secret-{n}"))
}

fn source(mode: TokenMode, secret: Option<u8>, url: Option<&str>) -> TokenSourceChanged {
    TokenSourceChanged { mode, secret: secret.map(secret_ref), url: url.map(str::to_owned) }
}

const TOKEN_SERVER: &str = "https://tokens.example.com/wechatmp123";

#[test]
fn tokens_come_from_where_the_channel_was_last_told() {
    let mut history = set_up();
    for asked in [
        source(TokenMode::Normal, Some(1), None),
        source(TokenMode::External, Some(2), Some(TOKEN_SERVER)),
        source(TokenMode::External, Some(3), Some(TOKEN_SERVER)),
        source(TokenMode::Platform, None, None),
        source(TokenMode::Stable, Some(4), None),
    ] {
        let changed = ChannelEvent::TokenSourceChanged(asked.clone());
        let command = ChannelCommand::ChangeTokenSource { source: asked.clone() };
        spec::<Channel>(history.clone(), command.clone(), vec![changed.clone()]);
        history.push(changed);
        let mut channel = Channel::default();
        history.iter().for_each(|event| cqrs_es::Aggregate::apply(&mut channel, event.clone()));
        let now = channel.registered().unwrap();
        let found = (now.token_mode, channel.secret().cloned(), now.token_url.clone());
        assert_eq!(found, (asked.mode, asked.secret, asked.url));
        spec::<Channel>(history.clone(), command, vec![]);
    }
}

#[test]
fn each_mode_needs_what_it_needs_and_nothing_else() {
    for (mode, secret, url) in [
        (TokenMode::Stable, None, None),
        (TokenMode::Stable, Some(1), Some(TOKEN_SERVER)),
        (TokenMode::Normal, None, None),
        (TokenMode::External, Some(1), None),
        (TokenMode::External, None, Some(TOKEN_SERVER)),
        (TokenMode::Platform, Some(1), None),
        (TokenMode::Platform, None, Some(TOKEN_SERVER)),
    ] {
        let refusal = ChannelError::TokenSourceDoesNotFit { mode };
        let asked = source(mode, secret, url);
        let change = ChannelCommand::ChangeTokenSource { source: asked.clone() };
        refused::<Channel>(set_up(), change, refusal.clone());
        let TokenSourceChanged { mode: token_mode, secret, url: token_url } = asked;
        let registration = Registered { token_mode, secret, token_url, ..registered() };
        refused::<Channel>(vec![], ChannelCommand::Register(registration), refusal);
    }
}

#[test]
fn a_platform_channel_has_no_secret_to_replace() {
    let platform = Registered { secret: None, token_mode: TokenMode::Platform, ..registered() };
    spec::<Channel>(
        vec![],
        ChannelCommand::Register(platform.clone()),
        vec![ChannelEvent::Registered(platform.clone())],
    );
    refused::<Channel>(
        vec![ChannelEvent::Registered(platform)],
        ChannelCommand::ReplaceCredentials { secret: secret_ref(2) },
        ChannelError::NoSecretInUse,
    );
}

#[test]
fn a_suspected_conflict_is_told_of_once_an_hour() {
    let ask = || ChannelCommand::SuspectTokenConflict {
        mode: TokenMode::Normal,
        code: 40001,
        age_s: 412,
        life_s: 7_200,
    };
    let told = |at| {
        ChannelEvent::TokenConflictSuspected(TokenConflictSuspected {
            mode: TokenMode::Normal,
            code: 40001,
            age_s: 412,
            life_s: 7_200,
            at: Timestamp::from_seconds(at),
        })
    };
    let mut channel = Channel::default();
    set_up().into_iter().for_each(|event| cqrs_es::Aggregate::apply(&mut channel, event));
    let mut decide = |at: i64| {
        let events = channel.decide(ask(), Timestamp::from_seconds(at)).unwrap();
        events.iter().for_each(|event| cqrs_es::Aggregate::apply(&mut channel, event.clone()));
        events
    };
    assert_eq!(decide(1_000), [told(1_000)]);
    assert_eq!(decide(1_001), []);
    assert_eq!(decide(1_000 + TOKEN_CONFLICT_QUIET_S - 1), []);
    assert_eq!(decide(1_000 + TOKEN_CONFLICT_QUIET_S), [told(1_000 + TOKEN_CONFLICT_QUIET_S)]);
}

#[test]
fn a_refresh_tells_what_is_new_changed_and_gone() {
    let first = refreshed(2, vec![template(1, "a"), template(2, "b")], vec![], vec![]);
    spec::<Channel>(set_up(), refresh(vec![template(2, "b"), template(1, "a")]), vec![first.clone()]);
    let history = [set_up(), vec![first]].concat();
    spec::<Channel>(
        history.clone(),
        refresh(vec![template(1, "a"), template(2, "b")]),
        vec![refreshed(2, vec![], vec![], vec![])],
    );
    let second = refreshed(2, vec![template(3, "c")], vec![template(1, "A")], vec![id(2)]);
    spec::<Channel>(history.clone(), refresh(vec![template(1, "A"), template(3, "c")]), vec![second.clone()]);

    let history = [history, vec![second]].concat();
    let mut channel = Channel::default();
    history.iter().for_each(|event| cqrs_es::Aggregate::apply(&mut channel, event.clone()));
    let listed: Vec<_> = channel.templates().map(|t| (t.template.title.as_str(), t.listed)).collect();
    assert_eq!(listed, [("A", true), ("b", false), ("c", true)]);
    // A template that vanished and is listed again is new, and vanishes once only.
    let back = refresh(vec![template(1, "A"), template(2, "b"), template(3, "c")]);
    spec::<Channel>(history.clone(), back, vec![refreshed(3, vec![template(2, "b")], vec![], vec![])]);
    let same = refresh(vec![template(1, "A"), template(3, "c")]);
    spec::<Channel>(history, same, vec![refreshed(2, vec![], vec![], vec![])]);
}

#[test]
fn a_list_beyond_the_limit_is_refused() {
    let list = |n: usize| {
        (0..n).map(|n| Template { id: format!("template-{n}").parse().unwrap(), ..template(1, "a") })
    };
    let error = ChannelError::TooManyTemplates { found: MAX_TEMPLATES + 1, limit: MAX_TEMPLATES };
    refused::<Channel>(set_up(), refresh(list(MAX_TEMPLATES + 1).collect()), error);
    assert!(decide::<Channel>(set_up(), refresh(list(MAX_TEMPLATES).collect())).is_ok());
}

#[test]
fn a_channel_pauses_and_resumes_in_turn() {
    let reason = || "maintenance".to_owned();
    let paused = ChannelEvent::Paused(Paused { reason: reason() });
    let resumed = ChannelEvent::Resumed(Resumed { reason: reason() });
    let pause = || ChannelCommand::Pause { reason: reason() };
    let resume = || ChannelCommand::Resume { reason: reason() };
    let stopped = [set_up(), vec![paused.clone()]].concat();
    let running = [stopped.clone(), vec![resumed.clone()]].concat();
    spec::<Channel>(set_up(), pause(), vec![paused.clone()]);
    spec::<Channel>(stopped.clone(), resume(), vec![resumed]);
    spec::<Channel>(running.clone(), pause(), vec![paused]);
    refused::<Channel>(stopped, pause(), ChannelError::AlreadyPaused);
    refused::<Channel>(running, resume(), ChannelError::NotPaused);
    refused::<Channel>(set_up(), resume(), ChannelError::NotPaused);
}

#[test]
fn a_policy_is_recorded_when_it_changes() {
    let policy = Policy { unknown_balance: UnknownBalance::Attempt, ..Policy::default() };
    let changed = ChannelEvent::PolicyChanged(PolicyChanged { policy });
    spec::<Channel>(set_up(), ChannelCommand::ChangePolicy { policy: Policy::default() }, vec![]);
    spec::<Channel>(set_up(), ChannelCommand::ChangePolicy { policy }, vec![changed.clone()]);
    let history = [set_up(), vec![changed]].concat();
    spec::<Channel>(history, ChannelCommand::ChangePolicy { policy }, vec![]);
}

#[test]
fn a_change_of_policy_touches_what_it_names_only() {
    let policy = Policy { taps: Taps::PushOnly, ..Policy::default() };
    let history = [set_up(), vec![ChannelEvent::PolicyChanged(PolicyChanged { policy })]].concat();
    let amend = |change| ChannelCommand::AmendPolicy { change };
    let change = PolicyChange { tap_window_s: Some(30), ..PolicyChange::default() };
    let changed = Policy { taps: Taps::PushOnly, tap_window_s: 30, ..Policy::default() };
    let event = ChannelEvent::PolicyChanged(PolicyChanged { policy: changed });
    spec::<Channel>(history.clone(), amend(change), vec![event]);
    spec::<Channel>(history.clone(), amend(PolicyChange::default()), vec![]);
    let all = PolicyChange {
        unknown_balance: Some(UnknownBalance::Attempt),
        taps: Some(Taps::ClientOnly),
        tap_window_s: Some(1),
        doubt_deadline_s: Some(1),
        doubt_verdict: Some(DoubtVerdict::Release),
        refused_send: Some(RefusedSend::Consume),
        settings_off: Some(SettingsOff::Clear),
        bulk_reserve: Some(25),
    };
    let policy = Policy {
        unknown_balance: UnknownBalance::Attempt,
        taps: Taps::ClientOnly,
        tap_window_s: 1,
        doubt_deadline_s: 1,
        doubt_verdict: DoubtVerdict::Release,
        refused_send: RefusedSend::Consume,
        settings_off: SettingsOff::Clear,
        bulk_reserve: 25,
    };
    spec::<Channel>(history, amend(all), vec![ChannelEvent::PolicyChanged(PolicyChanged { policy })]);
}

#[test]
fn the_numbers_of_a_policy_have_bounds() {
    let window = |tap_window_s| Policy { tap_window_s, ..Policy::default() };
    let deadline = |doubt_deadline_s| Policy { doubt_deadline_s, ..Policy::default() };
    for policy in [window(1), window(86_400), deadline(60), deadline(2_592_000)] {
        let event = ChannelEvent::PolicyChanged(PolicyChanged { policy });
        spec::<Channel>(set_up(), ChannelCommand::ChangePolicy { policy }, vec![event]);
    }
    let bad = |policy, found, least, most| ChannelError::PolicyOutOfBounds { policy, found, least, most };
    for (policy, error) in [
        (window(0), bad("tap_window_s", 0, 1, 86_400)),
        (window(86_401), bad("tap_window_s", 86_401, 1, 86_400)),
        (deadline(0), bad("doubt_deadline_s", 0, 1, 2_592_000)),
        (deadline(2_592_001), bad("doubt_deadline_s", 2_592_001, 1, 2_592_000)),
    ] {
        refused::<Channel>(set_up(), ChannelCommand::ChangePolicy { policy }, error.clone());
        let registration = Registered { policy, ..registered() };
        refused::<Channel>(vec![], ChannelCommand::Register(registration), error.clone());
        let change = PolicyChange {
            tap_window_s: Some(policy.tap_window_s),
            doubt_deadline_s: Some(policy.doubt_deadline_s),
            ..PolicyChange::default()
        };
        refused::<Channel>(set_up(), ChannelCommand::AmendPolicy { change }, error);
    }
}

#[test]
fn policies_that_are_as_by_default_are_not_stored() {
    assert_eq!(serde_json::to_string(&Policy::default()).unwrap(), r#"{"unknown_balance":"refuse"}"#);
    assert_eq!(serde_json::from_str::<Policy>("{}").unwrap(), Policy::default());
}

fn callback(key: Option<&str>, original_id: Option<&str>) -> CallbackChange {
    let reference = |name: &str| SecretRef(name.to_owned());
    CallbackChange {
        mode: CallbackMode::Secure,
        format: CallbackFormat::Json,
        token: Some(reference("pushtoken/1")),
        key: key.map(reference),
        original_id: original_id.map(str::to_owned),
    }
}

fn configured(key: &str, previous: Option<&str>, original_id: Option<&str>) -> CallbackConfigured {
    CallbackConfigured {
        mode: CallbackMode::Secure,
        format: CallbackFormat::Json,
        token: SecretRef("pushtoken/1".to_owned()),
        key: Some(SecretRef(key.to_owned())),
        previous_key: previous.map(|name| SecretRef(name.to_owned())),
        original_id: original_id.map(str::to_owned),
        learned: false,
    }
}

#[test]
fn a_new_push_key_makes_the_old_one_the_previous_and_what_is_left_out_stays() {
    let configure = |change| ChannelCommand::ConfigureCallback { change };
    let first = ChannelEvent::CallbackConfigured(configured("k1", None, None));
    spec::<Channel>(set_up(), configure(callback(Some("k1"), None)), vec![first.clone()]);
    let history = [set_up(), vec![first]].concat();
    let second = ChannelEvent::CallbackConfigured(configured("k2", Some("k1"), Some("gh_1")));
    spec::<Channel>(history.clone(), configure(callback(Some("k2"), Some("gh_1"))), vec![second.clone()]);
    let history = [history, vec![second]].concat();
    // The same again changes nothing.
    spec::<Channel>(history.clone(), configure(callback(None, None)), vec![]);
    let keyless = CallbackChange { mode: CallbackMode::Plaintext, ..callback(None, None) };
    let clear =
        CallbackConfigured { mode: CallbackMode::Plaintext, ..configured("k2", Some("k1"), Some("gh_1")) };
    spec::<Channel>(history, configure(keyless), vec![ChannelEvent::CallbackConfigured(clear)]);
}

#[test]
fn pushes_need_a_token_a_key_and_a_sound_original_id() {
    let refuse = |change, error| {
        refused::<Channel>(set_up(), ChannelCommand::ConfigureCallback { change }, error);
    };
    refuse(CallbackChange { token: None, ..callback(Some("k1"), None) }, ChannelError::NoCallbackToken);
    refuse(callback(None, None), ChannelError::NoCallbackKey);
    for id in ["", "gh_", "wx123", "gh_ä", "gh_a b"] {
        refuse(callback(Some("k1"), Some(id)), ChannelError::BadOriginalId);
    }
}

#[test]
fn an_original_id_is_learned_once() {
    let learn = |id: &str| ChannelCommand::LearnOriginalId { original_id: id.to_owned() };
    refused::<Channel>(set_up(), learn("gh_1"), ChannelError::NoCallback);
    let history = [set_up(), vec![ChannelEvent::CallbackConfigured(configured("k1", None, None))]].concat();
    let learned = CallbackConfigured { learned: true, ..configured("k1", None, Some("gh_1")) };
    let event = ChannelEvent::CallbackConfigured(learned);
    spec::<Channel>(history.clone(), learn("gh_1"), vec![event.clone()]);
    let history = [history, vec![event]].concat();
    spec::<Channel>(history.clone(), learn("gh_2"), vec![]);
    refused::<Channel>(history, learn("o_user"), ChannelError::BadOriginalId);
}

const URL: &str = "https://hooks.example.com/a";

fn fresh(n: i64) -> SecretRef {
    SecretRef(format!("relay-secret-{n}"))
}

/// Asks with the third secret at hand.
fn relay_to(url: &str, rotate: bool) -> ChannelCommand {
    ChannelCommand::ConfigureRelay {
        url: url.to_owned(),
        form: RelayForm::Raw,
        kinds: [RelayKind::Other].into(),
        fresh: fresh(3),
        rotate,
    }
}

fn relayed(url: &str, secret: i64, previous: Option<(i64, i64)>) -> ChannelEvent {
    ChannelEvent::RelayConfigured(RelayConfigured {
        url: url.to_owned(),
        form: RelayForm::Raw,
        kinds: [RelayKind::Other].into(),
        secret: fresh(secret),
        previous: previous.map(|(n, until)| PreviousSecret { secret: fresh(n), until: at(until) }),
    })
}

fn with(events: &[ChannelEvent]) -> Vec<ChannelEvent> {
    [set_up(), events.to_vec()].concat()
}

#[test]
fn a_relay_keeps_its_secret_until_it_is_replaced() {
    let first = relayed(URL, 3, None);
    spec::<Channel>(set_up(), relay_to(URL, false), vec![first.clone()]);
    // A first secret replaces none, whatever is asked.
    spec::<Channel>(set_up(), relay_to(URL, true), vec![first]);
    let history = with(&[relayed(URL, 1, None)]);
    spec::<Channel>(history.clone(), relay_to(URL, false), vec![]);
    let other = "https://hooks.example.com/b";
    spec::<Channel>(history.clone(), relay_to(other, false), vec![relayed(other, 1, None)]);
    let until = NOW + RELAY_SECRET_OVERLAP_S;
    spec::<Channel>(history, relay_to(URL, true), vec![relayed(URL, 3, Some((1, until)))]);
}

#[test]
fn the_secret_before_signs_until_its_time_is_over() {
    let other = "https://hooks.example.com/b";
    let rotated = |until| with(&[relayed(URL, 2, Some((1, until)))]);
    spec::<Channel>(rotated(NOW + 1), relay_to(other, false), vec![relayed(other, 2, Some((1, NOW + 1)))]);
    spec::<Channel>(rotated(NOW), relay_to(other, false), vec![relayed(other, 2, None)]);
    // Of two rotations in a row the first secret is let go: requests carry two signatures at most.
    let until = NOW + RELAY_SECRET_OVERLAP_S;
    spec::<Channel>(rotated(NOW + 1), relay_to(URL, true), vec![relayed(URL, 3, Some((2, until)))]);
}

#[test]
fn a_relay_of_nothing_is_refused() {
    let ask = ChannelCommand::ConfigureRelay {
        url: URL.to_owned(),
        form: RelayForm::Raw,
        kinds: [].into(),
        fresh: fresh(1),
        rotate: false,
    };
    refused::<Channel>(set_up(), ask, ChannelError::NothingToRelay);
}

#[test]
fn a_relay_is_stopped_once_and_only_where_it_still_goes() {
    let stop = |cause, only: Option<&str>| ChannelCommand::StopRelay { cause, only: only.map(str::to_owned) };
    let stopped = |cause| ChannelEvent::RelayStopped(RelayStopped { cause });
    let history = with(&[relayed(URL, 1, None)]);
    spec::<Channel>(history.clone(), stop(RelayStop::Asked, None), vec![stopped(RelayStop::Asked)]);
    spec::<Channel>(history.clone(), stop(RelayStop::Gone, Some(URL)), vec![stopped(RelayStop::Gone)]);
    let elsewhere = stop(RelayStop::Gone, Some("https://hooks.example.com/b"));
    spec::<Channel>(history.clone(), elsewhere, vec![]);
    let over = [history, vec![stopped(RelayStop::Gone)]].concat();
    refused::<Channel>(over.clone(), stop(RelayStop::Asked, None), ChannelError::NotRelayed);
    spec::<Channel>(over.clone(), stop(RelayStop::Gone, Some(URL)), vec![]);
    // Begun anew, it gets a new secret.
    spec::<Channel>(over, relay_to(URL, false), vec![relayed(URL, 3, None)]);
}

fn hold(until: Timestamp) -> BulkHeld {
    BulkHeld { until, limit: 1000, remaining: 100, reserve: 10, read_at: at(NOW - 60) }
}

fn reserving(percent: u8) -> Vec<ChannelEvent> {
    let policy = Policy { bulk_reserve: percent, ..Policy::default() };
    vec![ChannelEvent::Registered(Registered { policy, ..registered() })]
}

#[test]
fn bulk_is_held_once_and_until_its_time() {
    let tonight = at(NOW + 3600);
    spec::<Channel>(
        set_up(),
        ChannelCommand::HoldBulk(hold(tonight)),
        vec![ChannelEvent::BulkHeld(hold(tonight))],
    );
    let held = || [set_up(), vec![ChannelEvent::BulkHeld(hold(tonight))]].concat();
    spec::<Channel>(held(), ChannelCommand::HoldBulk(hold(tonight)), vec![]);
    // One that has run out is no hold.
    let over = [set_up(), vec![ChannelEvent::BulkHeld(hold(at(NOW)))]].concat();
    spec::<Channel>(
        over,
        ChannelCommand::HoldBulk(hold(tonight)),
        vec![ChannelEvent::BulkHeld(hold(tonight))],
    );
    spec::<Channel>(set_up(), ChannelCommand::HoldBulk(hold(at(NOW))), vec![]);
    spec::<Channel>(reserving(0), ChannelCommand::HoldBulk(hold(tonight)), vec![]);
    refused::<Channel>(vec![], ChannelCommand::HoldBulk(hold(tonight)), ChannelError::NotRegistered);
}

#[test]
fn a_hold_is_released_by_what_says_so_and_by_clearing_the_quota() {
    let held = [set_up(), vec![ChannelEvent::BulkHeld(hold(at(NOW + 3600)))]].concat();
    let release = ChannelCommand::ReleaseBulk { cause: BulkRelease::Quota, remaining: 500 };
    let released = ChannelEvent::BulkReleased(BulkReleased { cause: BulkRelease::Quota, remaining: 500 });
    spec::<Channel>(held.clone(), release.clone(), vec![released.clone()]);
    spec::<Channel>(set_up(), release.clone(), vec![]);
    spec::<Channel>([held.clone(), vec![released]].concat(), release.clone(), vec![]);
    let reason = || "a loop in our back end".to_owned();
    let cleared = vec![ChannelEvent::QuotaCleared(QuotaCleared { reason: reason() })];
    spec::<Channel>(held.clone(), ChannelCommand::ClearQuota { reason: reason() }, cleared.clone());
    spec::<Channel>([held, cleared].concat(), release, vec![]);
}

#[test]
fn at_most_half_of_the_quota_is_reserved() {
    let change = |percent| ChannelCommand::AmendPolicy {
        change: PolicyChange { bulk_reserve: Some(percent), ..PolicyChange::default() },
    };
    let policy = |percent| Policy { bulk_reserve: percent, ..Policy::default() };
    spec::<Channel>(
        set_up(),
        change(50),
        vec![ChannelEvent::PolicyChanged(PolicyChanged { policy: policy(50) })],
    );
    spec::<Channel>(set_up(), change(10), vec![]);
    let out_of_bounds =
        ChannelError::PolicyOutOfBounds { policy: "bulk_reserve", found: 51, least: 0, most: 50 };
    refused::<Channel>(set_up(), change(51), out_of_bounds);
}

#[test]
fn a_smaller_reserve_lets_held_bulk_go_on_if_it_leaves_enough() {
    // 100 of 1,000 are left.
    let held = || [set_up(), vec![ChannelEvent::BulkHeld(hold(at(NOW + 3600)))]].concat();
    let change = |percent| ChannelCommand::AmendPolicy {
        change: PolicyChange { bulk_reserve: Some(percent), ..PolicyChange::default() },
    };
    let changed = |percent| {
        let policy = Policy { bulk_reserve: percent, ..Policy::default() };
        ChannelEvent::PolicyChanged(PolicyChanged { policy })
    };
    let released = ChannelEvent::BulkReleased(BulkReleased { cause: BulkRelease::Policy, remaining: 100 });
    spec::<Channel>(held(), change(9), vec![changed(9), released]);
    spec::<Channel>(held(), change(20), vec![changed(20)]);
    spec::<Channel>(set_up(), change(0), vec![changed(0)]);
}

#[test]
fn a_reserve_is_a_share_of_any_limit() {
    for (limit, percent, kept) in
        [(0, 10, 0), (10, 10, 1), (99, 10, 9), (10_000_000, 50, 5_000_000), (5, 0, 0)]
    {
        assert_eq!(reserved(limit, percent), kept);
    }
    assert_eq!(reserved(u64::MAX, 50), u64::MAX / 100 * 50 + 7);
}
