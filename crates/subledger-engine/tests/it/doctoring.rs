//! The doctor: each check made to pass, and to warn or fail; from inside and from outside.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Json, Router, routing::post};
use serde_json::{Value, json};
use subledger_domain::channel::Policy;
use subledger_engine::{
    Engine, EngineSettings,
    callback::{CallbackRequest, SecretChange},
    doctor::{
        Check, Finding, Health, Report,
        outside::{Known, Place as Outside, examine},
    },
    quota::QuotaSettings,
};
use subledger_projection::DeliveryState;
use subledger_store::{Clock, MasterKey, SystemClock};
use subledger_wechat::WeChatConfig;

use crate::{
    place::{Place, on_both_databases},
    quotas::{Told, by_day},
    receiver::Receiver,
    world::{APPID, TEMPLATE, World, send_request, to_user},
};

on_both_databases!(
    a_sound_deployment_is_well,
    sending_that_stands_still_is_told,
    a_token_that_wechat_refuses_is_told_with_the_cure,
    the_address_to_put_on_the_allow_list_is_named,
    templates_that_are_old_or_gone_are_told,
    a_quota_that_runs_short_is_told,
    pushes_that_do_not_come_are_told,
    a_relay_that_fails_is_told,
    doubts_that_nobody_settles_are_told,
    read_models_that_stand_still_are_told,
    from_outside_each_step_is_told,
    wechat_is_called_once_in_a_while,
);

const DAY: i64 = 86_400;

fn of(report: &Report, check: Check) -> Finding {
    let found: Vec<&Finding> = report
        .findings
        .iter()
        .filter(|finding| finding.check == check)
        .filter(|finding| finding.channel.as_ref().is_none_or(|log| log.as_str() != "main"))
        .collect();
    assert_eq!(found.len(), 1, "{check:?} in {report:#?}");
    found[0].clone()
}

async fn look(world: &World, check: Check) -> Finding {
    // What was just written is to be seen; where read models stand still, this gives up soon.
    world.engine.caught_up(&subledger_domain::LogName::channel(&world.code), None).await;
    of(&world.engine.doctor_channel(&world.code).await.unwrap(), check)
}

#[track_caller]
fn stands(finding: &Finding, health: Health, word: &str) {
    assert_eq!(finding.health, health, "{finding:#?}");
    let said = format!("{} {}", finding.found.en, finding.advice.as_ref().map_or("", |advice| &advice.en));
    assert!(said.contains(word), "{word} in {finding:#?}");
    // Both languages are there, and whoever is told of trouble is told what to do.
    assert!(!finding.found.zh.is_ascii() || finding.check == Check::MasterKey, "{finding:#?}");
    let wants_advice = matches!(health, Health::Warn | Health::Fail);
    assert_eq!(finding.advice.is_some(), wants_advice, "{finding:#?}");
    assert!(finding.advice.as_ref().is_none_or(|advice| !advice.zh.is_ascii()), "{finding:#?}");
}

async fn told(place: &Place, told: &Told) -> World {
    by_day(World::behind(place, Policy::default(), |_| {}, told.router()).await)
}

async fn a_sound_deployment_is_well(place: Place) {
    let world = told(&place, &Told::of(1_000, 900)).await;
    world.engine.refresh_quota(&world.code).await.unwrap();
    assert!(world.engine.caught_up(&world.log(), None).await);
    let before = world.events().await;
    let report = world.engine.doctor(None).await.unwrap();
    for (check, word) in [
        (Check::Database, "answers in"),
        (Check::Migrations, "schema version"),
        (Check::MasterKey, "opens"),
        (Check::Clock, "WeChat"),
        (Check::Egress, "connects in"),
        (Check::ReadModels, "follow"),
        (Check::Sending, "0 deliveries wait"),
        (Check::Templates, "2 listed"),
        (Check::Quota, "900 of 1000 left"),
        (Check::Doubts, "0 in doubt"),
    ] {
        stands(&of(&report, check), Health::Ok, word);
    }
    for check in [Check::Token, Check::Address] {
        stands(&of(&report, check), Health::Skipped, "one channel is asked for");
    }
    stands(&of(&report, Check::Relay), Health::Skipped, "not configured");
    let report = world.engine.doctor_channel(&world.code).await.unwrap();
    stands(&of(&report, Check::Token), Health::Ok, "mode stable");
    stands(&of(&report, Check::Address), Health::Ok, "allows it");
    assert_eq!(world.events().await, before, "nothing was recorded");
    // Each check has its place in the order, a name of its own and a section in the manual.
    let manual = include_str!("../../../../docs/doctor.md");
    for check in Check::ALL {
        assert!(manual.contains(&format!("\n### {}\n", check.as_str())), "{check:?}");
    }
    let only = world.engine.doctor(Some(&[])).await.unwrap();
    assert!(
        only.findings.iter().all(|finding| finding.check != Check::Token),
        "a key sees its channels only"
    );
}

