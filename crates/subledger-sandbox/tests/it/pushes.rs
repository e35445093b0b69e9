//! Pushes: the URL check, every encoding, mode and shape, deliveries and their repetition, waiting for them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use subledger_sandbox::{
    Choice, DeliveryVerdict, Habit, Profile, PushFormat, PushMode, PushSpec, PushState, Reality,
    SettingState, SettleSpec, TapSpec,
};

use crate::receiver::{Read, Receiver, Reply, read, verified};
use crate::support::{APP, LEVEL, ORDER, World, code, order};

const TOKEN: &str = "demoToken01";
const KEY: &str = "Qm9vdHN0cmFwRGVtb0tleUZvckxvY2FsU2FuZGJveDc";
const OLD_KEY: &str = "UHJldmlvdXNEZW1vS2V5Rm9yTG9jYWxTYW5kYm94MDI";

pub(crate) fn spec(receiver: &Receiver) -> PushSpec {
    PushSpec {
        token: Some(TOKEN.to_owned()),
        encoding_aes_key: Some(KEY.to_owned()),
        retry_ms: 1,
        ..PushSpec::to(&receiver.url)
    }
}

pub(crate) async fn settled(world: &World) {
    let settled = world.wechat.settle(&SettleSpec::default()).await.unwrap();
    assert!(settled.settled, "{settled:?}");
}

/// A world whose app pushes to a receiver in the clear.
pub(crate) async fn plain_world() -> (World, Receiver) {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let plain = PushSpec { mode: PushMode::Plaintext, ..spec(&receiver) };
    assert!(world.wechat.configure_push(APP, &plain).await.unwrap().saved);
    (world, receiver)
}

fn under(world: &World, change: impl FnOnce(&mut Reality)) {
    let mut reality = Reality::default();
    change(&mut reality);
    world.wechat.set_app_reality(APP, None, reality).unwrap();
}

#[tokio::test]
async fn the_url_is_checked_and_only_the_raw_echostr_will_do() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let good = world.wechat.configure_push(APP, &spec(&receiver)).await.unwrap();
    assert!(good.saved && good.check.as_ref().unwrap().ok, "{good:?}");
    let check = &receiver.checks()[0];
    let (timestamp, nonce) = (check["timestamp"].as_str(), check["nonce"].as_str());
    assert_eq!(check["signature"], crate::receiver::signature(&[TOKEN, timestamp, nonce]));
    assert_eq!(check["echostr"], good.check.unwrap().echostr);
    for (reply, reason) in [
        (Reply::Echo("\"", "\""), "more than the echostr"),
        (Reply::Echo("", "\n"), "more than the echostr"),
        (Reply::Say(200, "success"), "not the echostr"),
        (Reply::Say(403, "no"), "not 200"),
        (Reply::Late(Duration::from_secs(2)), "in time"),
    ] {
        receiver.script([reply.clone()]);
        let timeout_ms = if matches!(reply, Reply::Late(_)) { 50 } else { 5_000 };
        let slow = PushSpec { timeout_ms, format: PushFormat::Xml, ..spec(&receiver) };
        let bad = world.wechat.configure_push(APP, &slow).await.unwrap();
        let check = bad.check.unwrap();
        assert!(!bad.saved && !check.ok, "{reply:?}");
        assert!(check.reason.as_ref().unwrap().contains(reason), "{reply:?}: {check:?}");
    }
    let kept = world.wechat.push_setup(APP).unwrap().unwrap();
    assert_eq!(kept.format, PushFormat::Json, "what was in force stays");
    // A port that nobody listens on.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let bad = world.wechat.configure_push(APP, &PushSpec::to(&nobody)).await.unwrap();
    assert!(!bad.saved && bad.check.unwrap().reason.unwrap().contains("no connection"));
    let unchecked = PushSpec { check: false, ..PushSpec::to(&nobody) };
    let saved = world.wechat.configure_push(APP, &unchecked).await.unwrap();
    assert!(saved.saved && saved.check.is_none());
    assert_eq!((saved.push.token.len(), saved.push.encoding_aes_key.len()), (16, 43));
    assert!(saved.push.gh_id.starts_with("gh_"));
}

