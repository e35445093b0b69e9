//! `demo --once`: the whole main job, told step by step, every number read back over the API.

use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use subledger_domain::LogName;
use subledger_engine::Engine;

use super::{
    CHANNEL,
    client::Client,
    world::{self, APPID, ORDER_READY, SECRET, World},
};
use crate::output;

/// Prints the story, or collects it as JSON.
pub(super) struct Teller {
    json: bool,
    pub(super) steps: Vec<Value>,
}

impl Teller {
    pub(super) fn new(json: bool) -> Self {
        Self { json, steps: Vec::new() }
    }

    pub(super) fn step(&mut self, title: &str, lines: &[String], facts: Value) {
        if !self.json {
            println!("{}. {title}", self.steps.len() + 1);
            for line in lines {
                println!("   {line}");
            }
        }
        self.steps.push(json!({ "step": title, "facts": facts }));
    }
}

pub(super) async fn tell(
    engine: &Engine,
    world: &World,
    url: &str,
    file: &Path,
    json: bool,
) -> anyhow::Result<()> {
    let client = Client::new(url, world::api_key(engine).await?)?;
    let mut teller = Teller::new(json);
    if !json {
        println!("subledger: the main job, over HTTP, against a simulated WeChat\n");
    }
    set_up(&client, world, url, &mut teller).await?;
    people(&client, world, &mut teller).await?;
    taps(&client, world, &mut teller).await?;
    let doubt = sends(&client, world, &mut teller).await?;
    let ledger = settled_by_wechat(&client, world, &doubt, &mut teller).await?;
    let verified = prove(engine, &mut teller).await?;
    compare(world, &ledger, &mut teller)?;
    if json {
        return output::json(
            &json!({ "steps": teller.steps, "database": file.display().to_string(), "verified": verified }),
        );
    }
    println!("\nEverything above stands in {} as {} events.", file.display(), verified);
    println!("Look at them: SUBLEDGER_MASTER_KEY=$(cat {}) \\", file.with_file_name("master.key").display());
    println!(
        "  subledger audit user --database sqlite://{} --channel {CHANNEL} --userid zhangsan",
        file.display()
    );
    Ok(())
}

