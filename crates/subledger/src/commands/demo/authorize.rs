//! `demo --authorize --once`: a Mini Program is connected by scanning a QR code, from the platform's first ticket to a
//! customer who takes everything back and gives it again. Every number is read back over the API.

use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use subledger_engine::Engine;
use subledger_sandbox::{AuthorizeSpec, PlatformSettings, PlatformSpec};

use super::{
    CHANNEL,
    client::Client,
    story::{Teller, ledger, prove, text},
    world::{self, APPID, ORDER_READY, World},
};
use crate::output;

/// The third-party platform in the simulated WeChat: what stands in its console and in the service.
const COMPONENT: &str = "wx00000000comp0001";
const SECRET: &str = "demo-platform-secret-0001";
const TOKEN: &str = "demoPlatformToken01";
const KEY: &str = "UGxhdGZvcm1EZW1vS2V5Rm9yTG9jYWxTYW5kYm94MDE";
/// The permission set that sending needs, and another that alone is good for nothing here.
const DEVELOPMENT: u32 = 18;
const ACCOUNT: u32 = 17;

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
        println!("subledger: a Mini Program authorizes a third-party platform, against a simulated WeChat\n");
    }
    platform(&client, url, &mut teller).await?;
    ticket(&client, world, url, &mut teller).await?;
    let begun = link(&client, &mut teller).await?;
    incomplete(&client, world, &begun, &mut teller).await?;
    let begun = begin(&client).await?;
    complete(&client, world, &begun, &mut teller).await?;
    templates_and_people(&client, world, &mut teller).await?;
    taps(&client, world, &mut teller).await?;
    sends(&client, world, &mut teller).await?;
    let held = withdrawn(&client, world, &mut teller).await?;
    given_again(&client, world, &held, &mut teller).await?;
    let events = prove(engine, &mut teller).await?;
    if json {
        return output::json(
            &json!({ "steps": teller.steps, "database": file.display().to_string(), "verified": events }),
        );
    }
    println!(
        "\nEverything above stands in {} as {events} events, and none of them holds a secret.",
        file.display()
    );
    println!("How to do the same with WeChat: docs/connect-a-mini-program.md");
    Ok(())
}

async fn platform(client: &Client, url: &str, teller: &mut Teller) -> anyhow::Result<()> {
    let settings = json!({
        "name": "示例平台", "public_url": url, "secret": SECRET, "token": TOKEN, "encoding_aes_key": KEY,
    });
    let set = client.put(&format!("/platforms/{COMPONENT}"), &settings).await?;
    let lines = [
        format!("platform {COMPONENT}; AppSecret, Token and EncodingAESKey are sealed and never shown again"),
        format!("for WeChat's console: {}", text(&set, "authorization_url")),
        format!("                      {}", text(&set, "message_url")),
    ];
    teller.step("Set the third-party platform up", &lines, set);
    Ok(())
}

/// WeChat's side of it: the platform is registered there, and its first ticket is pushed at once.
async fn ticket(client: &Client, world: &World, url: &str, teller: &mut Teller) -> anyhow::Result<()> {
    let mut spec = PlatformSpec::new(COMPONENT, SECRET);
    spec.settings = PlatformSettings {
        authorization_url: format!("{url}/callbacks/wechat-open/{COMPONENT}"),
        message_url: format!("{url}/callbacks/wechat-open/{COMPONENT}/$APPID$"),
        token: TOKEN.to_owned(),
        encoding_aes_key: KEY.to_owned(),
        ..PlatformSettings::default()
    };
    world.sandbox.create_platform(spec)?;
    world.pushed().await?;
    let shown = client.get(&format!("/platforms/{COMPONENT}")).await?;
    let received = shown["ticket"]["received_at"].as_str();
    let received = received.with_context(|| format!("WeChat's ticket must have come: {shown}"))?;
    let lines = [
        format!(
            "component_verify_ticket came at {received}, encrypted, signed, and with the platform's AppID at its end"
        ),
        "WeChat pushes one every ten minutes; with it the platform gets its own token".to_owned(),
    ];
    teller.step("WeChat's ticket arrives", &lines, shown);
    Ok(())
}

async fn begin(client: &Client) -> anyhow::Result<Value> {
    let path = format!("/channels/{CHANNEL}/authorization");
    client.post(&path, &json!({ "component_appid": COMPONENT })).await
}

