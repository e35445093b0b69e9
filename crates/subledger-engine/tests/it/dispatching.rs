//! Handing over: answers, lost answers, retries, one call per openid, clean stop.

use std::time::Duration;

use subledger_domain::DeliveryId;
use subledger_engine::doubts::ManualVerdict;
use subledger_projection::DeliveryState;
use subledger_sandbox::{CallPath, FaultKind, FaultSpec};

use crate::world::{APPID, TEMPLATE, World, to_user};

#[tokio::test(flavor = "multi_thread")]
async fn a_sent_delivery_names_the_lot_that_paid_for_it() {
    let world = World::new().await;
    let openid = world.user("zhangsan").await;
    world.tap("zhangsan", &openid, "tap-1").await;
    world.tap("zhangsan", &openid, "tap-2").await;
    world.engine.start_dispatch().await;
    let sent = world.send(vec![to_user("zhangsan")]).await.unwrap();
    let row = world.ended(sent.msgid, 0).await;
    assert_eq!((row.state, row.lot), (DeliveryState::Sent, Some(1)));
    // WeChat's msgid lies above 2^53 and must come through digit by digit.
    assert_eq!(row.wechat_msgid, world.wechat.journal()[0].msgid.map(|msgid| msgid.to_string()));
    assert_eq!(
        world.ledger(&openid).await.balance(),
        world.wechat.remaining(APPID, &openid, TEMPLATE).unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_a_doubt_whether_or_not_wechat_accepted() {
    for (kind, accepted) in [
        (FaultKind::DropAfterCommit, 1),
        (FaultKind::DropBeforeCommit, 0),
        (FaultKind::HangAfterCommit, 1),
        (FaultKind::Reset, 0),
        (FaultKind::Garbage, 0),
    ] {
        let world = World::new().await;
        let openid = world.user("lisi").await;
        world.tap("lisi", &openid, "tap-1").await;
        world.wechat.inject(FaultSpec::on(kind, CallPath::Send)).unwrap();
        world.engine.start_dispatch().await;
        let sent = world.send(vec![to_user("lisi")]).await.unwrap();
        let row = world.ended(sent.msgid, 0).await;
        assert_eq!((row.state, row.attempts), (DeliveryState::InDoubt, 1), "{kind:?}");
        assert_eq!(world.accepted_by_wechat(), accepted, "{kind:?}");
        let totals = world.ledger(&openid).await.totals();
        assert_eq!((totals.open, totals.in_doubt, totals.consumed), (0, 1, 0), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubt_settled_as_not_sent_gives_the_grant_back() {
    let world = World::new().await;
    let openid = world.user("lisi").await;
    world.tap("lisi", &openid, "tap-1").await;
    world.wechat.inject(FaultSpec::on(FaultKind::DropBeforeCommit, CallPath::Send)).unwrap();
    world.engine.start_dispatch().await;
    let first = world.send(vec![to_user("lisi")]).await.unwrap();
    world.ended(first.msgid, 0).await;
    let delivery = DeliveryId::new(first.msgid, 0);
    let reason = "the user's phone shows nothing".to_owned();
    world
        .engine
        .resolve_doubt(&world.caller, &world.code, delivery, ManualVerdict::NotSent, reason, None)
        .await
        .unwrap();
    assert_eq!(world.delivery(first.msgid, 0).await.state, DeliveryState::NotSent);
    let second = world.send(vec![to_user("lisi")]).await.unwrap();
    assert_eq!(world.ended(second.msgid, 0).await.state, DeliveryState::Sent);
    assert_eq!(world.accepted_by_wechat(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_and_token_answers_are_tried_again_and_spend_one_grant() {
    for (fault, calls) in [
        (FaultSpec { code: Some(-1), ..FaultSpec::on(FaultKind::Errcode, CallPath::Send) }, 2),
        (FaultSpec { code: Some(43108), ..FaultSpec::on(FaultKind::Errcode, CallPath::Send) }, 2),
        (FaultSpec::on(FaultKind::RevokeToken, CallPath::Send), 2),
    ] {
        let world = World::new().await;
        let openid = world.user("wangwu").await;
        world.tap("wangwu", &openid, "tap-1").await;
        let kind = fault.kind;
        world.wechat.inject(fault).unwrap();
        world.engine.start_dispatch().await;
        let sent = world.send(vec![to_user("wangwu")]).await.unwrap();
        assert_eq!(world.ended(sent.msgid, 0).await.state, DeliveryState::Sent, "{kind:?}");
        assert_eq!((world.wechat.journal().len(), world.accepted_by_wechat()), (calls, 1), "{kind:?}");
        assert_eq!(world.ledger(&openid).await.totals().consumed, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definite_refusal_gives_the_grant_back_and_43101_does_not() {
    let world = World::new().await;
    let openid = world.user("zhaoliu").await;
    world.tap("zhaoliu", &openid, "tap-1").await;
    world.wechat.change_app(APPID, |app| app.sensitive_words.push("牛角".to_owned())).unwrap();
    world.engine.start_dispatch().await;
    let refused = world.send(vec![to_user("zhaoliu")]).await.unwrap();
    let row = world.ended(refused.msgid, 0).await;
    assert_eq!((row.state, row.code), (DeliveryState::Refused, Some(45168)));
    assert_eq!(world.ledger(&openid).await.balance(), 1);

    // WeChat forgets the count: our balance was wrong, and the books say so.
    world.wechat.change_app(APPID, |app| app.sensitive_words.clear()).unwrap();
    let fault = FaultSpec { code: Some(43101), ..FaultSpec::on(FaultKind::Errcode, CallPath::Send) };
    world.wechat.inject(fault).unwrap();
    let denied = world.send(vec![to_user("zhaoliu")]).await.unwrap();
    let row = world.ended(denied.msgid, 0).await;
    assert_eq!((row.state, row.code), (DeliveryState::Refused, Some(43101)));
    let ledger = world.ledger(&openid).await;
    let totals = ledger.totals();
    assert_eq!((totals.open, totals.voided, totals.consumed), (0, 1, 0));
    assert!(ledger.suspension().is_some() && totals.balanced());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_openid_has_one_call_under_way() {
    let world = World::new().await;
    let openid = world.user("sunqi").await;
    for tap in 0..8 {
        world.tap("sunqi", &openid, &format!("tap-{tap}")).await;
    }
    let slow = FaultSpec { ms: Some(30), times: 0, ..FaultSpec::on(FaultKind::Latency, CallPath::Send) };
    world.wechat.inject(slow).unwrap();
    world.engine.start_dispatch().await;
    let mut messages = Vec::new();
    for _ in 0..8 {
        messages.push(world.send(vec![to_user("sunqi")]).await.unwrap().msgid);
    }
    for msgid in messages {
        assert_eq!(world.ended(msgid, 0).await.state, DeliveryState::Sent);
    }
    let answers: Vec<_> = world.wechat.journal().iter().filter_map(|entry| entry.errcode).collect();
    assert_eq!(answers, [0; 8], "WeChat answers 43108 to concurrent calls for one openid");
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_waits_for_the_calls_under_way() {
    let world = World::new().await;
    let openid = world.user("zhouba").await;
    world.tap("zhouba", &openid, "tap-1").await;
    let slow = FaultSpec { ms: Some(300), ..FaultSpec::on(FaultKind::Latency, CallPath::Send) };
    world.wechat.inject(slow).unwrap();
    world.engine.start_dispatch().await;
    let sent = world.send(vec![to_user("zhouba")]).await.unwrap();
    while world.delivery(sent.msgid, 0).await.state != DeliveryState::Started {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.engine.shutdown().await;
    assert_eq!(world.accepted_by_wechat(), 1);
    assert!(
        world
            .engine
            .send(&world.caller, &world.code, crate::world::send_request(vec![to_user("zhouba")]))
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_while_it_waits_ends_without_a_call() {
    let world = World::new().await;
    let openid = world.user("wujiu").await;
    world.tap("wujiu", &openid, "tap-1").await;
    world.engine.pause_channel(&world.caller, &world.code, "test".to_owned()).await.unwrap();
    world.engine.start_dispatch().await;
    let mut request = crate::world::send_request(vec![to_user("wujiu")]);
    request.expires_at = Some(world.engine.now().plus_micros(300_000));
    let sent = world.engine.send(&world.caller, &world.code, request).await.unwrap().answer;
    assert_eq!(world.ended(sent.msgid, 0).await.state, DeliveryState::Expired);
    assert_eq!((world.ledger(&openid).await.balance(), world.wechat.journal().len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_keeps_its_pace() {
    let world = World::with_dispatch(|dispatch| dispatch.sends_per_second = 5).await;
    let mut messages = Vec::new();
    for user in 0..12 {
        let userid = format!("user-{user}");
        let openid = world.user(&userid).await;
        world.tap(&userid, &openid, &format!("tap-{user}")).await;
        messages.push(world.send(vec![to_user(&userid)]).await.unwrap().msgid);
    }
    world.engine.start_dispatch().await;
    for msgid in messages {
        assert_eq!(world.ended(msgid, 0).await.state, DeliveryState::Sent);
    }
    // Five at once, and five more in each second: the twelfth cannot leave before 1.4 s have passed.
    let times: Vec<_> = world.wechat.journal().iter().map(|entry| entry.time).collect();
    let took = times[11].duration_since(times[0]).as_millis();
    assert!(took >= 1_200, "twelve sends at five per second took {took} ms");
}
