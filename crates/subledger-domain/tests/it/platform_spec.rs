//! A third-party platform is set up, its secrets are replaced, and channels are authorized to it and lost again.

use std::collections::BTreeSet;

use subledger_domain::channel::*;
use subledger_domain::platform::*;

use crate::support::*;

const COMPONENT: &str = "wx00000000comp0001";
const APPID: &str = "wx00000000demo0001";

fn reference(name: &str) -> SecretRef {
    SecretRef(name.to_owned())
}

fn settings(name: &str) -> Configured {
    Configured { name: name.to_owned(), public_url: "https://subledger.example.com".to_owned() }
}

fn all(n: u8) -> SecretsReplaced {
    let some = |kind: &str| Some(reference(&format!("{kind}-{n}")));
    SecretsReplaced { secret: some("secret"), token: some("token"), key: some("key") }
}

fn configure(name: &str, secrets: SecretsReplaced) -> PlatformCommand {
    PlatformCommand::Configure { settings: settings(name), secrets }
}

fn set_up() -> Vec<PlatformEvent> {
    vec![PlatformEvent::Configured(settings("Demo")), PlatformEvent::SecretsReplaced(all(1))]
}

#[test]
fn a_platform_needs_all_its_secrets_once() {
    spec::<Platform>(vec![], configure("Demo", all(1)), set_up());
    let without = |secrets| configure("Demo", secrets);
    refused::<Platform>(vec![], without(SecretsReplaced { secret: None, ..all(1) }), PlatformError::NoSecret);
    refused::<Platform>(vec![], without(SecretsReplaced { token: None, ..all(1) }), PlatformError::NoToken);
    refused::<Platform>(vec![], without(SecretsReplaced { key: None, ..all(1) }), PlatformError::NoKey);
    let renamed = vec![PlatformEvent::Configured(settings("Other"))];
    spec::<Platform>(set_up(), configure("Other", SecretsReplaced::default()), renamed);
}

#[test]
fn what_is_repeated_makes_no_event() {
    spec::<Platform>(set_up(), configure("Demo", SecretsReplaced::default()), vec![]);
}

#[test]
fn the_key_before_a_new_one_is_remembered_and_the_one_before_that_is_not() {
    use cqrs_es::Aggregate;
    let mut platform = Platform::default();
    set_up().into_iter().for_each(|event| platform.apply(event));
    assert_eq!(platform.previous_key(), None);
    for n in [2, 3] {
        let key = SecretsReplaced { key: all(n).key, ..SecretsReplaced::default() };
        let events = decide::<Platform>(set_up(), configure("Demo", key.clone())).unwrap();
        assert_eq!(events, vec![PlatformEvent::SecretsReplaced(key)]);
        events.into_iter().for_each(|event| platform.apply(event));
    }
    assert_eq!(platform.key(), Some(&reference("key-3")));
    assert_eq!(platform.previous_key(), Some(&reference("key-2")));
    assert_eq!(platform.secret(), Some(&reference("secret-1")), "what is left out stays");
}

#[test]
fn tickets_are_asked_for_by_a_platform_that_is_there() {
    let started = TicketPushStarted { ask: TicketAsk::Stale };
    let ask = PlatformCommand::NoteTicketPush(started.clone());
    refused::<Platform>(vec![], ask.clone(), PlatformError::NotConfigured);
    spec::<Platform>(set_up(), ask, vec![PlatformEvent::TicketPushStarted(started)]);
}

fn wish(permissions: &[u32]) -> Authorization {
    Authorization {
        platform: COMPONENT.to_owned(),
        appid: APPID.to_owned(),
        name: "Shop".to_owned(),
        permissions: permissions.iter().copied().collect(),
        refresh_token: reference("authorizer-1"),
        original_id: "gh_demo00000001".to_owned(),
    }
}

fn authorize(permissions: &[u32]) -> ChannelCommand {
    ChannelCommand::Authorize(wish(permissions))
}

fn authorized(permissions: &[u32], missing: &[u32]) -> ChannelEvent {
    let Authorization { platform, refresh_token, original_id, permissions, .. } = wish(permissions);
    let missing = missing.iter().copied().collect();
    ChannelEvent::Authorized(Authorized { platform, permissions, missing, refresh_token, original_id })
}

fn registered(mode: TokenMode, secret: Option<&str>) -> ChannelEvent {
    ChannelEvent::Registered(Registered {
        appid: APPID.to_owned(),
        name: "Shop".to_owned(),
        secret: secret.map(reference),
        token_mode: mode,
        token_url: None,
        policy: Policy::default(),
    })
}

fn by_platform() -> Vec<ChannelEvent> {
    vec![registered(TokenMode::Platform, None), authorized(&[17, 18], &[])]
}

fn lose(loss: AuthorizationLoss) -> ChannelCommand {
    ChannelCommand::LoseAuthorization { platform: COMPONENT.to_owned(), loss }
}

fn lost(loss: AuthorizationLoss) -> ChannelEvent {
    ChannelEvent::Unauthorized(Unauthorized { loss })
}

