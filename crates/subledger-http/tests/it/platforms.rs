//! Third-party platforms over real HTTP: the simulated WeChat pushes tickets, an administrator scans, and the channel sends
//! without anybody having its AppSecret.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use subledger_domain::{LogName, app::Right};
use subledger_sandbox::{
    AppSpec, AuthorizeSpec, Authorized, CallPath, ComponentCall, FaultKind, FaultSpec, PlatformDeed,
    PlatformSpec, PushFaultKind, PushFaultSpec, SettleSpec, Template,
};
use subledger_store::Position;

use crate::{
    place::{Place, on_both_databases},
    support::{APPID, CHANNEL, ORDER, PATIENCE, TestApp, new_channel},
};

const COMPONENT: &str = "wx00000000comp0001";
const SECRET: &str = "component-secret-01";
const TOKEN: &str = "compToken01";
const KEY: &str = "Qm9vdHN0cmFwRGVtb0tleUZvckxvY2FsU2FuZGJveDc";
const OTHER_KEY: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ";

on_both_databases!(
    a_scan_sets_a_channel_up_and_it_sends_without_a_secret,
    the_push_alone_is_enough_and_is_told_over_the_stream,
    what_is_missing_is_named_and_holds_until_it_is_ticked,
    a_withdrawn_authorization_holds_deliveries_until_it_is_given_again,
    a_withdrawal_nobody_told_of_is_found_by_the_refused_send,
    the_wrong_account_is_refused_and_named,
    a_channel_with_a_secret_changes_over,
    a_lost_answer_and_a_lost_refresh_token_are_recovered,
    missing_tickets_are_shown_and_asked_for,
    strangers_leave_no_trace_and_the_previous_key_still_opens,
);

struct World {
    app: TestApp,
}

impl World {
    /// A platform on both sides, whose first ticket has come; no channel yet.
    async fn on(place: &Place) -> Self {
        let world = Self { app: TestApp::empty_on(place, Default::default()).await };
        world.set_up(KEY).await.ok(200);
        world.simulate();
        world.until_ticket("fresh").await;
        world
    }

    async fn set_up(&self, key: &str) -> crate::support::Answer {
        let body = json!({
            "name": "门店平台", "public_url": self.app.url, "secret": SECRET, "token": TOKEN, "encoding_aes_key": key,
        });
        self.app.send_method("PUT", &format!("/platforms/{COMPONENT}"), &body).await
    }

    /// Tells the simulated WeChat what an operator enters in the open platform's console.
    fn simulate(&self) {
        let mut spec = PlatformSpec::new(COMPONENT, SECRET);
        spec.settings.authorization_url = format!("{}/callbacks/wechat-open/{COMPONENT}", self.app.url);
        spec.settings.message_url = format!("{}/callbacks/wechat-open/{COMPONENT}/$APPID$", self.app.url);
        spec.settings.token = TOKEN.to_owned();
        spec.settings.encoding_aes_key = KEY.to_owned();
        spec.settings.retry_ms = 20;
        self.app.wechat.create_platform(spec).unwrap();
    }

    async fn platform(&self) -> Value {
        self.app.get(&format!("/platforms/{COMPONENT}")).await.ok(200)
    }

    async fn until_ticket(&self, state: &str) -> Value {
        self.until(|| self.platform(), |platform| platform["ticket"]["state"] == state).await
    }