/// One of each event, in order: popup of two, change, sent.
async fn one_of_each(world: &World) -> (String, u64) {
    let (openid, token) = (world.user(), world.token().await);
    let mut tap = TapSpec::new(&openid, &[ORDER, LEVEL], Choice::Accept);
    tap.choices.insert(LEVEL.to_owned(), Choice::Reject);
    world.wechat.tap(APP, &tap).unwrap();
    settled(world).await;
    world.wechat.change_setting(APP, &openid, Some(LEVEL), SettingState::Reject).unwrap();
    settled(world).await;
    assert_eq!(code(&world.send(&token, &order(&openid)).await), 0);
    settled(world).await;
    (openid, world.last().msgid.unwrap())
}

fn assert_each(reads: &[Read], openid: &str, msgid: u64) {
    let events: Vec<&str> = reads.iter().map(|r| r.fields["Event"].as_str()).collect();
    assert_eq!(
        events,
        ["subscribe_msg_popup_event", "subscribe_msg_change_event", "subscribe_msg_sent_event"]
    );
    for read in reads {
        assert_eq!((&*read.fields["FromUserName"], &*read.fields["MsgType"]), (openid, "event"));
        assert_eq!(read.fields["CreateTime"], "1893553200", "2030-01-02T03:00:00Z in seconds");
    }
    let words = |read: &Read| -> Vec<(String, String)> {
        let word = |item: &std::collections::BTreeMap<String, String>| {
            (item["TemplateId"].clone(), item["SubscribeStatusString"].clone())
        };
        read.items.iter().map(word).collect()
    };
    let both = [(ORDER.to_owned(), "accept".to_owned()), (LEVEL.to_owned(), "reject".to_owned())];
    assert_eq!(words(&reads[0]), both);
    assert!(reads[0].items.iter().all(|item| ["0", "2"].contains(&&*item["PopupScene"])));
    assert_eq!(words(&reads[1]), both[1..]);
    let sent = &reads[2].items[0];
    assert_eq!((&*sent["TemplateId"], &*sent["MsgID"]), (ORDER, &*msgid.to_string()));
    assert_eq!((&*sent["ErrorCode"], &*sent["ErrorStatus"]), ("0", "success"));
}