fn state(history: Vec<ChannelEvent>) -> Channel {
    use cqrs_es::Aggregate;
    let mut channel = Channel::default();
    history.into_iter().for_each(|event| channel.apply(event));
    channel
}

#[test]
fn a_code_without_a_channel_is_set_up_by_the_authorization() {
    spec::<Channel>(vec![], authorize(&[17, 18]), by_platform());
    assert_eq!(state(by_platform()).hold(), None);
}

#[test]
fn redirect_and_push_tell_of_one_authorization_and_make_one_event() {
    spec::<Channel>(by_platform(), authorize(&[18, 17]), vec![]);
}

#[test]
fn another_mini_program_than_the_channel_s_is_refused_and_both_are_named() {
    let other = Authorization { appid: "wx00000000other001".to_owned(), ..wish(&[18]) };
    let error =
        ChannelError::OtherMiniProgram { own: APPID.to_owned(), authorized: "wx00000000other001".to_owned() };
    refused::<Channel>(by_platform(), ChannelCommand::Authorize(other), error);
    let nameless = Authorization { original_id: "demo".to_owned(), ..wish(&[18]) };
    refused::<Channel>(vec![], ChannelCommand::Authorize(nameless), ChannelError::BadOriginalId);
}

#[test]
fn a_channel_with_its_own_secret_changes_over_and_its_secret_is_of_no_use_any_more() {
    let own = vec![registered(TokenMode::Stable, Some("secret-1"))];
    let source = TokenSourceChanged { mode: TokenMode::Platform, secret: None, url: None };
    let events = vec![ChannelEvent::TokenSourceChanged(source), authorized(&[18], &[])];
    spec::<Channel>(own.clone(), authorize(&[18]), events.clone());
    let channel = state([own, events.clone()].concat());
    assert_eq!((channel.secret(), channel.hold()), (None, None));

    // Back to a secret of its own, it does not depend on the platform; authorized again, it does.
    let back = TokenSourceChanged { mode: TokenMode::Stable, secret: Some(reference("secret-2")), url: None };
    let back = ChannelEvent::TokenSourceChanged(back);
    let history = [by_platform(), vec![lost(AuthorizationLoss::Pushed), back]].concat();
    assert_eq!(state(history.clone()).hold(), None);
    spec::<Channel>(history, authorize(&[18]), events);
}

#[test]
fn a_missing_permission_set_is_named_and_holds_until_it_is_granted() {
    let history = vec![registered(TokenMode::Platform, None), authorized(&[17], &[18])];
    spec::<Channel>(vec![], authorize(&[17]), history.clone());
    assert_eq!(state(history.clone()).hold(), Some(Hold::PermissionMissing));
    let permissions = BTreeSet::from([17, 18]);
    let updated = AuthorizationUpdated { permissions, missing: BTreeSet::new() };
    let updated = ChannelEvent::AuthorizationUpdated(updated);
    spec::<Channel>(history.clone(), authorize(&[17, 18]), vec![updated.clone()]);
    assert_eq!(state([history, vec![updated]].concat()).hold(), None);
}

#[test]
fn a_lost_authorization_is_told_once_and_holds_until_it_is_given_again() {
    for loss in [AuthorizationLoss::Pushed, AuthorizationLoss::Refused] {
        spec::<Channel>(by_platform(), lose(loss), vec![lost(loss)]);
        let history = [by_platform(), vec![lost(loss)]].concat();
        assert_eq!(state(history.clone()).hold(), Some(Hold::Unauthorized));
        spec::<Channel>(history.clone(), lose(AuthorizationLoss::Refused), vec![]);
        // The same permission sets as before: it is another authorization all the same.
        let again = vec![authorized(&[17, 18], &[])];
        spec::<Channel>(history.clone(), authorize(&[17, 18]), again.clone());
        assert_eq!(state([history, again].concat()).hold(), None);
    }
}

#[test]
fn only_the_platform_in_use_can_lose_a_channel() {
    let elsewhere = ChannelCommand::LoseAuthorization {
        platform: "wx00000000comp0002".to_owned(),
        loss: AuthorizationLoss::Pushed,
    };
    spec::<Channel>(by_platform(), elsewhere, vec![]);
    spec::<Channel>(vec![registered(TokenMode::Stable, Some("s"))], lose(AuthorizationLoss::Pushed), vec![]);
    refused::<Channel>(vec![], lose(AuthorizationLoss::Pushed), ChannelError::NotRegistered);
}

#[test]
fn a_pause_by_an_operator_comes_before_other_reasons() {
    let paused = ChannelEvent::Paused(Paused { reason: "maintenance".to_owned() });
    let history = [by_platform(), vec![paused, lost(AuthorizationLoss::Pushed)]].concat();
    assert_eq!(state(history.clone()).hold(), Some(Hold::Paused));
    let resumed = ChannelEvent::Resumed(Resumed { reason: "done".to_owned() });
    assert_eq!(state([history, vec![resumed]].concat()).hold(), Some(Hold::Unauthorized));
}

#[test]
fn the_original_id_is_the_one_that_wechat_told() {
    assert_eq!(state(by_platform()).original_id(), Some("gh_demo00000001"));
    assert_eq!(state(vec![]).original_id(), None);
}
