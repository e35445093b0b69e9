//! Nothing secret and nothing personal gets where it must not be.
//!
//! Secrets, names and texts that cannot be mistaken for anything else are led through the whole job, its errors and its
//! refusals, with the log at its most talkative. Then everything that the service has written or said is searched for them.
//! The search is tried on leaks that are made on purpose.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{
    main_job::{ended, ledger},
    on_both_databases,
    support::{
        APPID, CHANNEL, Client, Database, MASTER_KEY, Process, Record, SECRET, TEMPLATE, Wechat, create_app,
        eventually, run_cli,
    },
};

const PATIENCE: Duration = Duration::from_secs(60);
const WRONG_SECRET: &str = "leak-wrong-app-secret-0001";
const PUSH_TOKEN: &str = "LeakPushTokenLeakPushToken000001";
const OLD_AES_KEY: &str = "LeakOldAesKeyLeakOldAesKeyLeakOldAesKey0001";
const AES_KEY: &str = "LeakNewAesKeyLeakNewAesKeyLeakNewAesKey0002";
const USERID: &str = "leak-userid-0001";
const STRANGER: &str = "leak-userid-of-nobody";
const VALUE: &str = "LeakedValueXyzzy";
const PAGE: &str = "pages/leaked?order=leaked-page-0001";
const FORGED_KEY: &str = "slk_00112233445566ff_leakleakleakleakleakleakleakleakleakleakleakleak";

on_both_databases!(nothing_secret_or_personal_gets_where_it_must_not_be);

/// What must not be found.
struct Needle {
    name: &'static str,
    text: String,
    /// Whether it is of a person: answers may name those whom they are about.
    personal: bool,
    /// The request whose answer says it, this once.
    answered_to: Option<&'static str>,
}

impl Needle {
    fn secret(name: &'static str, text: &str) -> Self {
        Self { name, text: text.to_owned(), personal: false, answered_to: None }
    }

    fn personal(name: &'static str, text: &str) -> Self {
        Self { personal: true, ..Self::secret(name, text) }
    }

    fn answered(name: &'static str, text: &str, to: &'static str) -> Self {
        Self { answered_to: Some(to), ..Self::secret(name, text) }
    }

    /// Itself, and as it looks where bytes are spelled out.
    fn spellings(&self) -> Vec<String> {
        let hex: String = self.text.bytes().map(|byte| format!("{byte:02x}")).collect();
        vec![self.text.clone(), hex.to_uppercase(), hex, base64(self.text.as_bytes())]
    }
}

/// Without the last characters, which depend on what follows.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let chunks = bytes.chunks_exact(3);
    let four = |chunk: &[u8]| {
        let bits = u32::from(chunk[0]) << 16 | u32::from(chunk[1]) << 8 | u32::from(chunk[2]);
        [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift & 63) as usize]))
    };
    chunks.flat_map(four).collect()
}

/// A place that is searched.
struct Place {
    kind: &'static str,
    name: String,
    text: String,
}

impl Place {
    fn new(kind: &'static str, name: impl Into<String>, bytes: &[u8]) -> Self {
        Self { kind, name: name.into(), text: String::from_utf8_lossy(bytes).into_owned() }
    }
}

/// What was found where, as sentences.
fn leaks(places: &[Place], needles: &[Needle]) -> Vec<String> {
    let mut found = Vec::new();
    for needle in needles {
        let spellings = needle.spellings();
        for place in places {
            let on_purpose = place.kind == "answer"
                && (needle.personal || needle.answered_to.is_some_and(|to| place.name.ends_with(to)));
            if on_purpose {
                continue;
            }
            if let Some(at) = spellings.iter().find_map(|spelling| place.text.find(spelling)) {
                let around: String = place.text[..at].chars().rev().take(120).collect();
                let around: String = around.chars().rev().collect();
                found.push(format!("{} in {} {}, after {around:?}", needle.name, place.kind, place.name));
            }
        }
    }
    found
}