    /// Asks again until it is as it should be.
    async fn until<F: Future<Output = Value>>(
        &self,
        ask: impl Fn() -> F,
        good: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = ask().await;
            if good(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{answer}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn begin(&self, code: &str) -> Value {
        self.app.post(&format!("/channels/{code}/authorization"), &json!({})).await.ok(201)
    }

    async fn status(&self, code: &str, begun: &Value) -> Value {
        let id = begun["id"].as_str().unwrap();
        self.app.get(&format!("/channels/{code}/authorization/{id}")).await.ok(200)
    }

    async fn until_status(&self, code: &str, begun: &Value, status: &str) -> Value {
        self.until(|| self.status(code, begun), |now| now["status"] == status).await
    }

    /// The administrator of a Mini Program opens the link and ticks.
    fn scan(&self, begun: &Value, appid: &str, sets: &[u32]) -> Authorized {
        let spec = AuthorizeSpec {
            appid: appid.to_owned(),
            link: begun["pc_url"].as_str().map(str::to_owned),
            permission_sets: Some(sets.iter().copied().collect()),
            ..AuthorizeSpec::default()
        };
        self.app.wechat.authorize(COMPONENT, &spec).unwrap()
    }

    /// The browser follows the redirect.
    async fn follow(&self, scanned: &Authorized) -> crate::support::Answer {
        let redirect = scanned.redirect.as_ref().unwrap();
        let path = redirect.strip_prefix(&self.app.url).expect("it leads back here");
        self.app.outside(path).await
    }

    /// Begins, scans and follows the redirect.
    async fn authorize(&self, code: &str) -> Value {
        let begun = self.begin(code).await;
        let page = self.follow(&self.scan(&begun, APPID, &[17, 18])).await;
        assert_eq!(page.status, 200, "{}", page.text);
        self.until_status(code, &begun, "authorized").await
    }

    async fn channel(&self, code: &str) -> Value {
        self.app.get(&format!("/channels/{code}")).await.ok(200)
    }

    async fn until_hold(&self, code: &str, reason: Option<&str>) -> Value {
        let held = |channel: &Value| channel["hold"]["reason"].as_str() == reason;
        self.until(|| self.channel(code), held).await
    }

    /// A channel that is authorized and has its templates.
    async fn ready(&self) -> Value {
        let authorized = self.authorize(CHANNEL).await;
        self.app.post(&format!("/channels/{CHANNEL}/templates/refresh"), &json!({})).await.ok(200);
        authorized
    }

    /// The kinds of events in a log.
    async fn kinds(&self, log: &LogName) -> Vec<String> {
        let events = self.app.engine.store().read_log(log, Position(0), 1_000).await.unwrap();
        events.iter().map(|event| event.kind_name().to_owned()).collect()
    }

    async fn channel_kinds(&self) -> Vec<String> {
        self.kinds(&LogName::new(CHANNEL)).await
    }

    fn calls(&self, wanted: ComponentCall) -> usize {
        let journal = self.app.wechat.platform_journal();
        let one = |deed: &PlatformDeed| matches!(deed, PlatformDeed::Call { call, .. } if *call == wanted);
        journal.iter().filter(|entry| one(&entry.deed)).count()
    }
}

async fn a_scan_sets_a_channel_up_and_it_sends_without_a_secret(place: Place) {
    let world = World::on(&place).await;
    let app = &world.app;
    let begun = world.begin(CHANNEL).await;
    assert_eq!((&begun["status"], &begun["channel"]), (&json!("waiting"), &json!(CHANNEL)));
    assert!(begun["qr_svg"].as_str().unwrap().contains("<svg"));
    assert!(begun["warning"].as_str().unwrap().contains("18"));
    assert!((1..=1_800).contains(&begun["expires_in"].as_u64().unwrap()), "{begun}");

    let scanned = world.scan(&begun, APPID, &[17, 18]);
    let page = world.follow(&scanned).await;
    assert!(page.status == 200 && page.text.contains("授权成功"), "{}", page.text);
    assert_eq!(
        (page.header("content-type"), page.header("referrer-policy")),
        ("text/html; charset=utf-8", "no-referrer")
    );
    let done = world.until_status(CHANNEL, &begun, "authorized").await;
    assert_eq!(
        (&done["appid"], &done["permissions"], &done["missing"]),
        (&json!(APPID), &json!([17, 18]), &json!([]))
    );
    assert!(done["pc_url"].is_null() && done["qr_svg"].is_null(), "a link that is used up is not shown");

    // The push tells of the same with a code of its own, and the browser may be reloaded: no further event.
    let queried = || world.calls(ComponentCall::QueryAuth) >= 2;
    let deadline = Instant::now() + PATIENCE;
    while !queried() {
        assert!(Instant::now() < deadline, "the push was not carried out");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let again = world.follow(&scanned).await;
    assert!(again.status == 200 && again.text.contains("授权成功"), "{}", again.text);
    assert_eq!(world.channel_kinds().await, ["channel.registered", "channel.authorized"]);
    assert_eq!(world.calls(ComponentCall::QueryAuth), 2, "each code was used once");

    let channel = world.channel(CHANNEL).await;
    assert_eq!((&channel["token_mode"], &channel["appid"]), (&json!("platform"), &json!(APPID)));
    assert!(channel["hold"].is_null());
    assert_eq!(channel["authorization"]["component_appid"], COMPONENT);
    assert_eq!(channel["authorization"]["authorized"], true);

    // The user logs in through the platform, taps, and WeChat pushes the tap to the platform's other URL.
    app.post(&format!("/channels/{CHANNEL}/templates/refresh"), &json!({})).await.ok(200);
    let openid = app.wechat.create_user(APPID, None).unwrap();
    let login = app.wechat.create_login_code(APPID, &openid).unwrap();
    let body = json!({ "userid": "zhangsan", "login_code": login });
    app.post(&format!("/channels/{CHANNEL}/users"), &body).await.ok(200);
    app.tap(&openid);
    let ledgers = format!("/channels/{CHANNEL}/users/zhangsan/ledgers");
    let granted = world
        .until(
            || async { app.get(&ledgers).await.ok(200) },
            |page| page["items"].as_array().is_some_and(|items| items.iter().any(|it| it["balance"] == 1)),
        )
        .await;
    assert_eq!(granted["items"][0]["template_id"], ORDER);
    let sent = app.send(json!([{ "userid": "zhangsan" }])).await;
    let ended = app.ended(sent["msgid"].as_str().unwrap()).await;
    assert_eq!(ended["counts"]["sent"], 1, "{ended}");
    assert_eq!(
        app.wechat.stats().token_calls[APPID].stable,
        0,
        "the Mini Program's own token was never asked for"
    );
}

async fn the_push_alone_is_enough_and_is_told_over_the_stream(place: Place) {
    let world = World::on(&place).await;
    let app = &world.app;
    let begun = world.begin(CHANNEL).await;
    let path = format!("/channels/{CHANNEL}/authorization/{}/stream", begun["id"].as_str().unwrap());
    let reading = app.raw(app.request("GET", &path).bearer_auth(&app.key));
    let scanning = async {
        // The browser never comes back.
        world.scan(&begun, APPID, &[17, 18]);
    };
    let (told, ()) = tokio::join!(reading, scanning);
    assert_eq!((told.status, told.header("content-type")), (200, "text/event-stream"));
    let words: Vec<Value> = told
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    assert_eq!(words.last().unwrap()["status"], "authorized", "{}", told.text);
    assert_eq!(world.channel_kinds().await, ["channel.registered", "channel.authorized"]);

    // What is repeated with the same key is the same authorization; with another body it is refused.
    let path = format!("/channels/{CHANNEL}/authorization");
    let first = app.post_with_key(&path, "once", &json!({})).await;
    let second = app.post_with_key(&path, "once", &json!({ "component_appid": COMPONENT })).await;
    assert_eq!((first.status, second.status, second.header("idempotent-replayed")), (201, 201, "true"));
    assert_eq!((&first.body["id"], &first.body["h5_url"]), (&second.body["id"], &second.body["h5_url"]));
    let elsewhere = app.post_with_key("/channels/other1/authorization", "once", &json!({})).await;
    elsewhere.problem(422, "idempotency_key_reused");
}

async fn what_is_missing_is_named_and_holds_until_it_is_ticked(place: Place) {
    let world = World::on(&place).await;
    let app = &world.app;
    let begun = world.begin(CHANNEL).await;
    let page = world.follow(&world.scan(&begun, APPID, &[17])).await;
    assert!(page.text.contains("权限集 18"), "{}", page.text);
    let done = world.until_status(CHANNEL, &begun, "authorized").await;
    assert_eq!(done["missing"], json!([18]));
    assert!(done["detail"].as_str().unwrap().contains("cannot be published"), "{done}");
    let channel = world.until_hold(CHANNEL, Some("permission_missing")).await;
    assert_eq!(channel["authorization"]["missing"], json!([18]));

    app.wechat.change_permission_sets(COMPONENT, APPID, &BTreeSet::from([17, 18])).unwrap();
    let channel = world.until_hold(CHANNEL, None).await;
    assert!(channel["authorization"]["updated_at"].is_string());
    let expected = ["channel.registered", "channel.authorized", "channel.authorization_updated"];
    assert_eq!(world.channel_kinds().await, expected);
}

async fn a_withdrawn_authorization_holds_deliveries_until_it_is_given_again(place: Place) {
    let world = World::on(&place).await;
    let app = &world.app;
    world.ready().await;
    app.user("zhangsan", 1).await;
    app.wechat.deauthorize(COMPONENT, APPID).unwrap();
    let channel = world.until_hold(CHANNEL, Some("unauthorized")).await;
    assert_eq!(channel["authorization"]["loss"], "pushed");
    assert!(channel["hold"]["advice"].as_str().unwrap().contains("authorization"));

    let sent = app.send(json!([{ "userid": "zhangsan" }])).await;
    let path = format!("/channels/{CHANNEL}/messages/{}", sent["msgid"].as_str().unwrap());
    assert_eq!(app.get(&path).await.ok(200)["counts"]["queued"], 1, "held, not failed");

    world.authorize(CHANNEL).await;
    world.until_hold(CHANNEL, None).await;
    let ended = app.ended(sent["msgid"].as_str().unwrap()).await;
    assert_eq!(ended["counts"]["sent"], 1, "{ended}");
    let codes: Vec<i64> = app.wechat.stats().sends.into_keys().collect();
    assert_eq!(codes, [0], "WeChat was not even asked while it would have refused");
    let kinds = world.channel_kinds().await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "channel.authorized").count(), 2);
    assert_eq!(kinds.iter().filter(|kind| *kind == "channel.unauthorized").count(), 1);
}

async fn a_withdrawal_nobody_told_of_is_found_by_the_refused_send(place: Place) {
    let world = World::on(&place).await;
    let app = &world.app;
    world.ready().await;
    app.user("zhangsan", 1).await;
    app.wechat
        .inject_push_fault(PushFaultSpec {
            event: Some("unauthorized".to_owned()),
            ..PushFaultSpec::new(PushFaultKind::Lost)
        })
        .unwrap();
    app.wechat.deauthorize(COMPONENT, APPID).unwrap();
    let sent = app.send(json!([{ "userid": "zhangsan" }])).await;
    let channel = world.until_hold(CHANNEL, Some("unauthorized")).await;
    assert_eq!(channel["authorization"]["loss"], "refused");
    let path = format!("/channels/{CHANNEL}/messages/{}", sent["msgid"].as_str().unwrap());
    let message = app.get(&path).await.ok(200);
    assert_eq!(
        (&message["counts"]["failed"], &message["counts"]["refused"]),
        (&json!(0), &json!(0)),
        "{message}"
    );
    assert_eq!(app.wechat.journal().iter().filter(|entry| entry.committed).count(), 0);
}

async fn the_wrong_account_is_refused_and_named(place: Place) {
    let world = World::on(&place).await;
    let app = &world.app;
    const OTHER: &str = "wx00000000other001";
    app.wechat.create_app(AppSpec::new(OTHER, "other-secret")).unwrap();
    app.wechat
        .create_template(OTHER, Template::one_time(ORDER, "取餐提醒", "商品:{{thing1.DATA}}\n"))
        .unwrap();
    world.authorize(CHANNEL).await;

    // The link of a channel that is set up names its Mini Program, so WeChat refuses another one.
    let begun = world.begin(CHANNEL).await;
    assert!(begun["pc_url"].as_str().unwrap().contains(&format!("biz_appid={APPID}")));
    let spec = AuthorizeSpec {
        appid: OTHER.to_owned(),
        link: begun["pc_url"].as_str().map(str::to_owned),
        ..AuthorizeSpec::default()
    };
    app.wechat.authorize(COMPONENT, &spec).unwrap_err();

    // Where WeChat lets it pass all the same (a link made by hand), it is refused here.
    let code = |url: &str| {
        let (_, rest) = url.split_once("pre_auth_code=").unwrap();
        rest.split('&').next().unwrap().replace("%40", "@")
    };
    let spec = AuthorizeSpec {
        appid: OTHER.to_owned(),
        pre_auth_code: Some(code(begun["pc_url"].as_str().unwrap())),
        ..AuthorizeSpec::default()
    };
    app.wechat.authorize(COMPONENT, &spec).unwrap();
    let refused = world.until_status(CHANNEL, &begun, "refused").await;
    assert_eq!(refused["reason"], "other_mini_program");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains(APPID) && detail.contains(OTHER), "{detail}");