async fn link(client: &Client, teller: &mut Teller) -> anyhow::Result<Value> {
    let begun = begin(client).await?;
    let shown = |link: &str| link.split('?').next().unwrap_or_default().to_owned();
    let lines = [
        format!("for computers: {}?…", shown(text(&begun, "pc_url"))),
        format!("for phones, as a link or a QR code: {}?…", shown(text(&begun, "h5_url"))),
        format!("good until {}, for one authorization", text(&begun, "expires_at")),
    ];
    teller.step(
        &format!("Begin an authorization for channel {CHANNEL}, which is not set up yet"),
        &lines,
        begun.clone(),
    );
    Ok(begun)
}

/// The administrator scans, ticks these sets, and the browser comes back.
async fn scan(client: &Client, world: &World, begun: &Value, sets: &[u32]) -> anyhow::Result<Value> {
    let scanned = world.sandbox.authorize(
        COMPONENT,
        &AuthorizeSpec {
            appid: APPID.to_owned(),
            link: Some(text(begun, "pc_url").to_owned()),
            permission_sets: Some(sets.iter().copied().collect()),
            ..AuthorizeSpec::default()
        },
    )?;
    let redirect = scanned.redirect.context("WeChat's page must lead back")?;
    client.visit(&redirect).await?;
    world.pushed().await?;
    let path = format!("/channels/{CHANNEL}/authorization/{}", text(begun, "id"));
    client.until(&path, |now| now["status"] != "waiting").await
}

async fn incomplete(
    client: &Client,
    world: &World,
    begun: &Value,
    teller: &mut Teller,
) -> anyhow::Result<()> {
    let ended = scan(client, world, begun, &[ACCOUNT]).await?;
    ensure!(
        ended["status"] == "authorized" && ended["missing"] == json!([DEVELOPMENT]),
        "set 18 must be missed: {ended}"
    );
    let lines = [
        "authorized, and permission set 18 (开发管理与数据分析) is missing: sending, templates and login are in it".to_owned(),
        "the channel is set up and holds its sends; nothing fails".to_owned(),
        "the set is exclusive: while the platform holds it no other one can, and the customer cannot publish in WeChat's console".to_owned(),
    ];
    teller.step("The administrator scans, and does not tick set 18", &lines, ended);
    Ok(())
}

async fn complete(client: &Client, world: &World, begun: &Value, teller: &mut Teller) -> anyhow::Result<()> {
    let ended = scan(client, world, begun, &[ACCOUNT, DEVELOPMENT]).await?;
    ensure!(
        ended["status"] == "authorized" && ended["missing"].as_array().is_none_or(Vec::is_empty),
        "set 18 was given: {ended}"
    );
    let channel = client.get(&format!("/channels/{CHANNEL}")).await?;
    let lines = [
        "WeChat tells it twice, by the browser and by a push, each with a code of its own: taken in once"
            .to_owned(),
        format!(
            "{APPID} is a Mini Program, its original id is {}",
            text(&channel["authorization"], "original_id")
        ),
        "its calls go through the platform from now on; nobody handed over an AppSecret".to_owned(),
    ];
    teller.step("A new link, scanned again, with set 18", &lines, ended);
    Ok(())
}

async fn templates_and_people(client: &Client, world: &World, teller: &mut Teller) -> anyhow::Result<()> {
    let refreshed = client.post(&format!("/channels/{CHANNEL}/templates/refresh"), &json!({})).await?;
    let code = world.sandbox.create_login_code(APPID, world.openid("zhangsan")?)?;
    let user = json!({ "userid": "zhangsan", "login_code": code });
    let bound = client.post(&format!("/channels/{CHANNEL}/users"), &user).await?;
    let lines = [
        format!("{} templates, read with the platform's token for the account", refreshed["listed"]),
        "zhangsan by the code of wx.login, exchanged through the platform".to_owned(),
    ];
    teller.step("Refresh the templates and bind a user", &lines, json!([refreshed, bound]));
    Ok(())
}

async fn taps(client: &Client, world: &World, teller: &mut Teller) -> anyhow::Result<()> {
    for _ in 0..2 {
        // WeChat dates its pushes by the second: nothing else tells two taps apart.
        world.sandbox.advance(1)?;
        world.tap("zhangsan", ORDER_READY)?;
    }
    world.pushed().await?;
    let ledger = ledger(client).await?;
    ensure!(ledger["balance"] == json!(2), "two pushed taps must give a balance of 2: {ledger}");
    let lines = [
        format!("WeChat pushed both to /callbacks/wechat-open/{COMPONENT}/{APPID}; nobody reported them"),
        format!("balance {}", ledger["balance"]),
    ];
    teller.step("zhangsan taps \"allow\" twice", &lines, ledger);
    Ok(())
}