/// Takes the pushes that are relayed, and refuses the first.
async fn back_end() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut refused = false;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 16_384];
            let _ = stream.read(&mut bytes).await;
            let status = if std::mem::replace(&mut refused, true) { "200 OK" } else { "503 Busy" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    url
}

struct World {
    database: Database,
    wechat: Wechat,
    service: Option<Process>,
    client: Client,
    record: Record,
    openid: String,
    needles: Vec<Needle>,
}

impl World {
    fn log(&self) -> std::path::PathBuf {
        self.database.folder.path().join("service.log")
    }

    async fn start(database: Database) -> Self {
        let wechat = Wechat::start().await;
        let key = create_app(&database, &["app", "create", "shop", "--json"]);
        let settings = database.folder.path().join("settings.toml");
        let rules = "[egress]\nallow = [\"127.0.0.1\"]\nallow_http = true\nports = [\"1-65535\"]\n";
        std::fs::write(&settings, rules).unwrap();
        let log = database.folder.path().join("service.log");
        let talkative = [("SUBLEDGER_LOG_FILTER", "trace"), ("SUBLEDGER_LOG_FORMAT", "json")];
        let (service, url) = Process::serve_logging(&database, &wechat, &talkative, &settings, &log).await;
        let record = Record::default();
        let mut client = Client::new(&url, &key);
        client.record = Some(record.clone());
        let master: Vec<u8> = (0..32).collect();
        let needles = vec![
            Needle::secret("the AppSecret", SECRET),
            Needle::secret("an AppSecret that was refused", WRONG_SECRET),
            Needle::secret("the push token", PUSH_TOKEN),
            Needle::secret("the EncodingAESKey", AES_KEY),
            Needle::secret("the EncodingAESKey before it", OLD_AES_KEY),
            Needle::secret("the master key as it is set", MASTER_KEY),
            Needle::secret("the master key", std::str::from_utf8(&master).unwrap()),
            Needle::secret("the API key", &key),
            Needle::secret("the secret part of the API key", key.rsplit('_').next().unwrap()),
            Needle::secret("a forged API key", FORGED_KEY),
            Needle::personal("a userid", USERID),
            Needle::personal("the userid of nobody", STRANGER),
            Needle::personal("a value of a template", VALUE),
            Needle::personal("a page", PAGE),
        ];
        let service = Some(service);
        Self { database, wechat, service, client, record, openid: String::new(), needles }
    }

    fn path(rest: &str) -> String {
        format!("/channels/{CHANNEL}{rest}")
    }