    // One Mini Program is one channel.
    let begun = world.begin("second1").await;
    let page = world.follow(&world.scan(&begun, APPID, &[17, 18])).await;
    assert_eq!(page.status, 409, "{}", page.text);
    let refused = world.until_status("second1", &begun, "refused").await;
    assert_eq!((&refused["reason"], &refused["appid"]), (&json!("appid_in_use"), &json!(APPID)));
    app.get("/channels/second1").await.problem(404, "unknown_channel");

    // An official account is no Mini Program. WeChat does not offer it by our link; a link made by hand may.
    app.wechat.change_app(OTHER, |settings| settings.account.mini_program = false).unwrap();
    let begun = world.begin("third1").await;
    let link = reqwest::Url::parse(begun["pc_url"].as_str().unwrap()).unwrap();
    let back = link.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
    let spec = AuthorizeSpec {
        appid: OTHER.to_owned(),
        pre_auth_code: Some(code(link.as_str())),
        redirect_uri: Some(back),
        ..AuthorizeSpec::default()
    };
    let page = world.follow(&app.wechat.authorize(COMPONENT, &spec).unwrap()).await;
    assert_eq!(page.status, 409, "{}", page.text);
    let refused = world.until_status("third1", &begun, "refused").await;
    assert_eq!(refused["reason"], "not_a_mini_program");
}