async fn sending_that_stands_still_is_told(place: Place) {
    let world = World::on(&place).await;
    let openid = world.user("lisi").await;
    world.tap("lisi", &openid, "tap").await;
    world.send(vec![to_user("lisi")]).await.unwrap();
    stands(&look(&world, Check::Sending).await, Health::Ok, "1 deliveries wait");
    world.clock.pass_seconds(400);
    stands(&look(&world, Check::Sending).await, Health::Fail, "is a node running");
    world.engine.pause_channel(&world.caller, &world.code, "maintenance".into()).await.unwrap();
    stands(&look(&world, Check::Sending).await, Health::Warn, "paused");
}

async fn a_token_that_wechat_refuses_is_told_with_the_cure(place: Place) {
    let quota = Told::of(1_000, 900);
    let world = told(&place, &quota).await;
    // Two tokens in a row.
    quota.refuses(40001);
    stands(&look(&world, Check::Token).await, Health::Fail, "two tokens in a row");
    world.clock.pass_seconds(60);
    quota.refuses(45009);
    stands(&look(&world, Check::Token).await, Health::Warn, "45009");
    world.clock.pass_seconds(60);
    quota.refuses(48001);
    stands(&look(&world, Check::Token).await, Health::Fail, "not authorized for this API");
}

async fn the_address_to_put_on_the_allow_list_is_named(place: Place) {
    let shut = Arc::new(AtomicBool::new(false));
    let answer = {
        let shut = Arc::clone(&shut);
        move |Json(_): Json<Value>| {
            let shut = shut.load(Ordering::SeqCst);
            async move {
                Json(if shut {
                    json!({"errcode":40164,"errmsg":"invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: 1-2-3"})
                } else {
                    json!({"access_token":"T","expires_in":7200})
                })
            }
        }
    };
    let front = Router::new().route("/cgi-bin/stable_token", post(answer)).merge(Told::of(10, 5).router());
    let front = front.route(
        "/wxaapi/newtmpl/gettemplate",
        axum::routing::get(async || Json(json!({"errcode": 0, "data": []}))),
    );
    let world = World::behind(&place, Policy::default(), |_| {}, front).await;
    stands(&look(&world, Check::Templates).await, Health::Fail, "choose templates");
    shut.store(true, Ordering::SeqCst);
    // From outside a token is fetched anew where the service's own is not to be used.
    place.execute("delete from token").await;
    let (report, _) = outside(&world, Ok(MasterKey::from_bytes([7; 32]))).await;
    stands(&of(&report, Check::Address), Health::Fail, "put 203.0.113.9 on the IP allow-list");
    stands(&of(&report, Check::Token), Health::Fail, "40164");
}

async fn templates_that_are_old_or_gone_are_told(place: Place) {
    let world = World::on(&place).await;
    stands(&look(&world, Check::Templates).await, Health::Ok, "2 listed");
    world.wechat.delete_template(APPID, TEMPLATE).unwrap();
    world.clock.pass_seconds(60);
    world.engine.refresh_templates(&world.caller, &world.code).await.unwrap();
    stands(&look(&world, Check::Templates).await, Health::Warn, "1 vanished");
    world.clock.pass_seconds(8 * DAY);
    stands(&look(&world, Check::Templates).await, Health::Warn, "channel refresh");
    let second = world.second_channel().await;
    assert!(world.engine.caught_up(&subledger_domain::LogName::channel(&second), None).await);
    let report = world.engine.doctor_channel(&second).await.unwrap();
    stands(&of(&report, Check::Templates), Health::Fail, "never read");
}

