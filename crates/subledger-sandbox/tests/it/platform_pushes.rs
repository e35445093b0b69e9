//! Pushes to platforms: tickets by the clock, changes of authorization, events of apps that authorized them.

use std::time::Duration;

use serde_json::json;
use subledger_sandbox::{
    AuthorizeSpec, FixedClock, Habit, PushFaultKind, PushFaultSpec, PushQuery, PushSpec, PushState, Reality,
    SandboxConfig, SettleSpec, SystemClock,
};

use crate::platform_world::{COMPONENT, COMPONENT_SECRET, KEY, Open, opened, plain, spec};
use crate::pushes::settled;
use crate::receiver::{Receiver, Reply};
use crate::support::{APP, ORDER, World, code, config, order, until};

#[tokio::test]
async fn tickets_come_every_ten_minutes_of_the_sandboxs_clock_and_on_demand() {
    let open = Open::new().await;
    let tickets = async || {
        let told = open.told().await;
        assert!(told.iter().all(|fields| fields["InfoType"] == "component_verify_ticket"));
        told.iter().map(|fields| fields["ComponentVerifyTicket"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(tickets().await, [open.ticket()], "the first comes at once");
    open.world.wechat.advance(599).unwrap();
    assert_eq!(tickets().await.len(), 1);
    open.world.wechat.advance(1).unwrap();
    assert_eq!(tickets().await.len(), 2);
    open.world.wechat.advance(3_600).unwrap();
    assert_eq!(tickets().await.len(), 3, "after a leap one comes, not all that were missed");
    open.world.wechat.push_ticket(COMPONENT).unwrap();
    open.world.wechat.advance(599).unwrap();
    let all = tickets().await;
    assert_eq!(all.len(), 4, "the next is due ten minutes after it");
    assert_eq!(all.last(), Some(&open.ticket()));
    for ticket in &all {
        assert_eq!(code(&open.token_for(ticket).await), 0, "each lives twelve hours");
    }
    let seen = open.receiver.got();
    assert!(seen.iter().all(|got| got.path == "push/here/open"));
}

/// With the machine's clock the worker itself wakes when a ticket is due.
#[tokio::test]
async fn tickets_go_by_the_machines_clock_too() {
    let receiver = Receiver::start().await;
    let clock = std::sync::Arc::new(SystemClock);
    let world = World::with(SandboxConfig { clock, ..config() }).await;
    world.wechat.create_platform(spec(&receiver, COMPONENT)).unwrap();
    settled(&world).await;
    let next = world.wechat.platform(COMPONENT).unwrap().next_ticket.unwrap();
    let left = next.as_millisecond() - world.wechat.now().as_millisecond();
    // All but a moment of the ten minutes; the rest passes by itself.
    world.wechat.advance(left / 1_000).unwrap();
    assert_eq!(receiver.got().len(), 1);
    until("the second ticket", || receiver.got().len() == 2).await;
}

#[tokio::test]
async fn the_same_ticket_may_come_again_and_lives_on() {
    let open = Open::under(Reality { ticket_repeats: Habit::Always, ..plain() }).await;
    let first = open.ticket();
    for _ in 0..10 {
        open.world.wechat.advance(600).unwrap();
    }
    assert_eq!(open.ticket(), first);
    open.world.wechat.advance(12 * 3_600 - 600).unwrap();
    assert_ne!(open.ticket(), first, "one that is nearly at its end is not pushed again");
    assert_eq!(code(&open.token_for(&first).await), 0);
    open.world.wechat.advance(600).unwrap();
    assert_eq!(code(&open.token_for(&first).await), 61005);
}

#[tokio::test]
async fn tickets_stop_when_too_many_are_given_up_and_start_on_request() {
    let open = Open::new().await;
    open.world.wechat.change_platform(COMPONENT, |s| s.give_up_tickets = 2).unwrap();
    settled(&open.world).await;
    open.receiver.script((0..6).map(|_| Reply::Say(500, "no")));
    for _ in 0..3 {
        open.world.wechat.advance(600).unwrap();
        settled(&open.world).await;
    }
    let given_up = PushQuery { state: Some(PushState::GivenUp), ..PushQuery::default() };
    assert_eq!(open.world.wechat.push_page(&given_up).unwrap().entries.len(), 2);
    assert_eq!(open.world.wechat.platform(COMPONENT).unwrap().next_ticket, None);
    let start = async |secret: &str| {
        let body = json!({ "component_appid": COMPONENT, "component_secret": secret });
        open.world.post("/cgi-bin/component/api_start_push_ticket", &body).await
    };
    assert_eq!(code(&start("wrong").await), 40125);
    let before = open.told_count().await;
    assert_eq!(start(COMPONENT_SECRET).await["errmsg"], "ok");
    assert_eq!(open.told_count().await, before + 1, "one comes at once");
    assert_eq!(start(COMPONENT_SECRET).await["errmsg"], "in a normal state");
    assert_eq!(open.told_count().await, before + 1);
}

#[tokio::test]
async fn what_was_given_up_before_a_start_does_not_count_after_it() {
    let open = Open::new().await;
    settled(&open.world).await;
    open.world.wechat.change_platform(COMPONENT, |s| s.give_up_tickets = 2).unwrap();
    let next = || open.world.wechat.platform(COMPONENT).unwrap().next_ticket;
    // Three deliveries each: two that end the pushes, and the first after the start.
    open.receiver.script((0..9).map(|_| Reply::Say(500, "no")));
    for _ in 0..3 {
        open.world.wechat.advance(600).unwrap();
        settled(&open.world).await;
    }
    assert_eq!(next(), None);
    let body = json!({ "component_appid": COMPONENT, "component_secret": COMPONENT_SECRET });
    open.world.post("/cgi-bin/component/api_start_push_ticket", &body).await;
    settled(&open.world).await;
    open.world.wechat.advance(600).unwrap();
    assert!(next().is_some(), "one given up is not two");
}

#[tokio::test]
async fn changes_of_authorization_are_told_in_the_documented_shape() {
    let open = Open::new().await;
    open.scan(&[17, 18]);
    open.scan(&[18]);
    open.scan(&[18]);
    open.world.wechat.change_permission_sets(COMPONENT, APP, &[18].into()).unwrap();
    open.world.wechat.change_permission_sets(COMPONENT, APP, &[17].into()).unwrap();
    open.world.wechat.deauthorize(COMPONENT, APP).unwrap();
    let want =
        ["component_verify_ticket", "authorized", "updateauthorized", "updateauthorized", "unauthorized"];
    assert_eq!(open.words().await, want);
    let told = open.told().await;
    let names = |index: usize| told[index].keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(names(0), ["AppId", "ComponentVerifyTicket", "CreateTime", "InfoType"]);
    let authorized = [
        "AppId",
        "AuthorizationCode",
        "AuthorizationCodeExpiredTime",
        "AuthorizerAppid",
        "CreateTime",
        "InfoType",
        "PreAuthCode",
    ];
    assert_eq!(names(1), authorized);
    assert_eq!(names(4), ["AppId", "AuthorizerAppid", "CreateTime", "InfoType"]);
    assert_eq!((told[1]["AppId"].as_str(), told[1]["AuthorizerAppid"].as_str()), (COMPONENT, APP));
    let token = open.token().await;
    let before = open.world.wechat.platform(COMPONENT).unwrap().authorizers[0].refresh_token.clone();
    open.scan(&[18]);
    let after = open.world.wechat.platform(COMPONENT).unwrap().authorizers[0].refresh_token.clone();
    assert_ne!(before, after);
    open.world.wechat.change_permission_sets(COMPONENT, APP, &[17, 18].into()).unwrap();
    let code = open.told().await.pop().unwrap()["AuthorizationCode"].clone();
    let info = open.query(&token, &code).await;
    assert_eq!(info["authorization_info"]["authorizer_refresh_token"], after.as_str(), "an update leaves it");
}

#[tokio::test]
async fn events_of_an_authorized_app_go_to_the_platform_and_back_to_the_app_afterwards() {
    let open = Open::new().await;
    let own = Receiver::start().await;
    let setup = PushSpec { gh_id: Some("gh_demo00000001".to_owned()), ..PushSpec::to(&own.url) };
    assert!(open.world.wechat.configure_push(APP, &setup).await.unwrap().saved);
    let openid = open.world.user_with(1);
    settled(&open.world).await;
    assert_eq!(own.got().len(), 1);

    let (_, held, _) = open.connected().await;
    open.world.accept(&openid, ORDER);
    open.world.send(&held, &order(&openid)).await;
    settled(&open.world).await;
    assert_eq!(own.got().len(), 1, "the platform gets them now");
    let got = open.receiver.got();
    let to_app: Vec<_> = got.iter().filter(|got| got.path == format!("push/here/open/{APP}")).collect();
    let events: Vec<_> = to_app.iter().map(|got| opened(got, COMPONENT)["Event"].clone()).collect();
    assert_eq!(events, ["subscribe_msg_popup_event", "subscribe_msg_sent_event"]);
    assert_eq!(opened(to_app[0], COMPONENT)["ToUserName"], "gh_demo00000001");
    let pushes = open.world.wechat.pushes();
    let last = pushes.last().unwrap();
    assert_eq!((last.appid.as_str(), last.platform.as_deref()), (APP, Some(COMPONENT)));
    let view = open.world.wechat.app(APP).unwrap().platform_push.unwrap();
    assert!(view.url.ends_with(&format!("/open/{APP}")), "{view:?}");
    let page = open.world.get(&format!("/sandbox/pushes?platform={COMPONENT}&appid={APP}")).await;
    assert_eq!(page["entries"].as_array().unwrap().len(), 2);

    open.world.wechat.deauthorize(COMPONENT, APP).unwrap();
    open.world.accept(&openid, ORDER);
    settled(&open.world).await;
    assert_eq!(own.got().len(), 2);
}

#[tokio::test]
async fn faults_of_pushes_hit_those_to_platforms() {
    let open = Open::new().await;
    settled(&open.world).await;
    let fault =
        |kind, event: &str| PushFaultSpec { event: Some(event.to_owned()), ..PushFaultSpec::new(kind) };
    let inject = |spec| open.world.wechat.inject_push_fault(spec).unwrap();
    inject(fault(PushFaultKind::Lost, "authorized"));
    inject(fault(PushFaultKind::Duplicated, "unauthorized"));
    inject(PushFaultSpec { ms: Some(60_000), ..fault(PushFaultKind::Reordered, "updateauthorized") });
    open.scan(&[17, 18]);
    open.scan(&[18]);
    let held = SettleSpec { hold: true, deadline_ms: Some(50), ..SettleSpec::default() };
    assert!(!open.world.wechat.settle(&held).await.unwrap().settled, "it waits to be overtaken");
    open.world.wechat.deauthorize(COMPONENT, APP).unwrap();
    settled(&open.world).await;
    let want = ["component_verify_ticket", "unauthorized", "updateauthorized", "unauthorized"];
    let mut words = open.words().await;
    // The copy may come before or after the one that was overtaken.
    assert_eq!(words[..2], want[..2]);
    words[2..].sort();
    assert_eq!(words[2..], ["unauthorized", "updateauthorized"]);
}

#[tokio::test]
async fn a_changed_key_may_come_late() {
    let open = Open::under(Reality { previous_key: Habit::Always, ..plain() }).await;
    settled(&open.world).await;
    let newer = "UHJldmlvdXNEZW1vS2V5Rm9yTG9jYWxTYW5kYm94MDI";
    open.world.wechat.change_platform(COMPONENT, |s| s.encoding_aes_key = newer.to_owned()).unwrap();
    assert_eq!(open.world.wechat.platform(COMPONENT).unwrap().previous_key.as_deref(), Some(KEY));
    open.world.wechat.push_ticket(COMPONENT).unwrap();
    assert_eq!(open.told().await.len(), 2, "both under the key before");
}

/// Tickets go by the clock; they must not shift what everything else draws from the seed.
#[tokio::test]
async fn tickets_do_not_shift_what_the_seed_gives() {
    let run = async |tickets: usize| {
        let receiver = Receiver::start().await;
        let world = World::with(SandboxConfig {
            clock: std::sync::Arc::new(FixedClock("2030-01-02T03:00:00Z".parse().unwrap())),
            ..config()
        })
        .await;
        world.wechat.create_platform(spec(&receiver, COMPONENT)).unwrap();
        for _ in 0..tickets {
            world.wechat.push_ticket(COMPONENT).unwrap();
        }
        (world.user(), crate::support::text(&world.normal().await, "access_token"))
    };
    assert_eq!(run(0).await, run(5).await);
}

impl Open {
    async fn told_count(&self) -> usize {
        tokio::time::timeout(Duration::from_secs(20), self.told()).await.unwrap().len()
    }
}

#[tokio::test]
async fn of_several_platforms_the_one_with_set_18_gets_the_events() {
    let open = Open::new().await;
    let (first, own) = ("wx00000000comp0000", Receiver::start().await);
    assert!(open.world.wechat.configure_push(APP, &PushSpec::to(&own.url)).await.unwrap().saved);
    open.world.wechat.create_platform(spec(&open.receiver, first)).unwrap();
    let openid = open.world.user();
    let goes_to = || {
        open.world.accept(&openid, ORDER);
        open.world.wechat.pushes().pop().unwrap().platform
    };
    let scan = |component: &str, sets: &[u32]| {
        let permission_sets = Some(sets.iter().copied().collect());
        let spec = AuthorizeSpec { appid: APP.to_owned(), permission_sets, ..AuthorizeSpec::default() };
        open.world.wechat.authorize(component, &spec).unwrap();
    };
    assert_eq!(goes_to(), None);
    scan(first, &[17]);
    assert_eq!(goes_to().as_deref(), Some(first));
    scan(COMPONENT, &[18]);
    assert_eq!(goes_to().as_deref(), Some(COMPONENT), "not the first in the order of names");
    open.world.wechat.change_platform(COMPONENT, |s| s.message_url.clear()).unwrap();
    assert_eq!(goes_to(), None, "without a message URL the app's own gets them");
}

#[tokio::test]
async fn a_change_that_cannot_be_leaves_a_platform_as_it_was() {
    let open = Open::new().await;
    let before = open.world.wechat.platform(COMPONENT).unwrap().settings;
    for bad in [
        json!({ "authorization_url": "ftp://x/" }),
        json!({ "message_url": "nowhere/$APPID$" }),
        json!({ "token": "no" }),
        json!({ "encoding_aes_key": "short" }),
        json!({ "timeout_ms": 0 }),
        json!({ "gravity": 1 }),
    ] {
        let mut body = bad.clone();
        (body["published"], body["secret"]) = (json!(false), json!("other"));
        let url = format!("{}/sandbox/platforms/{COMPONENT}", open.world.base);
        let status = open.world.http.patch(url).json(&body).send().await.unwrap().status();
        assert_eq!(status, 400, "{bad}");
        assert_eq!(open.world.wechat.platform(COMPONENT).unwrap().settings, before, "{bad}");
        assert_eq!(code(&open.token_for(&open.ticket()).await), 0, "the secret is as it was");
    }
}