async fn set_up(client: &Client, world: &World, url: &str, teller: &mut Teller) -> anyhow::Result<()> {
    let channel = json!({ "code": CHANNEL, "name": "示例面包店", "appid": APPID, "secret": SECRET });
    let created = client.post("/channels", &channel).await?;
    let line = format!("Channel {CHANNEL} for Mini Program {APPID}: WeChat accepted AppID and AppSecret.");
    teller.step("Set up the channel", &[line], created);

    let refreshed = client.post(&format!("/channels/{CHANNEL}/templates/refresh"), &json!({})).await?;
    let templates = client.get(&format!("/channels/{CHANNEL}/templates")).await?;
    let lines: Vec<String> = templates["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|template| format!("{}  {}", text(template, "template_id"), text(template, "title")))
        .collect();
    ensure!(lines.len() == 2, "expected two templates, found {templates}");
    teller.step("Refresh the templates", &lines, refreshed);

    let configured = world::configure_callback(client).await?;
    world.push_to(url).await?;
    let lines = [
        format!("{url}/callbacks/wechat/{CHANNEL}, secure mode: WeChat checked the URL and its signature"),
        format!(
            "token {}, EncodingAESKey {} (fingerprints; the secrets are sealed)",
            text(&configured, "token_fingerprint"),
            text(&configured, "key_fingerprint")
        ),
    ];
    teller.step("Have WeChat push its events", &lines, configured);
    Ok(())
}

async fn people(client: &Client, world: &World, teller: &mut Teller) -> anyhow::Result<()> {
    let code = world.sandbox.create_login_code(APPID, world.openid("zhangsan")?)?;
    let path = format!("/channels/{CHANNEL}/users");
    let zhangsan = client.post(&path, &json!({ "userid": "zhangsan", "login_code": code })).await?;
    let lisi = client.post(&path, &json!({ "userid": "lisi", "openid": world.openid("lisi")? })).await?;
    let lines = [
        "zhangsan by the code of wx.login, exchanged at WeChat for the openid".to_owned(),
        "lisi by openid".to_owned(),
    ];
    teller.step("Bind two users", &lines, json!([zhangsan, lisi]));
    Ok(())
}

async fn taps(client: &Client, world: &World, teller: &mut Teller) -> anyhow::Result<()> {
    let path = format!("/channels/{CHANNEL}/client-reports");
    let mut lines = Vec::new();
    for number in 1..=3 {
        // Nobody taps twice in a second, and WeChat dates its pushes by the second: nothing else tells two of them apart.
        world.sandbox.advance(1)?;
        let result = world.tap("zhangsan", ORDER_READY)?;
        let report = json!({ "report_id": format!("tap-{number}"), "userid": "zhangsan", "result": result });
        let answer = client.post(&path, &report).await?;
        lines.push(format!("tap {number}: +1, balance {}", answer["choices"][0]["balance"]));
        if number == 3 {
            let again = client.post(&path, &report).await?;
            ensure!(again["replayed"] == json!(true), "the same report was counted twice: {again}");
            lines.push("the third report once more, as a retry: not counted again".to_owned());
        }
    }
    world.pushed().await?;
    let pushes = client.get(&format!("/channels/{CHANNEL}/pushes?kind=popup&state=acted")).await?;
    let pushes = pushes["items"].as_array().map_or(0, Vec::len);
    ensure!(pushes == 3, "WeChat pushes each tap, found {pushes}");
    lines.push("WeChat pushed the same three taps: they corroborate, and are not counted again".to_owned());
    let ledger = ledger(client).await?;
    ensure!(ledger["balance"] == json!(3), "three taps must give a balance of 3: {ledger}");
    teller.step("zhangsan taps \"allow\" three times", &lines, ledger);
    Ok(())
}

async fn sends(client: &Client, world: &World, teller: &mut Teller) -> anyhow::Result<String> {
    let mut doubt = String::new();
    let mut lines = Vec::new();
    let mut facts = Vec::new();
    for (number, dish) in (1..).zip(["牛角面包", "全麦吐司", "肉桂卷", "可颂"]) {
        if number == 3 {
            world.lose_the_next_answer()?;
        }
        let message = json!({
            "template_id": ORDER_READY,
            "recipients": [{ "userid": "zhangsan" }],
            "data": { "thing1": dish, "date2": "2026-11-23 09:30", "phrase3": "待取餐" },
            "page": format!("pages/order/show?id={number}"),
        });
        let accepted = client.post(&format!("/channels/{CHANNEL}/messages"), &message).await?;
        let msgid = text(&accepted, "msgid").to_owned();
        client.settled(CHANNEL, &msgid).await?;
        let delivery = client.get(&format!("/channels/{CHANNEL}/messages/{msgid}/deliveries/0")).await?;
        let (state, reason) = (text(&delivery, "state"), text(&delivery, "reason"));
        let expected = ["sent", "sent", "in_doubt", "skipped"][number - 1];
        ensure!(state == expected, "send {number} should be {expected}: {delivery}");
        lines.push(match state {
            "sent" => format!("send {number}: sent, WeChat's msgid {}, paid for by tap {}", text(&delivery, "wechat_msgid"), delivery["lot"]),
            "in_doubt" => {
                format!("send {number}: in doubt: no answer within the time allowed; tap {} stays set aside, nothing is re-sent", delivery["lot"])
            }
            _ => format!("send {number}: refused before WeChat: {reason}"),
        });
        if state == "in_doubt" {
            doubt = msgid;
        }
        facts.push(delivery);
    }
    teller.step("Send four messages to zhangsan", &lines, Value::Array(facts));
    let ledger = ledger(client).await?;
    let number = |key: &str| ledger[key].as_u64().unwrap_or(u64::MAX);
    let line = format!(
        "granted {} = balance {} + reserved {} + in doubt {} + consumed {} + void {}",
        number("granted"),
        number("balance"),
        number("reserved"),
        number("in_doubt"),
        number("consumed"),
        number("voided")
    );
    let sum =
        number("balance") + number("reserved") + number("in_doubt") + number("consumed") + number("voided");
    ensure!(number("granted") == 3 && sum == 3, "the ledger does not add up: {ledger}");
    teller.step("The ledger adds up", &[line], ledger);
    Ok(doubt)
}

/// WeChat's event about the send whose answer was lost.
async fn settled_by_wechat(
    client: &Client,
    world: &World,
    doubt: &str,
    teller: &mut Teller,
) -> anyhow::Result<Value> {
    world.pushed().await?;
    let delivery = client.get(&format!("/channels/{CHANNEL}/messages/{doubt}/deliveries/0")).await?;
    ensure!(text(&delivery, "state") == "sent", "WeChat's event must end the doubt: {delivery}");
    let ledger = ledger(client).await?;
    let lines = [
        format!(
            "subscribe_msg_sent_event comes late and says success: send 3 is sent, paid for by tap {}",
            delivery["lot"]
        ),
        format!("granted {} = consumed {}; nothing is in doubt", ledger["granted"], ledger["consumed"]),
    ];
    teller.step("WeChat's own event ends the doubt", &lines, delivery);
    Ok(ledger)
}

pub(super) async fn ledger(client: &Client) -> anyhow::Result<Value> {
    let ledgers = client.get(&format!("/channels/{CHANNEL}/users/zhangsan/ledgers")).await?;
    let of_template = |ledger: &&Value| text(ledger, "template_id") == ORDER_READY;
    let found = ledgers["items"].as_array().and_then(|items| items.iter().find(of_template));
    found.cloned().with_context(|| format!("no ledger of {ORDER_READY}: {ledgers}"))
}

/// Rebuilds every read model from the events and compares; how many events there are.
pub(super) async fn prove(engine: &Engine, teller: &mut Teller) -> anyhow::Result<u64> {
    let events: u64 = engine.store().heads().await?.iter().map(|head| head.position.0).sum();
    subledger_projection::rebuild(engine.store(), None, |_| {}).await?;
    let verified = subledger_projection::verify(engine.store(), None, |_| {}).await?;
    let mut lines = vec![format!("{} events in the logs main and {CHANNEL}", events)];
    for one in &verified {
        ensure!(one.equal, "projection {} of log {} differs from its rebuild", one.projection, one.log);
        let name = format!("{}/{}", one.log, one.projection);
        lines.push(format!(
            "{name:<24} {:>2} rows  {}…  equal",
            one.rows,
            one.live_digest.chars().take(16).collect::<String>()
        ));
    }
    let head = engine.store().head(&LogName::new(CHANNEL)).await?;
    let facts = json!({ "events": events, "projections": verified.len(), "position": head.position });
    teller.step("Rebuild every read model from the events and compare", &lines, facts);
    Ok(events)
}

fn compare(world: &World, ledger: &Value, teller: &mut Teller) -> anyhow::Result<()> {
    let committed = world.sandbox.journal().iter().filter(|entry| entry.committed).count() as u64;
    let remaining = world.sandbox.remaining(APPID, world.openid("zhangsan")?, ORDER_READY)?;
    let number = |key: &str| ledger[key].as_u64().unwrap_or(u64::MAX);
    ensure!(
        committed == number("consumed") && remaining == number("balance"),
        "WeChat accepted {committed}, the ledger says {ledger}"
    );
    let lines = [
        format!(
            "WeChat's journal: {committed} accepted, {remaining} left; ours: {} consumed, {} left",
            number("consumed"),
            number("balance")
        ),
        "The one in doubt was accepted. While we could not know, we did not guess and did not send twice."
            .to_owned(),
    ];
    teller.step(
        "Compare with what WeChat really accepted",
        &lines,
        json!({ "accepted_by_wechat": committed, "remaining_at_wechat": remaining }),
    );
    Ok(())
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