    async fn set_up(&mut self) {
        let channel =
            |secret: &str| json!({ "code": CHANNEL, "name": "Bakery", "appid": APPID, "secret": secret });
        self.client.post("/channels", &channel(WRONG_SECRET)).await.expect_problem(422, "wechat_refused");
        let made = self.client.post("/channels", &channel(SECRET)).await;
        let first = made.expect_status(201)["secrets"][0].clone();
        assert_eq!(first["kind"], "app_secret");
        assert!(first["fingerprint"].as_str().is_some_and(|it| it.len() == 8), "{first}");
        assert!(first["set_at"].is_string());
        let credentials = Self::path("/credentials");
        self.client
            .post(&credentials, &json!({ "secret": WRONG_SECRET }))
            .await
            .expect_problem(422, "wechat_refused");
        let again = self.client.post(&credentials, &json!({ "secret": SECRET })).await;
        let again = again.expect_status(200)["secrets"][0].clone();
        assert_eq!(again["fingerprint"], first["fingerprint"], "the same secret is known by the same digits");
        assert_ne!(again["set_at"], first["set_at"]);
        self.client.post(&Self::path("/templates/refresh"), &json!({})).await.expect_status(200);
        for key in [OLD_AES_KEY, AES_KEY] {
            let callback = json!({
                "mode": "secure", "format": "json", "token": PUSH_TOKEN, "encoding_aes_key": key,
            });
            self.client.put(&Self::path("/callback"), &callback).await.expect_status(200);
        }
        let wrong = json!({ "mode": "secure", "format": "json", "token": PUSH_TOKEN, "encoding_aes_key": PUSH_TOKEN });
        self.client.put(&Self::path("/callback"), &wrong).await.expect_problem(422, "bad_callback");
        let target = json!({
            "url": format!("{}/callbacks/wechat/{CHANNEL}", self.client.url), "token": PUSH_TOKEN,
            "encoding_aes_key": AES_KEY, "mode": "secure", "format": "json",
        });
        let saved = self.wechat.put(&format!("/sandbox/apps/{APPID}/push"), &target).await;
        assert_eq!(saved["saved"], true, "{saved}");
        let relay = json!({ "url": back_end().await, "form": "raw" });
        let relay = self.client.put(&Self::path("/relay"), &relay).await;
        let signing = relay.expect_status(200)["generated_secret"].as_str().unwrap().to_owned();
        self.needles.push(Needle::answered("the signing secret", &signing, "/relay"));
        let secrets = self.client.get(&Self::path("/secrets")).await;
        let secrets = secrets.expect_status(200)["secrets"].as_array().unwrap().clone();
        let kinds: Vec<_> = secrets.iter().map(|secret| secret["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["app_secret", "push_token", "push_key", "previous_push_key", "relay_secret"]);
    }

    async fn work(&mut self) {
        self.openid = self.wechat.user().await;
        self.needles.push(Needle::personal("an openid", &self.openid));
        let user = json!({ "userid": USERID, "openid": self.openid });
        self.client.post(&Self::path("/users"), &user).await.expect_status(200);
        let report =
            json!({ "report_id": "tap-1", "userid": USERID, "result": self.wechat.tap(&self.openid).await });
        self.client.post(&Self::path("/client-reports"), &report).await.expect_status(200);
        let token = self.client.post(&Self::path("/user-tokens"), &json!({ "userid": USERID })).await;
        let token = token.body["token"].as_str().unwrap().to_owned();
        self.needles.push(Needle::answered("a user token", &token, "/user-tokens"));
        let own = self.client.with_key(&token);
        let now = jiff::Timestamp::now().to_string();
        let result = self.wechat.tap(&self.openid).await;
        let report = json!({ "report_id": "tap-2", "result": result, "tapped_at": now });
        let answer = own.post("/client-reports", &report).await;
        assert!((200..300).contains(&answer.status), "{}", answer.body);
        // WeChat's pushes of taps in one second look alike: these are told of by the Mini Program, too.
        for tap in ["tap-3", "tap-4"] {
            let result = self.wechat.tap(&self.openid).await;
            let report = json!({ "report_id": tap, "userid": USERID, "result": result });
            self.client.post(&Self::path("/client-reports"), &report).await.expect_status(200);
        }
        self.wechat.post("/sandbox/pushes/settle", &json!({})).await;

        let sent = self.client.post(&Self::path("/messages"), &message(USERID, VALUE)).await;
        let sent = ended(&self.client, sent.expect_status(202)["msgid"].as_str().unwrap()).await;
        assert_eq!(sent["counts"]["sent"], 1, "{sent}");
        self.wechat.post("/sandbox/pushes/settle", &json!({})).await;
        // The token of then and the one it is replaced by.
        self.note_access_token("an access token").await;
        self.wechat.post(&format!("/sandbox/apps/{APPID}/tokens/revoke"), &json!({})).await;
        let sent = self.client.post(&Self::path("/messages"), &message(USERID, VALUE)).await;
        let sent = ended(&self.client, sent.expect_status(202)["msgid"].as_str().unwrap()).await;
        assert_eq!(sent["counts"]["sent"], 1, "{sent}");
        self.wechat.fault(&json!({ "appid": APPID, "path": "send", "kind": "drop_after_commit" })).await;
        let doubtful = self.client.post(&Self::path("/messages"), &message(USERID, VALUE)).await;
        let doubtful = doubtful.expect_status(202)["msgid"].as_str().unwrap().to_owned();
        let doubtful = ended(&self.client, &doubtful).await;
        // In doubt, until WeChat's push settles it.
        let counts = &doubtful["counts"];
        assert_eq!(counts["in_doubt"].as_u64().unwrap() + counts["sent"].as_u64().unwrap(), 1, "{doubtful}");
        self.note_access_token("the access token after it").await;
    }

    /// What the Mini Program's token is now: whoever has the AppSecret is told.
    async fn note_access_token(&mut self, name: &'static str) {
        let body = json!({ "grant_type": "client_credential", "appid": APPID, "secret": SECRET });
        let answer = self.wechat.post("/cgi-bin/stable_token", &body).await;
        let token = answer["access_token"].as_str().unwrap().to_owned();
        self.needles.push(Needle::secret(name, &token));
    }

    async fn fail(&self) {
        let client = &self.client;
        let twice = json!({ "report_id": "tap-5", "userid": USERID, "openid": self.openid, "result": { TEMPLATE: "accept" }, "secret": SECRET });
        assert_eq!(client.post(&Self::path("/client-reports"), &twice).await.status / 100, 4);
        let nobody = client.post(&Self::path("/messages"), &message(STRANGER, VALUE)).await;
        assert_eq!(nobody.status / 100, 4, "{}", nobody.body);
        let too_long = VALUE.repeat(8);
        client.post(&Self::path("/messages"), &message(USERID, &too_long)).await;
        assert_eq!(client.get(&Self::path(&format!("/users/{STRANGER}"))).await.status, 404);
        assert_eq!(client.get(&format!("/{STRANGER}?secret={SECRET}")).await.status, 404);
        let forged = client.with_key(FORGED_KEY);
        forged.get("/whoami").await.expect_status(401);
        forged.post("/client-reports", &twice).await.expect_status(401);
        // As WeChat pushes, wrongly signed, and in the clear.
        let push = format!("{}/callbacks/wechat/{CHANNEL}", client.url);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let body = json!({ "ToUserName": "gh_1", "FromUserName": self.openid, "Event": VALUE }).to_string();
        for query in [
            format!("signature={PUSH_TOKEN}&timestamp=1&nonce={AES_KEY}"),
            "msg_signature=0&timestamp=1&nonce=2".to_owned(),
        ] {
            let answer = http.post(format!("{push}?{query}")).body(body.clone()).send().await.unwrap();
            assert!(!answer.status().is_success() || answer.text().await.unwrap().len() < 100);
        }
        let login = json!({ "userid": USERID, "login_code": format!("{SECRET}-is-no-code") });
        assert_eq!(client.post(&Self::path("/users"), &login).await.status / 100, 4);
        let bad_relay =
            json!({ "url": format!("https://u:{SECRET}@example.com/?k={AES_KEY}"), "form": "raw" });
        assert_eq!(client.put(&Self::path("/relay"), &bad_relay).await.status / 100, 4);
    }

    /// Looks at everything there is to look at.
    async fn look(&self) {
        let client = &self.client;
        let pages = [
            "",
            "/queue",
            "/callback",
            "/relay",
            "/secrets",
            "/templates",
            "/messages",
            "/ledgers",
            "/users",
            "/in-doubt",
            "/pushes",
            "/push-health",
        ];
        for page in pages {
            client.get(&Self::path(page)).await.expect_status(200);
        }
        for path in ["/channels", "/whoami"] {
            client.get(path).await.expect_status(200);
        }
        ledger(client, USERID).await;
        client.test_relay().await;
    }

    /// Everything that was written or said until now.
    async fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for log in [CHANNEL, "main"] {
            let mut after = 0;
            loop {
                let page = self.client.get(&format!("/events?log={log}&after={after}&limit=500")).await;
                let items = page.expect_status(200)["items"].as_array().unwrap().clone();
                let Some(last) = items.last() else { break };
                after = last["position"].as_u64().unwrap();
                places.push(Place::new(
                    "event",
                    format!("{log} up to {after}"),
                    page.body.to_string().as_bytes(),
                ));
            }
        }
        assert!(places.iter().any(|place| place.text.contains("ledger")), "the feed itself must be there");
        for arguments in [
            &["events", "export", "--all"][..],
            &["events", "list", "--log", CHANNEL, "--json"],
            &["audit", "templates", "--channel", CHANNEL, "--json"],
            &["projections", "status", "--json"],
            &["channel", "list", "--json"],
            &["admin", "keys", "--json"],
        ] {
            let output = run_cli(&self.database, arguments);
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            places.push(Place::new("command", arguments.join(" "), &output.stdout));
            places.push(Place::new("command", arguments.join(" "), &output.stderr));
        }
        for path in ["/metrics", "/openapi.json", "/readyz", "/healthz", "/docs/"] {
            places.push(Place::new("page", path, self.client.text_of(path).await.as_bytes()));
        }
        for (asked, answer) in self.record.lock().unwrap().iter() {
            places.push(Place::new("answer", asked.as_str(), answer));
        }
        places.extend(self.written());
        places
    }

    /// What is on disk.
    fn written(&self) -> Vec<Place> {
        let log = std::fs::read(self.log()).unwrap();
        let mut places = vec![Place::new("log", "of the service", &log)];
        let rows = self.database.contents().into_iter();
        places.extend(rows.map(|(name, bytes)| Place::new("database", name, &bytes)));
        places
    }
}

impl Client {
    async fn test_relay(&self) {
        self.post(&World::path("/relay/test"), &json!({})).await.expect_status(200);
    }
}

fn message(userid: &str, value: &str) -> Value {
    json!({
        "template_id": TEMPLATE,
        "recipients": [{ "userid": userid }],
        "data": { "thing1": value, "date2": "2026-11-23 09:30", "phrase3": "待取餐" },
        "page": PAGE,
    })
}

#[track_caller]
fn none(found: &[String]) {
    assert!(found.is_empty(), "{} leaks:\n{}", found.len(), found.join("\n"));
}

async fn nothing_secret_or_personal_gets_where_it_must_not_be(database: Database) {
    let mut world = World::start(database).await;
    world.set_up().await;
    world.work().await;
    world.fail().await;
    world.look().await;
    let places = world.places().await;
    none(&leaks(&places, &world.needles));

    // The search finds what is there: things that are no secret, in each kind of place.
    let known = [
        ("log", "channel set up"),
        ("database", CHANNEL),
        ("event", "channel."),
        ("command", APPID),
        ("page", "subledger_"),
    ];
    for (kind, text) in known {
        let needles = [Needle::secret("what is there", text)];
        let found = leaks(&places, &needles);
        assert!(found.iter().any(|found| found.contains(&format!(" in {kind} "))), "no {text} in {kind}");
    }
    for place in places {
        let planted = Place { text: format!("{}x{SECRET}y", place.text), ..place };
        assert_eq!(leaks(&[planted], &world.needles).len(), 1);
    }

    // A leak made on purpose: a caller names its request by the AppSecret, and names of requests are noted everywhere.
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let pause = http.post(format!("{}/api/v1/channels/{CHANNEL}/pause", world.client.url));
    let pause = pause.bearer_auth(&world.client.key).header("X-Request-Id", SECRET);
    assert!(
        pause.json(&json!({ "reason": "a leak on purpose" })).send().await.unwrap().status().is_success()
    );
    let found = eventually("the leak is everywhere", PATIENCE, async || {
        let found = leaks(&world.places().await, &world.needles);
        let kinds = ["log", "database", "event", "command"];
        let everywhere =
            kinds.iter().all(|kind| found.iter().any(|found| found.contains(&format!(" in {kind} "))));
        everywhere.then_some(found)
    })
    .await;
    assert!(found.iter().all(|found| found.starts_with("the AppSecret in ")), "{found:?}");

    // And on disk, once everything is written there.
    assert_eq!(world.service.take().unwrap().terminate().await, Some(0));
    let found = leaks(&world.written(), &world.needles);
    assert!(
        !found.is_empty() && found.iter().all(|found| found.starts_with("the AppSecret in ")),
        "{found:?}"
    );
    assert!(
        Path::new(&world.log()).metadata().unwrap().len() > 10_000,
        "the log is hardly the most talkative"
    );
}
