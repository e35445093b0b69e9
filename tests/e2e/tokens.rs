//! Access tokens under stress: many channels lose theirs at once, and all that is fetched is one new token each.
//!
//! The judge is the simulated WeChat, which counts the tokens it gave.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    CHANNEL, Client, Cluster, Database, Process, SECRET, Stage, TEMPLATE, Wechat, create_app, eventually,
    run_cli,
};

const CHANNELS: usize = 100;
/// Messages per channel: one through each of four nodes, or as many callers of one.
const CALLERS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(120);
/// Everything at once would measure the machine, not the tokens.
const AT_ONCE: usize = 32;

fn appid(number: usize) -> String {
    format!("wx{number:014}")
}

fn code(number: usize) -> String {
    format!("mp{number}")
}

/// What the world consists of: who is asked, and who is sent to.
struct World {
    wechat: Wechat,
    /// Where callers go: several nodes, or one.
    clients: Vec<Client>,
}

impl World {
    fn client(&self, caller: usize) -> &Client {
        &self.clients[caller % self.clients.len()]
    }

    /// Does something for every channel and caller, a bounded number at once.
    async fn each<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        callers: usize,
        work: impl Fn(Client, usize, usize) -> F,
    ) -> Vec<T> {
        let all = (0..CHANNELS).flat_map(|number| (0..callers).map(move |caller| (number, caller)));
        let (mut running, mut done) = (tokio::task::JoinSet::new(), Vec::new());
        for (number, caller) in all {
            if running.len() == AT_ONCE {
                done.push(running.join_next().await.unwrap().unwrap());
            }
            running.spawn(work(self.client(caller + number).clone(), number, caller));
        }
        while let Some(one) = running.join_next().await {
            done.push(one.unwrap());
        }
        done
    }

    /// Sets the channels up, with a user who has a grant for each message to come.
    async fn prepare(&self, rounds: usize) {
        for number in 0..CHANNELS {
            self.wechat.add_app(&appid(number)).await;
        }
        let wechat = &self.wechat;
        self.each(1, |client, number, _| {
            let wechat = wechat.another();
            async move {
                let (code, appid) = (code(number), appid(number));
                let channel = json!({ "code": code, "name": "Bakery", "appid": appid, "secret": SECRET });
                client.post("/channels", &channel).await.expect_status(201);
                let refresh = format!("/channels/{code}/templates/refresh");
                client.post(&refresh, &json!({})).await.expect_status(200);
                for caller in 0..CALLERS {
                    let openid = wechat.user_of(&appid).await;
                    let user = json!({ "userid": format!("user-{caller}"), "openid": openid });
                    client.post(&format!("/channels/{code}/users"), &user).await.expect_status(200);
                    for round in 0..rounds {
                        let report = json!({
                            "report_id": format!("tap-{caller}-{round}"),
                            "openid": openid,
                            "result": wechat.tap_at(&appid, &openid).await,
                        });
                        client
                            .post(&format!("/channels/{code}/client-reports"), &report)
                            .await
                            .expect_status(200);
                    }
                }
            }
        })
        .await;
    }

    /// Every node lends every channel's token, so every node has it in memory; its version and the token itself.
    async fn borrow(&self) -> Vec<(usize, u64, String)> {
        self.each(self.clients.len(), |client, number, _| async move {
            let lease = client.get(&format!("/channels/{}/token", code(number))).await;
            let lease = lease.expect_status(200);
            let token = lease["access_token"].as_str().unwrap().to_owned();
            (number, lease["version"].as_u64().unwrap(), token)
        })
        .await
    }

    /// All nodes have one token per channel, with this version.
    async fn agree(&self, version: u64) {
        let mut tokens = vec![None; CHANNELS];
        for (number, found, token) in self.borrow().await {
            assert_eq!(found, version, "{}", code(number));
            let known = tokens[number].get_or_insert_with(|| token.clone());
            assert_eq!(*known, token, "{}: two tokens of one version", code(number));
        }
    }

    /// Every caller sends a message in every channel, and every message arrives.
    async fn send(&self, round: usize) {
        let sent = self
            .each(CALLERS, |client, number, caller| async move {
                let message = json!({
                    "template_id": TEMPLATE,
                    "data": { "thing1": "示例面包", "date2": "2030-01-02 09:30", "phrase3": "待自取" },
                    "page": format!("pages/storm?round={round}"),
                    "recipients": [{ "userid": format!("user-{caller}") }],
                });
                let path = format!("/channels/{}/messages", code(number));
                let answer = client.post(&path, &message).await;
                let answer = answer.expect_status(202);
                assert_eq!(answer["accepted"], 1, "{answer}");
                (number, caller, answer["msgid"].as_str().unwrap().to_owned())
            })
            .await;
        for (number, caller, msgid) in sent {
            let path = format!("/channels/{}/messages/{msgid}", code(number));
            let client = self.client(caller);
            let counts = eventually("a message that ends", PATIENCE, async || {
                let message = client.get(&path).await;
                let counts = message.body["counts"].clone();
                (message.status == 200 && counts["queued"] == 0 && counts["started"] == 0).then_some(counts)
            })
            .await;
            assert_eq!(counts["sent"], 1, "{} {caller}: {counts}", code(number));
        }
    }

    /// How many tokens WeChat gave for each channel: as often as `times`.
    async fn fetched(&self, times: u64) {
        let stats = self.wechat.get("/sandbox/stats").await;
        for number in 0..CHANNELS {
            let calls = &stats["token_calls"][appid(number)];
            let (stable, others) = (&calls["stable"], (&calls["token"], &calls["stable_forced"]));
            assert_eq!(
                (stable, others),
                (&json!(times), (&json!(0), &json!(0))),
                "{}: {calls}",
                code(number)
            );
        }
    }

    /// The suspicions in a channel's books.
    async fn suspected(&self, number: usize) -> usize {
        let page = self.clients[0].get(&format!("/events?log={}&limit=1000", code(number))).await;
        let events = page.expect_status(200)["items"].as_array().unwrap().clone();
        events.iter().filter(|event| event["kind"] == "channel.token_conflict_suspected").count()
    }

    /// All channels lose their tokens at once: one refresh per channel and version, and no send fails for good. Then all
    /// tokens expire by WeChat's clock, which is no conflict.
    async fn storm(&self) {
        self.prepare(3).await;
        self.agree(1).await;
        self.send(0).await;
        self.fetched(1).await;

        let wechat = &self.wechat;
        self.each(1, |_, number, _| {
            let wechat = wechat.another();
            async move {
                wechat
                    .post(&format!("/sandbox/apps/{}/tokens/revoke", appid(number)), &json!({}))
                    .await
            }
        })
        .await;
        self.send(1).await;
        self.fetched(2).await;
        self.agree(2).await;
        for number in 0..CHANNELS {
            eventually("the conflict is told of", PATIENCE, async || {
                (self.suspected(number).await == 1).then_some(())
            })
            .await;
        }

        self.wechat.post("/sandbox/clock/advance", &json!({ "seconds": 7_300 })).await;
        self.send(2).await;
        self.fetched(3).await;
        self.agree(3).await;
        for number in 0..CHANNELS {
            assert_eq!(self.suspected(number).await, 1, "an expired token is no conflict");
        }
    }
}