#[tokio::test]
async fn every_mode_and_format_under_every_profile_decodes_to_the_same_facts() {
    for profile in Profile::ALL {
        for mode in [PushMode::Plaintext, PushMode::Compatible, PushMode::Secure] {
            for format in [PushFormat::Json, PushFormat::Xml] {
                let (world, receiver) = (World::new().await, Receiver::start().await);
                // What is sent must not be left to chance here, only how it looks.
                let reality = Reality { system_errors: 0.0, failed_deliveries: 0.0, ..profile.reality() };
                world.wechat.set_app_reality(APP, Some(profile), reality).unwrap();
                let spec = PushSpec { mode, format, ..spec(&receiver) };
                assert!(world.wechat.configure_push(APP, &spec).await.unwrap().saved);
                let (openid, msgid) = one_of_each(&world).await;
                let keys: &[&str] = if mode == PushMode::Plaintext { &[] } else { &[KEY] };
                let got = receiver.got();
                let reads: Vec<Read> = got.iter().map(|g| verified(g, TOKEN, keys, APP).0).collect();
                assert_each(&reads, &openid, msgid);
                for one in &got {
                    assert_eq!(one.query["openid"], openid);
                    let kind = if format == PushFormat::Json { "application/json" } else { "text/xml" };
                    assert!(one.content_type.starts_with(kind), "{}", one.content_type);
                    let outer = read(&one.body);
                    assert_eq!(outer.fields.contains_key("Event"), mode != PushMode::Secure);
                    assert_eq!(outer.items.is_empty(), mode == PushMode::Secure);
                }
                let name = world.wechat.pushes()[0].profile.to_string();
                assert!(name.starts_with(profile.as_str()), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn the_observed_shapes_are_those_of_the_reference() {
    let (world, receiver) = plain_world().await;
    let (openid, msgid) = one_of_each(&world).await;
    let bodies: Vec<Value> = receiver.got().iter().map(|g| serde_json::from_str(&g.body).unwrap()).collect();
    let gh = world.wechat.push_setup(APP).unwrap().unwrap().gh_id;
    let event = |name: &str, list: Value| {
        json!({ "ToUserName": gh, "FromUserName": openid, "CreateTime": 1_893_553_200, "MsgType": "event",
                "Event": name, "List": list })
    };
    let item = |id: &str, word: &str| json!({ "TemplateId": id, "SubscribeStatusString": word });
    let scene =
        |id: &str, word: &str| json!({ "TemplateId": id, "SubscribeStatusString": word, "PopupScene": "0" });
    let sent = json!({ "TemplateId": ORDER, "MsgID": msgid.to_string(), "ErrorCode": "0", "ErrorStatus": "success" });
    assert_eq!(
        bodies,
        [
            event("subscribe_msg_popup_event", json!([scene(ORDER, "accept"), scene(LEVEL, "reject")])),
            event("subscribe_msg_change_event", item(LEVEL, "reject")),
            event("subscribe_msg_sent_event", sent),
        ]
    );
    let xml = PushSpec { mode: PushMode::Plaintext, format: PushFormat::Xml, ..spec(&receiver) };
    world.wechat.configure_push(APP, &xml).await.unwrap();
    world.accept(&openid, ORDER);
    settled(&world).await;
    let want = format!(
        "<xml><ToUserName><![CDATA[{gh}]]></ToUserName><FromUserName><![CDATA[{openid}]]></FromUserName>\
         <CreateTime>1893553200</CreateTime><MsgType><![CDATA[event]]></MsgType>\
         <Event><![CDATA[subscribe_msg_popup_event]]></Event><SubscribeMsgPopupEvent><List>\
         <TemplateId><![CDATA[{ORDER}]]></TemplateId><SubscribeStatusString><![CDATA[accept]]>\
         </SubscribeStatusString><PopupScene>0</PopupScene></List></SubscribeMsgPopupEvent></xml>"
    );
    assert_eq!(receiver.got().last().unwrap().body, want);
}

#[tokio::test]
async fn hostile_pushes_come_in_every_shape() {
    let (world, receiver) = plain_world().await;
    world.wechat.set_profile(APP, Profile::Hostile).unwrap();
    let openid = world.user();
    for _ in 0..60 {
        world.wechat.tap(APP, &TapSpec::new(&openid, &[ORDER], Choice::AcceptWithAlert)).unwrap();
    }
    settled(&world).await;
    let mut seen = BTreeSet::new();
    for got in receiver.got() {
        let body: Value = serde_json::from_str(&got.body).unwrap();
        let shape = match (&body["List"], &body["SubscribeMsgPopupEvent"]) {
            (Value::Object(_), Value::Null) => "object",
            (Value::Array(_), Value::Null) => "array",
            (Value::Null, Value::Array(_)) => "wrapped array",
            (Value::Null, Value::Object(_)) => "wrapped list",
            other => panic!("{other:?}"),
        };
        seen.insert(shape.to_owned());
        seen.insert(format!("time is text: {}", body["CreateTime"].is_string()));
        let item = read(&got.body).items[0].clone();
        seen.insert(format!("scene {}", item["PopupScene"]));
        seen.insert(item["SubscribeStatusString"].clone());
        assert!(receiver.got().len() == 60);
    }
    let want = [
        "accept",
        "acceptWithAlert",
        "array",
        "object",
        "scene 0",
        "scene 2",
        "time is text: false",
        "time is text: true",
        "wrapped array",
        "wrapped list",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), want);
}

#[tokio::test]
async fn a_push_comes_three_times_in_all_and_is_the_same_each_time() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.wechat.configure_push(APP, &spec(&receiver)).await.unwrap();
    let openid = world.user();
    receiver.script([Reply::Say(500, "success"), Reply::Say(200, "ok"), Reply::Say(200, "")]);
    world.accept(&openid, ORDER);
    settled(&world).await;
    let (got, push) = (receiver.got(), world.wechat.pushes().pop().unwrap());
    assert_eq!(got.len(), 3);
    assert!(got.iter().all(|g| *g == got[0]), "body, nonce and signatures are those of the first");
    let verdicts: Vec<_> = push.deliveries.iter().map(|d| (d.number, d.verdict, d.status)).collect();
    assert_eq!(
        verdicts,
        [
            (1, DeliveryVerdict::Refused, Some(500)),
            (2, DeliveryVerdict::Refused, Some(200)),
            (3, DeliveryVerdict::Taken, Some(200))
        ]
    );
    assert_eq!((push.state, push.deliveries[1].answer.as_str()), (PushState::Taken, "ok"));

    let slow = PushSpec { timeout_ms: 50, check: false, ..spec(&receiver) };
    world.wechat.configure_push(APP, &slow).await.unwrap();
    receiver.script(vec![Reply::Late(Duration::from_secs(2)); 3]);
    world.accept(&openid, ORDER);
    settled(&world).await;
    let push = world.wechat.pushes().pop().unwrap();
    assert_eq!((push.state, push.deliveries.len()), (PushState::GivenUp, 3));
    assert!(push.deliveries.iter().all(|d| d.verdict == DeliveryVerdict::TimedOut && d.took_ms >= 50));
    let sums = world.wechat.stats().pushes["subscribe_msg_popup_event"];
    assert_eq!((sums.made, sums.taken, sums.given_up, sums.deliveries), (2, 1, 1, 6));
}

#[tokio::test]
async fn pushes_of_one_user_go_one_at_a_time_and_hold_up_nobody_else() {
    let (world, receiver) = plain_world().await;
    let (one, two) = (world.user(), world.user());
    receiver.script([Reply::Late(Duration::from_millis(500))]);
    for openid in [&one, &one, &two] {
        world.accept(openid, ORDER);
    }
    crate::support::until("two have come", || receiver.got().len() >= 2).await;
    let from = |got: &[crate::receiver::Got]| -> Vec<String> {
        got.iter().map(|g| g.query["openid"].clone()).collect()
    };
    assert_eq!(
        from(&receiver.got()),
        [one.clone(), two.clone()],
        "the second of one user waits for the first"
    );
    settled(&world).await;
    assert_eq!(from(&receiver.got()), [one.clone(), two, one]);
}

#[tokio::test]
async fn repetitions_can_be_more_and_renewed() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.wechat.configure_push(APP, &spec(&receiver)).await.unwrap();
    under(&world, |r| (r.deliveries, r.retries_renew) = (4, Habit::Always));
    receiver.script(vec![Reply::Say(503, ""); 9]);
    world.accept(&world.user(), ORDER);
    settled(&world).await;
    let got = receiver.got();
    let nonces: BTreeSet<_> = got.iter().map(|g| g.query["nonce"].clone()).collect();
    assert_eq!((got.len(), nonces.len()), (4, 4));
    assert!(got.iter().all(|g| g.body == got[0].body), "MsgId and CreateTime stay, so does the body");
    got.iter().for_each(|g| drop(verified(g, TOKEN, &[KEY], APP)));
}

#[tokio::test]
async fn after_a_change_of_key_the_old_one_may_still_be_used() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let old = PushSpec { encoding_aes_key: Some(OLD_KEY.to_owned()), ..spec(&receiver) };
    world.wechat.configure_push(APP, &old).await.unwrap();
    let new = world.wechat.configure_push(APP, &spec(&receiver)).await.unwrap();
    assert_eq!(new.push.previous_key.as_deref(), Some(OLD_KEY));
    let openid = world.user();
    for habit in [Habit::Never, Habit::Always] {
        under(&world, |r| r.previous_key = habit);
        world.accept(&openid, ORDER);
        settled(&world).await;
    }
    let keys: Vec<usize> =
        receiver.got().iter().map(|g| verified(g, TOKEN, &[KEY, OLD_KEY], APP).1).collect();
    assert_eq!(keys, [0, 1]);
}

#[tokio::test]
async fn what_else_wechat_pushes_can_be_asked_for() {
    let (world, receiver) = plain_world().await;
    let path = format!("{}/sandbox/apps/{APP}/pushes", world.base);
    let ask = |body: Value| world.http.post(&path).json(&body).send();
    for (body, status) in [
        (json!({ "openid": "oA", "text": "你好" }), 201),
        (json!({ "openid": "oA", "fields": { "MsgType": "event", "Event": "user_enter_tempsession" } }), 201),
        (json!({ "openid": "oA", "fields": { "MsgType": "event", "CreateTime": "x" } }), 201),
        (json!({ "openid": "oA", "raw": "<xml><not" }), 201),
        (json!({ "openid": "oA" }), 400),
        (json!({ "openid": "", "text": "x" }), 400),
        (json!({ "openid": "oA", "text": "x", "raw": "x" }), 400),
        (json!({ "openid": "oA", "fields": { "no name": 1 } }), 400),
        (json!({ "openid": "oA", "fields": {} }), 400),
    ] {
        let answer = ask(body.clone()).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{body}");
    }
    settled(&world).await;
    let got = receiver.got();
    let text = read(&got[0].body).fields;
    assert_eq!((&*text["MsgType"], &*text["Content"], &*text["FromUserName"]), ("text", "你好", "oA"));
    assert!(text["MsgId"].parse::<u64>().unwrap() > 1 << 53);
    assert_eq!(read(&got[1].body).fields["Event"], "user_enter_tempsession");
    assert_eq!(read(&got[2].body).fields["CreateTime"], "x");
    assert_eq!((got.len(), got[3].body.as_str()), (4, "<xml><not"));
    let kinds: Vec<String> = world.wechat.pushes().into_iter().map(|p| p.event).collect();
    assert_eq!(kinds, ["text", "user_enter_tempsession", "event", "raw"]);
    world.wechat.remove_push(APP).unwrap();
    assert_eq!(ask(json!({ "openid": "oA", "text": "x" })).await.unwrap().status(), 404);
}

#[tokio::test]
async fn pushes_are_set_up_read_and_waited_for_over_http() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let put = |app: &str, body: Value| {
        world.http.put(format!("{}/sandbox/apps/{app}/push", world.base)).json(&body).send()
    };
    for (app, body, status) in [
        ("nobody", json!({ "url": receiver.url }), 404),
        (APP, json!({}), 400),
        (APP, json!({ "url": "ftp://x/" }), 400),
        (APP, json!({ "url": "here" }), 400),
        (APP, json!({ "url": receiver.url, "token": "a b" }), 400),
        (APP, json!({ "url": receiver.url, "encoding_aes_key": "short" }), 400),
        (APP, json!({ "url": receiver.url, "mode": "loud" }), 400),
        (APP, json!({ "url": receiver.url, "timeout_ms": 0 }), 400),
        (APP, json!({ "url": receiver.url, "colour": 1 }), 400),
    ] {
        assert_eq!(put(app, body.clone()).await.unwrap().status().as_u16(), status, "{body}");
    }
    assert_eq!(world.get(&format!("/sandbox/apps/{APP}/push")).await, json!({ "push": null }));
    let body = json!({ "appid": "wxmore", "secret": "s", "reality": { "profile": "hostile", "deliveries": 1 },
                       "push": { "url": receiver.url, "mode": "plaintext", "format": "xml" } });
    let made = world.http.post(format!("{}/sandbox/apps", world.base)).json(&body).send().await.unwrap();
    let made: Value = made.json().await.unwrap();
    assert_eq!((&made["push"]["saved"], &made["push"]["check"]["ok"]), (&json!(true), &json!(true)));
    let app = world.get("/sandbox/apps/wxmore").await;
    assert_eq!((&app["profile"], &app["push"]["mode"]), (&json!("hostile+changes"), &json!("plaintext")));
    assert_eq!(world.get("/sandbox/apps/wxmore/reality").await["reality"]["deliveries"], 1);
    for bad in [
        json!({ "appid": "wxbad", "secret": "s", "push": { "url": "x" } }),
        json!({ "appid": "wxbad", "secret": "s", "reality": { "profile": "kind" } }),
        json!({ "appid": "wxbad", "secret": "s", "reality": { "gravity": 1 } }),
    ] {
        let refused =
            world.http.post(format!("{}/sandbox/apps", world.base)).json(&bad).send().await.unwrap();
        assert_eq!(refused.status(), 400, "{bad}");
    }
    assert!(!world.wechat.apps().contains(&"wxbad".to_owned()), "a bad part leaves no app behind");

    world.wechat.configure_push(APP, &spec(&receiver)).await.unwrap();
    assert_eq!(world.post(&format!("/sandbox/apps/{APP}/push/check"), &json!({})).await["ok"], true);
    receiver.script(vec![Reply::Say(500, ""); 3]);
    let openid = world.user_with(1);
    settled(&world).await;
    world.accept(&openid, ORDER);
    let settled = world.post("/sandbox/pushes/settle", &json!({ "appid": APP })).await;
    assert_eq!(settled, json!({ "settled": true, "waiting": 0, "held_back": 0 }));
    let page = world.get(&format!("/sandbox/pushes?appid={APP}&state=given_up&openid={openid}")).await;
    assert_eq!(page["entries"].as_array().unwrap().len(), 1);
    assert_eq!(page["entries"][0]["deliveries"].as_array().unwrap().len(), 3);
    let taken = world.get("/sandbox/pushes?state=taken&event=subscribe_msg_popup_event").await;
    assert_eq!(taken["entries"][0]["seq"], 2);
    let act = taken["entries"][0]["act"].as_u64().unwrap();
    let acts = world.get(&format!("/sandbox/acts?appid={APP}&after={}", act - 1)).await;
    assert_eq!((&acts["entries"][0]["push"], &acts["entries"][0]["kind"]), (&json!(2), &json!("tap")));
    assert_eq!(
        world.http.get(format!("{}/sandbox/pushes?state=x", world.base)).send().await.unwrap().status(),
        400
    );
    let stats = world.get("/sandbox/stats").await;
    assert_eq!(stats["pushes"]["subscribe_msg_popup_event"]["given_up"], 1);
}

#[tokio::test]
async fn settling_ends_at_its_deadline() {
    let (world, receiver) = plain_world().await;
    receiver.script([Reply::Late(Duration::from_secs(4))]);
    world.accept(&world.user(), ORDER);
    let spec = SettleSpec { deadline_ms: Some(30), ..SettleSpec::default() };
    let settled = world.wechat.settle(&spec).await.unwrap();
    assert!(!settled.settled && settled.waiting == 1, "{settled:?}");
    world.wechat.reset();
    assert!(world.wechat.settle(&spec).await.unwrap().settled, "a reset forgets what waits");
    assert!(world.wechat.settle(&SettleSpec { deadline_ms: Some(600_001), ..spec }).await.is_err());
}