async fn a_quota_that_runs_short_is_told(place: Place) {
    let quota = Told::of(1_000, 1_000);
    let world = told(&place, &quota).await;
    stands(&look(&world, Check::Quota).await, Health::Skipped, "not been asked");
    quota.says(1_000, 0);
    world.engine.refresh_quota(&world.code).await.unwrap();
    stands(&look(&world, Check::Quota).await, Health::Fail, "0 of 1000 left");
    // WeChat stops telling: what it said last still counts.
    world.clock.pass_seconds(60);
    quota.refuses(76021);
    world.engine.refresh_quota(&world.code).await.unwrap_err();
    stands(&look(&world, Check::Quota).await, Health::Fail, "0 of 1000 left");
    let second = world.second_channel().await;
    world.engine.refresh_quota(&second).await.unwrap_err();
    let report = world.engine.doctor_channel(&second).await.unwrap();
    stands(&of(&report, Check::Quota), Health::Warn, "76021");
}

async fn pushes_that_do_not_come_are_told(place: Place) {
    let world = World::on(&place).await;
    stands(&look(&world, Check::Pushes).await, Health::Warn, "no push URL");
    let request = CallbackRequest {
        mode: Default::default(),
        format: Default::default(),
        token: SecretChange::Generate,
        key: SecretChange::Generate,
        original_id: None,
    };
    world.engine.configure_callback(&world.caller, &world.code, request).await.unwrap();
    let openid = world.user("lisi").await;
    world.tap("lisi", &openid, "tap").await;
    world.engine.start_dispatch().await;
    let answer = world.send(vec![to_user("lisi")]).await.unwrap();
    assert_eq!(world.ended(answer.msgid, 0).await.state, DeliveryState::Sent);
    stands(&look(&world, Check::Pushes).await, Health::Fail, "subscribe_msg_sent_event");
}

async fn a_relay_that_fails_is_told(place: Place) {
    let receiver = Receiver::start().await;
    let world = World::with(&place, Policy::default(), crate::relaying::settings).await;
    let wish = crate::relaying::wish(&receiver.url());
    world.engine.configure_relay(&world.caller, &world.code, wish).await.unwrap();
    stands(&look(&world, Check::Relay).await, Health::Ok, "0 wait");
    // Nothing relays it: no relay was started on this node.
    let openid = world.user("lisi").await;
    crate::relaying::tap(&world, &openid, 1).await;
    stands(&look(&world, Check::Relay).await, Health::Ok, "1 wait");
    world.clock.pass_seconds(700);
    stands(&look(&world, Check::Relay).await, Health::Fail, "relay test");
}

async fn doubts_that_nobody_settles_are_told(place: Place) {
    let world = World::on(&place).await;
    let openid = world.user("lisi").await;
    world.tap("lisi", &openid, "tap").await;
    world.never_answer();
    world.engine.start_dispatch().await;
    let mut request = send_request(vec![to_user("lisi")]);
    request.expires_at = Some(world.engine.now().plus_seconds(20 * DAY));
    let sent = world.engine.send(&world.caller, &world.code, request).await.unwrap().answer;
    assert_eq!(world.ended(sent.msgid, 0).await.state, DeliveryState::InDoubt);
    stands(&look(&world, Check::Doubts).await, Health::Ok, "1 in doubt");
    world.engine.shutdown().await;
    // A node that looks and does not sweep.
    let other = world.another_node(|_| {}).await;
    let doubts = async || of(&other.doctor_channel(&world.code).await.unwrap(), Check::Doubts);
    world.clock.pass_seconds(DAY + 60);
    stands(&doubts().await, Health::Warn, "more than a day");
    world.clock.pass_seconds(3 * DAY);
    stands(&doubts().await, Health::Fail, "beyond the deadline");
    other.shutdown().await;
}

async fn read_models_that_stand_still_are_told(place: Place) {
    let world = World::on(&place).await;
    assert!(world.engine.caught_up(&world.log(), None).await);
    world.engine.shutdown().await;
    let (report, _) = outside(&world, Ok(MasterKey::from_bytes([7; 32]))).await;
    stands(&of(&report, Check::ReadModels), Health::Ok, "follow");
    place.views("update projection set position = position - 1 where name = 'channels'").await;
    let recorded = async |seconds_ago: i64| {
        let at = SystemClock.now().plus_seconds(-seconds_ago).micros();
        place.execute(&format!("update event set recorded_at = {at}")).await;
        let (report, _) = outside(&world, Ok(MasterKey::from_bytes([7; 32]))).await;
        of(&report, Check::ReadModels)
    };
    stands(&recorded(0).await, Health::Ok, "follow");
    stands(&recorded(120).await, Health::Warn, "behind");
    stands(&recorded(1_200).await, Health::Fail, "is the service running");
}