/// Times as in production: the short ones of other tests would have four nodes poll a hundred channels twenty times a second.
const PATIENT: &[(&str, &str)] = &[
    ("SUBLEDGER_WECHAT_CONNECT_TIMEOUT_MS", "3000"),
    ("SUBLEDGER_WECHAT_READ_TIMEOUT_MS", "10000"),
    ("SUBLEDGER_DISPATCH_LEASE_MS", "30000"),
    ("SUBLEDGER_DISPATCH_POLL_MS", "2000"),
];

fn key(database: &Database) -> String {
    let rights = "manage,bind,grant,send,read,settle,token";
    create_app(database, &["app", "create", "storm", "--rights", rights, "--json"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_over_four_nodes() {
    let Some(database) = Database::postgres("a_storm_over_four_nodes") else { return };
    let wechat = Wechat::start_with_seed(1).await;
    let key = key(&database);
    let (mut nodes, mut clients) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let (process, url) = Process::serve_with(&database, &wechat, PATIENT).await;
        nodes.push(process);
        clients.push(Client::new(&url, &key));
    }
    World { wechat, clients }.storm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_over_one_node_on_sqlite() {
    let database = Database::sqlite();
    let wechat = Wechat::start_with_seed(1).await;
    let key = key(&database);
    let (_node, url) = Process::serve_with(&database, &wechat, PATIENT).await;
    World { wechat, clients: vec![Client::new(&url, &key)] }.storm().await;
}

/// A node dies while it fetches a token: another one takes its turn over when it is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_while_it_fetches_is_taken_over() {
    let Some(database) = Database::postgres("a_node_that_dies_while_it_fetches_is_taken_over") else {
        return;
    };
    let mut cluster = Cluster::start(database, 2).await;
    let openid = cluster.wechat.user().await;
    let two = cluster.nodes[1].client.clone();
    let user = json!({ "userid": "zhangsan", "openid": openid });
    two.post(&format!("/channels/{CHANNEL}/users"), &user).await.expect_status(200);
    let report = json!({ "report_id": "tap", "openid": openid, "result": cluster.wechat.tap(&openid).await });
    two.post(&format!("/channels/{CHANNEL}/client-reports"), &report).await.expect_status(200);
    let appid = crate::support::APPID;
    cluster.wechat.post(&format!("/sandbox/apps/{appid}/tokens/revoke"), &json!({})).await;
    let slow = json!({ "appid": appid, "path": "stable_token", "kind": "latency", "ms": 800, "times": 1 });
    cluster.wechat.fault(&slow).await;
    // The first node has the turn, and dies in it: its own call comes back to nobody.
    let borrower = create_app(&cluster.database, &["app", "create", "crm", "--rights", "token", "--json"]);
    let one = Client::new(&cluster.nodes[0].client.url, &borrower);
    let asked =
        tokio::spawn(
            async move { one.try_get(&format!("/channels/{CHANNEL}/token?refused_version=1")).await },
        );
    eventually("a node fetches", PATIENCE, async || {
        let channel = two.get(&format!("/channels/{CHANNEL}")).await;
        (channel.body["token"]["being_fetched"] == true).then_some(())
    })
    .await;
    cluster.kill(0);
    let _nobody = asked.await.unwrap();
    let sent = crate::main_job::send(&two, json!([{ "userid": "zhangsan" }]), "pages/n").await;
    let path = format!("/channels/{CHANNEL}/messages/{}", sent["msgid"].as_str().unwrap());
    eventually("the message is sent", PATIENCE, async || {
        (two.get(&path).await.body["counts"]["sent"] == 1).then_some(())
    })
    .await;
    assert_eq!(two.get(&format!("/channels/{CHANNEL}")).await.body["token"]["version"], 2);
}

/// The command line shows what is known of a token and never the token, and forces a new one.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_and_forces_tokens() {
    let mut stage = Stage::start(Database::sqlite()).await;
    let show = |stage: &Stage| -> Value {
        let output = run_cli(&stage.database, &["channel", "token", CHANNEL, "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let known = show(&stage);
    assert_eq!((&known["version"], &known["token_mode"]), (&json!(1), &json!("stable")), "{known}");
    stage.kill();
    let force = crate::support::run_cli_with(
        &stage.database,
        &[("SUBLEDGER_WECHAT_BASE_URL", &stage.wechat.url)],
        &["channel", "token", CHANNEL, "--force-refresh"],
    );
    let said = String::from_utf8_lossy(&force.stdout).into_owned();
    assert!(force.status.success(), "{said}{}", String::from_utf8_lossy(&force.stderr));
    assert!(said.contains("version 2"), "{said}");
    assert_eq!((&show(&stage)["version"], &show(&stage)["forced_last_day"]), (&json!(2), &json!(1)));
    let stats = stage.wechat.get("/sandbox/stats").await;
    assert_eq!(stats["token_calls"][crate::support::APPID]["stable_forced"], 1, "{stats}");
}