async fn post_message(client: &Client, dish: &str) -> anyhow::Result<String> {
    let message = json!({
        "template_id": ORDER_READY,
        "recipients": [{ "userid": "zhangsan" }],
        "data": { "thing1": dish, "date2": "2026-11-23 09:30", "phrase3": "待取餐" },
    });
    let accepted = client.post(&format!("/channels/{CHANNEL}/messages"), &message).await?;
    Ok(text(&accepted, "msgid").to_owned())
}

async fn delivery(client: &Client, msgid: &str) -> anyhow::Result<Value> {
    client.get(&format!("/channels/{CHANNEL}/messages/{msgid}/deliveries/0")).await
}

async fn sends(client: &Client, world: &World, teller: &mut Teller) -> anyhow::Result<()> {
    let msgid = post_message(client, "牛角面包").await?;
    client.settled(CHANNEL, &msgid).await?;
    world.pushed().await?;
    let delivery = delivery(client, &msgid).await?;
    ensure!(text(&delivery, "state") == "sent", "the send must be sent: {delivery}");
    let line = format!(
        "sent, WeChat's msgid {}, paid for by tap {}",
        text(&delivery, "wechat_msgid"),
        delivery["lot"]
    );
    teller.step("Send a message", &[line], delivery);
    Ok(())
}

/// The merchant takes the authorization back; what is sent then, waits.
async fn withdrawn(client: &Client, world: &World, teller: &mut Teller) -> anyhow::Result<String> {
    world.sandbox.deauthorize(COMPONENT, APPID)?;
    world.pushed().await?;
    let channel = format!("/channels/{CHANNEL}");
    let shown = client.until(&channel, |channel| channel["hold"]["reason"] == "unauthorized").await?;
    let msgid = post_message(client, "全麦吐司").await?;
    let delivery = delivery(client, &msgid).await?;
    ensure!(text(&delivery, "state") == "queued", "a send must wait while nothing is authorized: {delivery}");
    let lines = [
        "WeChat pushed unauthorized; it stands in the books with its time".to_owned(),
        "the next message is accepted, a grant is set aside for it, and it waits: nothing was handed to WeChat".to_owned(),
    ];
    teller.step(
        "The customer takes the authorization back; a message is sent",
        &lines,
        json!([shown, delivery]),
    );
    Ok(msgid)
}

async fn given_again(client: &Client, world: &World, held: &str, teller: &mut Teller) -> anyhow::Result<()> {
    let before = refresh_token(world)?;
    let begun = begin(client).await?;
    let ended = scan(client, world, &begun, &[ACCOUNT, DEVELOPMENT]).await?;
    ensure!(refresh_token(world)? != before, "an authorization given again must bring another refresh token");
    client.settled(CHANNEL, held).await?;
    world.pushed().await?;
    let delivery = delivery(client, held).await?;
    ensure!(text(&delivery, "state") == "sent", "what waited must be sent: {delivery}");
    let committed = world.sandbox.journal().iter().filter(|entry| entry.committed).count();
    let remaining = world.sandbox.remaining(APPID, world.openid("zhangsan")?, ORDER_READY)?;
    ensure!((committed, remaining) == (2, 0), "WeChat accepted {committed} and has {remaining} left");
    let lines = [
        "the refresh token of before is dead; the new one is in use".to_owned(),
        format!(
            "what waited is sent, WeChat's msgid {}, paid for by tap {}",
            text(&delivery, "wechat_msgid"),
            delivery["lot"]
        ),
        format!("WeChat's journal: {committed} accepted, {remaining} left; so say the books"),
    ];
    teller.step("The customer authorizes again", &lines, json!([ended, delivery]));
    Ok(())
}

/// The refresh token that works at WeChat: to be compared, never to be shown.
fn refresh_token(world: &World) -> anyhow::Result<Option<String>> {
    let authorizers = world.sandbox.platform(COMPONENT)?.authorizers;
    Ok(authorizers
        .into_iter()
        .find(|authorizer| authorizer.appid == APPID)
        .map(|authorizer| authorizer.refresh_token))
}