async fn a_channel_with_a_secret_changes_over(place: Place) {
    let world = World::on(&place).await;
    let app = &world.app;
    app.post("/channels", &new_channel(CHANNEL)).await.ok(201);
    assert_eq!(world.channel(CHANNEL).await["token_mode"], "stable");
    world.authorize(CHANNEL).await;
    let channel = world.channel(CHANNEL).await;
    assert_eq!((&channel["token_mode"], &channel["hold"]), (&json!("platform"), &Value::Null));
    let expected = ["channel.registered", "channel.token_source_changed", "channel.authorized"];
    assert_eq!(world.channel_kinds().await, expected);
    let secret = json!({ "secret": "another-secret-1" });
    let refused = app.post(&format!("/channels/{CHANNEL}/credentials"), &secret).await;
    refused.problem(409, "no_secret_in_use");
}

async fn a_lost_answer_and_a_lost_refresh_token_are_recovered(place: Place) {
    let world = World::on(&place).await;
    let app = &world.app;
    // The only answer that holds the refresh token is lost, twice: of the redirect's code and of the push's.
    let fault = FaultSpec { times: 2, ..FaultSpec::on(FaultKind::DropAfterCommit, CallPath::QueryAuth) };
    app.wechat.inject(fault).unwrap();
    let begun = world.begin(CHANNEL).await;
    let page = world.follow(&world.scan(&begun, APPID, &[17, 18])).await;
    assert!(page.text.contains("稍后自动完成"), "{}", page.text);
    // Who waits for a code that may be spent looks again later; the clock is put forward instead of waiting.
    let deadline = Instant::now() + PATIENCE;
    while world.status(CHANNEL, &begun).await["status"] != "authorized" {
        assert!(Instant::now() < deadline, "{}", world.status(CHANNEL, &begun).await);
        app.clock.pass_seconds(5);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    app.post(&format!("/channels/{CHANNEL}/templates/refresh"), &json!({})).await.ok(200);
    assert!(
        world.calls(ComponentCall::GetAuthorizerList) + world.calls(ComponentCall::GetAuthorizerInfo) > 0
    );

    // A refresh token of an older authorization is in our books, and the access token is gone.
    let store = app.engine.store();
    store
        .supersede_refresh_token(COMPONENT, APPID, Some(&"refreshtoken@@@of-yesterday".into()), 0)
        .await
        .unwrap();
    app.wechat.revoke_platform_tokens(COMPONENT, Some(APPID), false).unwrap();
    app.user("zhangsan", 1).await;
    let sent = app.send(json!([{ "userid": "zhangsan" }])).await;
    let ended = app.ended(sent["msgid"].as_str().unwrap()).await;
    assert_eq!(ended["counts"]["sent"], 1, "{ended}");
    assert!(world.calls(ComponentCall::GetAuthorizerList) > 0, "it was looked up");
    let wechats = app.wechat.platform(COMPONENT).unwrap().authorizers[0].refresh_token.clone();
    let ours = store.authorizer(COMPONENT, APPID).await.unwrap().unwrap().refresh_token.unwrap();
    assert_eq!(secrecy::ExposeSecret::expose_secret(&ours), wechats);
}

async fn missing_tickets_are_shown_and_asked_for(place: Place) {
    let world = World::on(&place).await;
    let app = &world.app;
    assert_eq!(world.calls(ComponentCall::StartPushTicket), 0);
    app.clock.pass_seconds(31 * 60);
    let platform = world.until_ticket("stale").await;
    assert!(platform["ticket"]["advice"].as_str().unwrap().contains("30 minutes"));
    assert!(platform["ticket"]["age_s"].as_u64().unwrap() >= 31 * 60);
    world.until(|| world.platform(), |platform| platform["ticket"]["asked_at"].is_string()).await;
    let asked = |kinds: Vec<String>| kinds.iter().filter(|it| *it == "platform.ticket_push_started").count();
    let main = LogName::main();
    world.until(|| async { json!(asked(world.kinds(&main).await)) }, |count| *count == 1).await;
    assert_eq!(world.calls(ComponentCall::StartPushTicket), 1);
    app.clock.pass_seconds(12 * 3_600);
    let platform = world.until_ticket("dead").await;
    assert!(platform["ticket"]["advice"].as_str().unwrap().contains("12 hours"));

    let answer = app.post(&format!("/platforms/{COMPONENT}/start-ticket"), &json!({})).await.ok(200);
    assert!(answer["message"].is_string(), "{answer}");
    app.post("/platforms/wx00000000comp0009/start-ticket", &json!({})).await.problem(404, "unknown_platform");
}

async fn strangers_leave_no_trace_and_the_previous_key_still_opens(place: Place) {
    let world = World::on(&place).await;
    let app = &world.app;
    world.authorize(CHANNEL).await;
    let before = app.heads().await;
    let own = format!("/callbacks/wechat-open/{COMPONENT}");
    for path in [own.clone(), format!("{own}/{APPID}")] {
        app.strange(&path, "", "<xml/>").await.problem(403, "bad_signature");
        let query = "msg_signature=0&timestamp=1790000000&nonce=1&encrypt_type=aes";
        let forged = "<xml><AppId>x</AppId><Encrypt>AAAA</Encrypt></xml>";
        app.strange(&path, query, forged).await.problem(403, "bad_signature");
    }
    app.strange("/callbacks/wechat-open/wx00000000comp0009", "", "<xml/>")
        .await
        .problem(404, "unknown_route");
    for query in ["", "?state=guessed&auth_code=x", "?auth_code=x", "?state=&auth_code="] {
        let page = app.outside(&format!("{own}/authorized{query}")).await;
        assert_eq!(page.status, 404, "{query}");
    }
    assert_eq!(app.heads().await, before);

    // A Mini Program that is no channel: its users' events are answered, and that is all.
    const STRAY: &str = "wx00000000stray001";
    app.wechat.create_app(AppSpec::new(STRAY, "stray-secret")).unwrap();
    let order = Template::one_time(ORDER, "取餐提醒", "商品:{{thing1.DATA}}\n");
    app.wechat.create_template(STRAY, order).unwrap();
    let spec = AuthorizeSpec { appid: STRAY.to_owned(), ..AuthorizeSpec::default() };
    let scanned = app.wechat.authorize(COMPONENT, &spec).unwrap();
    app.wechat.settle(&SettleSpec::default()).await.unwrap();
    let openid = app.wechat.create_user(STRAY, None).unwrap();
    app.wechat
        .tap(STRAY, &subledger_sandbox::TapSpec::new(&openid, &[ORDER], subledger_sandbox::Choice::Accept))
        .unwrap();
    app.wechat.settle(&SettleSpec::default()).await.unwrap();
    assert!(scanned.push.is_some());
    assert_eq!(app.heads().await, before, "nothing of it is on the books");

    // The key is changed here first; WeChat goes on with the one before for a while.
    world.set_up(OTHER_KEY).await.ok(200);
    let platform = world.platform().await;
    assert!(platform["previous_encoding_aes_key"]["fingerprint"].is_string());
    let tickets = platform["ticket"]["received"].as_u64().unwrap();
    app.wechat.push_ticket(COMPONENT).unwrap();
    world.until(|| world.platform(), |now| now["ticket"]["received"].as_u64() > Some(tickets)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_known_by_fingerprint_and_date_only() {
    let world = World::on(&Place::sqlite()).await;
    let app = &world.app;
    world.authorize(CHANNEL).await;
    let answers = [
        world.set_up(KEY).await.text,
        app.get(&format!("/platforms/{COMPONENT}")).await.text,
        app.get("/platforms").await.text,
        world.channel(CHANNEL).await.to_string(),
        app.get("/events?log=main").await.text,
        app.get(&format!("/events?log={CHANNEL}")).await.text,
    ];
    let ticket = app.wechat.platform(COMPONENT).unwrap().ticket.unwrap();
    let refresh = app.wechat.platform(COMPONENT).unwrap().authorizers[0].refresh_token.clone();
    for answer in answers {
        for planted in [SECRET, TOKEN, KEY, &ticket, &refresh] {
            assert!(!answer.contains(planted), "{planted}: {answer}");
        }
    }
    let platform = world.platform().await;
    for name in ["app_secret", "token", "encoding_aes_key"] {
        assert_eq!(platform[name]["fingerprint"].as_str().unwrap().len(), 8, "{name}");
        assert!(platform[name]["set_at"].is_string(), "{name}");
    }
    assert_eq!(platform["authorization_url"], format!("{}/callbacks/wechat-open/{COMPONENT}", app.url));
    assert_eq!(platform["login_domain"], "127.0.0.1");
    let main = world.kinds(&LogName::main()).await;
    let about = main.iter().filter(|kind| kind.starts_with("platform.")).count();
    assert_eq!(about, 2, "set up once; the repetition made no event: {main:?}");

    // A platform concerns every channel.
    let limited = app.app("limited", &Right::ALL, Some(&[CHANNEL])).await;
    for path in ["/platforms".to_owned(), format!("/platforms/{COMPONENT}")] {
        app.raw(app.request("GET", &path).bearer_auth(&limited)).await.problem(403, "missing_right");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_by_field_and_changes_nothing() {
    let app = TestApp::empty_on(&Place::sqlite(), Default::default()).await;
    let before = app.heads().await;
    let good = json!({
        "name": "P", "public_url": "https://a.example.com", "secret": SECRET, "token": TOKEN, "encoding_aes_key": KEY,
    });
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let without = |field: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        body
    };
    let path = format!("/platforms/{COMPONENT}");
    for (path, body, code, pointer, rule) in [
        ("/platforms/wx!!!!".to_owned(), good.clone(), "bad_appid", "/component_appid", "appid"),
        (path.clone(), with("name", json!(" ")), "bad_name", "/name", "text_length"),
        (
            path.clone(),
            with("public_url", json!("a.example.com")),
            "bad_platform",
            "/public_url",
            "public_url",
        ),
        (path.clone(), with("public_url", json!("https://a/b")), "bad_platform", "/public_url", "public_url"),
        (path.clone(), with("secret", json!("short")), "bad_secret", "/secret", "secret"),
        (path.clone(), with("token", json!("a-b")), "bad_platform", "/token", "token"),
        (
            path.clone(),
            with("encoding_aes_key", json!("A")),
            "bad_platform",
            "/encoding_aes_key",
            "encoding_aes_key",
        ),
        (path.clone(), without("secret"), "bad_platform", "/secret", "required"),
        (path.clone(), without("token"), "bad_platform", "/token", "required"),
        (path.clone(), without("encoding_aes_key"), "bad_platform", "/encoding_aes_key", "required"),
    ] {
        let problem = app.send_method("PUT", &path, &body).await.problem(422, code);
        crate::support::fault(&problem, pointer, rule);
    }
    let none = app.post("/channels/mp1/authorization", &json!({})).await;
    none.problem(404, "unknown_platform");
    let unknown = app.post("/channels/mp1/authorization", &json!({ "component_appid": COMPONENT })).await;
    unknown.problem(404, "unknown_platform");
    app.get("/channels/mp1/authorization/nonsense").await.problem(404, "unknown_authorization");
    app.get(&format!("/platforms/{COMPONENT}")).await.problem(404, "unknown_platform");
    assert_eq!(app.heads().await, before);

    // Set up, but no ticket has come: the error says what is missing.
    app.send_method("PUT", &path, &good).await.ok(200);
    let early = app.post("/channels/mp1/authorization", &json!({})).await;
    let problem = early.problem(422, "token_source_failed");
    assert!(problem["detail"].as_str().unwrap().contains("ticket"), "{problem}");
}