/// What an outsider finds who has this key.
async fn outside(world: &World, key: Result<MasterKey, String>) -> (Report, Known) {
    outside_of(&world.place.url, &world.wechat_url, key, None).await
}

async fn outside_of(
    url: &str,
    wechat: &str,
    key: Result<MasterKey, String>,
    channel: Option<&str>,
) -> (Report, Known) {
    let place = Outside {
        url: url.to_owned(),
        key,
        wechat: WeChatConfig { base_url: wechat.to_owned(), ..WeChatConfig::default() },
        settings: EngineSettings { quota: QuotaSettings::default(), ..EngineSettings::default() },
    };
    let channel = channel.map(|code| code.parse().unwrap());
    examine(place, channel.as_ref()).await
}

async fn from_outside_each_step_is_told(place: Place) {
    // Nothing there yet: no file, or no tables.
    let nowhere = "http://127.0.0.1:9";
    let key = || Ok(MasterKey::from_bytes([7; 32]));
    let (report, _) = outside_of(&place.url, nowhere, key(), None).await;
    if place.url.starts_with("sqlite") {
        stands(&of(&report, Check::Database), Health::Fail, "no database file");
        stands(&of(&report, Check::Migrations), Health::Skipped, "the step before");
        assert!(
            !std::path::Path::new(place.url.strip_prefix("sqlite://").unwrap()).exists(),
            "none was made"
        );
    } else {
        stands(&of(&report, Check::Database), Health::Ok, "PostgreSQL");
        stands(&of(&report, Check::Migrations), Health::Fail, "no subledger");
    }
    stands(&of(&report, Check::Egress), Health::Fail, "no connection");
    stands(&of(&report, Check::Clock), Health::Skipped, "not compared");
    let (report, _) = outside_of("postgres://nobody@127.0.0.1:9/none", nowhere, key(), None).await;
    stands(&of(&report, Check::Database), Health::Fail, "start the database");
    stands(&of(&report, Check::MasterKey), Health::Skipped, "not tried");

    let world = World::on(&place).await;
    let before = world.events().await;
    // Beside the running service.
    let (report, known) = outside(&world, key()).await;
    assert_eq!(known, Known::Yes);
    stands(&of(&report, Check::Database), Health::Ok, "commits to disk in");
    stands(&of(&report, Check::MasterKey), Health::Ok, "opens");
    stands(&of(&report, Check::Egress), Health::Ok, "answers in");
    stands(&of(&report, Check::Token), Health::Ok, "WeChat accepts");
    stands(&of(&report, Check::Templates), Health::Ok, "2 listed");
    let (report, _) = outside(&world, Ok(MasterKey::from_bytes([8; 32]))).await;
    stands(&of(&report, Check::MasterKey), Health::Fail, "SUBLEDGER_MASTER_KEY");
    stands(&of(&report, Check::Migrations), Health::Ok, "schema version");
    let (report, _) = outside(&world, Err("it is not set".to_owned())).await;
    stands(&of(&report, Check::MasterKey), Health::Fail, "it is not set");
    let (_, known) = outside_of(&place.url, &world.wechat_url, key(), Some("nosuch")).await;
    assert_eq!(known, Known::No);
    place.execute("update _sqlx_migrations set success = false where version = 23").await;
    let (report, _) = outside(&world, key()).await;
    stands(&of(&report, Check::Migrations), Health::Fail, "ended badly: 23");
    place.execute("delete from _sqlx_migrations where version = 23").await;
    let (report, _) = outside(&world, key()).await;
    stands(&of(&report, Check::Migrations), Health::Fail, "missing: 23");
    stands(&of(&report, Check::Sending), Health::Skipped, "in the database");
    assert_eq!(world.events().await, before, "nothing was recorded");
}

async fn wechat_is_called_once_in_a_while(place: Place) {
    let quota = Told::of(1_000, 900);
    let world = told(&place, &quota).await;
    let engine: &Engine = &world.engine;
    for _ in 0..3 {
        engine.doctor_channel(&world.code).await.unwrap();
        engine.doctor(None).await.unwrap();
    }
    // One question with the token, and one that must be refused and tells of the address.
    assert_eq!(quota.asked(), 2);
    world.clock.pass_seconds(31);
    engine.doctor_channel(&world.code).await.unwrap();
    assert_eq!(quota.asked(), 4);
}
