//! Erasing a person: what goes, what stays, what refuses it.

use std::{collections::BTreeSet, time::Duration};

use subledger_domain::{DeliveryId, LogName, StreamName, ledger::Phase};
use subledger_engine::{
    Caller, EngineError, ErrorKind, Values,
    doubts::ManualVerdict,
    erasure::{Erasure, ErasureAnswer, Where, Whom},
    retention::RetentionSettings,
    send::{Recipient, To},
    users::BindResult,
};
use subledger_projection::{
    DeliveryState, DriftFilter, PageRequest, ProjectionName, ReportDays, digest, rebuild,
};
use subledger_store::{
    Cause, Effect, Known, Position, PushFormat, PushKey, PushKind, PushMode, PushPage, PushRow, PushState,
    RelayRoom, RetentionClass, Stage, Stop, StreamRef, Submission, Work, verify_chain,
};

use crate::{
    place::{Place, on_both_databases},
    world::{TEMPLATE, World, send_request, to_user},
};

const REASON: &str = "asked for it by letter";

fn wish(whom: Whom) -> Erasure {
    Erasure {
        whom,
        from: Where::Everywhere,
        reason: REASON.to_owned(),
        force: false,
        vacuum: false,
        idempotency_key: None,
    }
}

fn user(userid: &str) -> Whom {
    Whom::Userid(userid.parse().unwrap())
}

fn operator() -> Caller {
    Caller::operator("ops".parse().unwrap())
}

/// A recipient with a value of its own.
fn with_own(userid: &str, value: &str) -> Recipient {
    let data = Values::from([("thing1".to_owned(), value.to_owned())]);
    Recipient { data, ..to_user(userid) }
}

async fn erase(world: &World, erasure: Erasure) -> Result<ErasureAnswer, EngineError> {
    Ok(world.engine.erase_user(&operator(), erasure).await?.answer)
}

/// Keeps a push, as the use case for pushes does.
struct KeepPush(PushRow);

impl Work for KeepPush {
    type Answer = ();
    type Refusal = ();

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        Vec::new()
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<()>> {
        let settled = PushState::Acted;
        stage.effect(Effect::KeepPush(self.0.clone()));
        stage.effect(Effect::SettlePush { key: self.0.key, state: settled, effect: "{}".to_owned() });
        Ok(())
    }
}

/// WeChat pushes something about this openid, which stands in the body.
async fn push(world: &World, openid: &str, number: usize, relayed: bool) {
    let body = format!("<xml><FromUserName>{openid}</FromUserName><n>{number}</n></xml>").into_bytes();
    let row = PushRow {
        key: PushKey::of(&body),
        received_at: world.engine.now(),
        kind: PushKind::Popup,
        event: "subscribe_msg_popup_event".to_owned(),
        subject: Some(world.engine.store().subject_of(&world.code, &openid.parse().unwrap())),
        mode: PushMode::Secure,
        format: PushFormat::Xml,
        body,
        relay_due_at: relayed.then(|| world.engine.now()),
    };
    let cause = Cause { by: "wechat".into(), command: "push".into(), request: None };
    let submission = Submission { log: world.log(), receipt: None, cause, work: KeepPush(row) };
    world.engine.executor().submit(submission).await.unwrap();
}

/// Every log's chain is whole.
async fn chains_hold(world: &World) {
    for head in world.engine.store().heads().await.unwrap() {
        let events = world.engine.store().read_log(&head.log, Position(0), 100_000).await.unwrap();
        assert_eq!(verify_chain(&events).unwrap().0, head.position);
    }
}

async fn digests(world: &World) -> Vec<String> {
    let mut digests = Vec::new();
    for projection in ProjectionName::of_log(&world.log()) {
        digests.push(format!("{:?}", digest(world.engine.store(), &world.log(), *projection).await.unwrap()));
    }
    digests
}

on_both_databases! {
    an_erased_person_is_gone_from_every_table_and_file,
    deliveries_that_have_not_ended_refuse_it,
    drift_and_doubts_of_a_person_stay_without_a_name,
    a_person_may_come_back_and_be_erased_again,
    an_openid_that_is_shared_stays,
    an_openid_alone_can_be_erased,
    pushes_about_a_person_go_with_it,
    a_channel_alone_can_be_erased_from,
    what_cannot_be_is_refused_and_changes_nothing,
    a_repetition_under_one_key_is_answered_again,
    a_bind_at_the_same_time_never_leaves_half_a_person,
    retention_deletes_contents_of_ended_messages_and_tells_before,
}

async fn an_erased_person_is_gone_from_every_table_and_file(place: Place) {
    let world = World::on(&place).await;
    let (zhang, li) = ("zhang-san-the-first", "li-si-the-second");
    let (o_zhang, o_li) = (world.user(zhang).await, world.user(li).await);
    for tap in 0..3 {
        world.tap(zhang, &o_zhang, &format!("tap-z-{tap}")).await;
        world.tap(li, &o_li, &format!("tap-l-{tap}")).await;
    }
    // One message to both with own values, one to the person alone, one to the other alone; one by openid with a key.
    let both = send_request(vec![with_own(zhang, "own-of-zhang"), with_own(li, "own-of-li")]);
    let alone = send_request(vec![to_user(zhang), to_user("nobody-is-this")]);
    let other = send_request(vec![to_user(li)]);
    let mut by_openid =
        send_request(vec![Recipient { to: To::Openid(o_zhang.parse().unwrap()), data: Values::new() }]);
    by_openid.idempotency_key = Some("order-42".to_owned());
    let mut messages = Vec::new();
    for request in [both, alone, other, by_openid] {
        messages.push(world.engine.send(&world.caller, &world.code, request).await.unwrap().answer.msgid);
    }
    let plain = [zhang, o_zhang.as_str(), li, o_li.as_str(), "own-of-zhang", "own-of-li", "牛角面包"];
    let stands =
        |everything: &str, text: &str| everything.contains(text) || everything.contains(&hex::encode(text));
    let found = |everything: &str| plain.iter().filter(|text| stands(everything, text)).count();
    assert_eq!(found(&place.everything()), 0, "nothing personal stands there in clear before");
    world.engine.start_dispatch().await;
    for (message, index) in [(0, 0), (0, 1), (1, 0), (2, 0), (3, 0)] {
        assert_eq!(world.ended(messages[message], index).await.state, DeliveryState::Sent);
    }

    let answer = erase(&world, wish(user(zhang))).await.unwrap();
    assert_eq!((answer.already, answer.userid, answer.openids, answer.retracted), (false, true, 1, 0));
    assert_eq!(answer.contents, 3, "its own values, and what it alone was to get");
    assert_eq!((answer.by.as_str(), answer.reason.as_str()), ("operator:ops", REASON));
    assert_eq!(answer.channels, BTreeSet::from([world.code.clone()]));

    let store = world.engine.store();
    let subject = store.subject_of(&world.code, &o_zhang.parse().unwrap());
    let user_ref = store.user_ref_of(&zhang.parse().unwrap());
    assert!(store.openids(&world.log(), &[subject]).await.unwrap().is_empty());
    assert!(store.userids(&[user_ref]).await.unwrap().is_empty());
    let mut kept = store.kept_contents(&world.log(), &messages).await.unwrap();
    kept.sort();
    let kept: Vec<_> = kept.iter().map(|content| (content.message, content.recipient)).collect();
    assert_eq!(
        kept,
        [(messages[0], None), (messages[0], Some(1)), (messages[2], None)],
        "of others, all of it"
    );
    let everything = place.everything();
    assert_eq!(found(&everything), 0);
    assert!(everything.contains(REASON), "the search itself must work");

    // The books stay whole, and no longer lead to a name.
    chains_hold(&world).await;
    assert!(world.engine.caught_up(&world.log(), None).await);
    let before = digests(&world).await;
    rebuild(store, None, |_| {}).await.unwrap();
    assert_eq!(digests(&world).await, before);
    let person = world.engine.person(&StreamName::user(user_ref)).await.unwrap();
    assert_eq!((person.times(), person.erased().unwrap().contents), (1, 3));
    assert_eq!(world.engine.person(&StreamName::subject(subject)).await.unwrap().times(), 1);
    assert_eq!(world.ledger(&o_zhang).await.totals().consumed, 3);

    // Nothing can be sent to the person; others are unaffected.
    let refused = world.send(vec![to_user(zhang)]).await.unwrap_err();
    assert_eq!((refused.kind, refused.code), (ErrorKind::Invalid, "unknown_user"));
    let sent = world.send(vec![with_own(li, "own-of-li")]).await.unwrap();
    assert_eq!(world.ended(sent.msgid, 0).await.state, DeliveryState::Sent);

    // Asked again, nothing is left to do, and the answer tells of the first time.
    let events = world.engine.store().head(&LogName::main()).await.unwrap().position;
    let again = erase(&world, wish(user(zhang))).await.unwrap();
    assert_eq!((again.already, again.at, again.contents), (true, answer.at, 3));
    let by_openid = erase(&world, wish(Whom::Openid(o_zhang.parse().unwrap()))).await.unwrap();
    assert_eq!((by_openid.already, by_openid.at), (true, answer.at));
    assert_eq!(world.engine.store().head(&LogName::main()).await.unwrap().position, events);
}

async fn deliveries_that_have_not_ended_refuse_it(place: Place) {
    let world = World::on(&place).await;
    let openid = world.user("zhangsan").await;
    world.tap("zhangsan", &openid, "tap-1").await;
    world.tap("zhangsan", &openid, "tap-2").await;
    let sent = world.send(vec![with_own("zhangsan", "own-value")]).await.unwrap();
    let events = world.events().await;
    let refused = erase(&world, wish(user("zhangsan"))).await.unwrap_err();
    assert_eq!((refused.kind, refused.code), (ErrorKind::Conflict, "deliveries_waiting"));
    assert!(refused.detail.contains(&format!("{}-0 (waiting)", sent.msgid)), "{refused}");
    assert_eq!(world.events().await, events, "nothing is recorded");

    let forced = erase(&world, Erasure { force: true, ..wish(user("zhangsan")) }).await.unwrap();
    assert_eq!((forced.retracted, forced.contents, forced.openids), (1, 2, 1));
    assert_eq!(world.delivery(sent.msgid, 0).await.state, DeliveryState::Retracted);
    assert_eq!(world.ledger(&openid).await.balance(), 2, "its grant is open again");
    assert!(world.engine.store().queue_of(&world.log(), sent.msgid).await.unwrap().is_empty());
    chains_hold(&world).await;

    // What WeChat may have stays: the same person, come back, with a delivery in doubt.
    world.bind("zhangsan", &openid).await;
    world.never_answer();
    let sent = world.send(vec![to_user("zhangsan")]).await.unwrap();
    world.engine.start_dispatch().await;
    assert_eq!(world.ended(sent.msgid, 0).await.state, DeliveryState::InDoubt);
    let events = world.events().await;
    for force in [false, true] {
        let refused = erase(&world, Erasure { force, ..wish(user("zhangsan")) }).await.unwrap_err();
        assert_eq!((refused.kind, refused.code), (ErrorKind::Conflict, "deliveries_under_way"));
        assert!(refused.detail.contains(&format!("{}-0 (in doubt)", sent.msgid)), "{refused}");
    }
    assert_eq!(world.events().await, events);
    let open = world.ledger(&openid).await;
    assert!(open.outstanding().values().all(|delivery| delivery.phase == Phase::InDoubt));
}

/// What was found out about a person's grants is counted as before; who it was is not there any more.
async fn drift_and_doubts_of_a_person_stay_without_a_name(place: Place) {
    let world = World::on(&place).await;
    let openid = world.user("zhang-san-the-first").await;
    world.tap("zhang-san-the-first", &openid, "tap-1").await;
    let lie = serde_json::json!({ (TEMPLATE): "accept" });
    world.report("zhang-san-the-first", "lie-1", &lie).await.unwrap();
    world.never_answer();
    let sent = world.send(vec![to_user("zhang-san-the-first")]).await.unwrap();
    world.engine.start_dispatch().await;
    assert_eq!(world.ended(sent.msgid, 0).await.state, DeliveryState::InDoubt);
    let delivery = DeliveryId::new(sent.msgid, 0);
    let (verdict, reason) = (ManualVerdict::Sent, "no card, but who knows".to_owned());
    world.engine.resolve_doubt(&world.caller, &world.code, delivery, verdict, reason, None).await.unwrap();
    // WeChat has one left and the books have one; the next but one finds the lie out.
    world.report("zhang-san-the-first", "lie-2", &lie).await.unwrap();
    for state in [DeliveryState::Sent, DeliveryState::Refused] {
        let sent = world.send(vec![to_user("zhang-san-the-first")]).await.unwrap();
        assert_eq!(world.ended(sent.msgid, 0).await.state, state);
    }

    let days = ReportDays::new(None, None, "UTC", world.engine.now()).unwrap();
    let told = async || {
        assert!(world.engine.caught_up(&world.log(), None).await);
        let (queries, page) = (world.engine.queries(), PageRequest::first(10));
        let drift = queries.report_drift(&world.code, &days, &DriftFilter::default(), &page).await.unwrap();
        let doubts = subledger_projection::DoubtFilter::default();
        let now = world.engine.now();
        let doubts = queries.report_doubts(&world.code, &days, &doubts, now, &page).await.unwrap();
        (drift.value, doubts.value)
    };
    let before = told().await;
    assert_eq!((before.0.entries.len(), before.1.entries.len()), (1, 1));
    erase(&world, wish(user("zhang-san-the-first"))).await.unwrap();
    assert_eq!(told().await, before);
    let everything = place.everything();
    for name in ["zhang-san-the-first", &openid] {
        assert!(!everything.contains(name) && !everything.contains(&hex::encode(name)), "{name}");
    }
}

async fn a_person_may_come_back_and_be_erased_again(place: Place) {
    let world = World::on(&place).await;
    let openid = world.user("zhangsan").await;
    world.tap("zhangsan", &openid, "tap-1").await;
    erase(&world, wish(user("zhangsan"))).await.unwrap();
    assert_eq!(world.bind("zhangsan", &openid).await, BindResult::Bound);
    let store = world.engine.store();
    let subject = store.subject_of(&world.code, &openid.parse().unwrap());
    assert_eq!(store.openids(&world.log(), &[subject]).await.unwrap()[&subject].as_str(), openid);
    let sent = world.send(vec![to_user("zhangsan")]).await.unwrap();
    world.engine.start_dispatch().await;
    assert_eq!(world.ended(sent.msgid, 0).await.state, DeliveryState::Sent, "its grants are still its own");
    let again = erase(&world, wish(user("zhangsan"))).await.unwrap();
    assert_eq!((again.already, again.openids, again.contents), (false, 1, 1));
    let stream = StreamName::user(store.user_ref_of(&"zhangsan".parse().unwrap()));
    assert_eq!(world.engine.person(&stream).await.unwrap().times(), 2);
}

async fn an_openid_that_is_shared_stays(place: Place) {
    let world = World::on(&place).await;
    let openid = world.user("mother").await;
    world.bind("child", &openid).await;
    for tap in 0..2 {
        world.tap("mother", &openid, &format!("tap-{tap}")).await;
    }
    let to_mother = world.send(vec![with_own("mother", "own-of-mother")]).await.unwrap().msgid;
    let to_child = world.send(vec![with_own("child", "own-of-child")]).await.unwrap().msgid;
    let refused = erase(&world, wish(user("mother"))).await.unwrap_err();
    assert!(
        refused.detail.contains(&to_mother.to_string()) && !refused.detail.contains(&to_child.to_string())
    );
    world.engine.start_dispatch().await;
    world.ended(to_mother, 0).await;
    world.ended(to_child, 0).await;
    let answer = erase(&world, wish(user("mother"))).await.unwrap();
    assert_eq!((answer.openids, answer.shared_openids, answer.userid, answer.contents), (0, 1, true, 2));
    let store = world.engine.store();
    let subject = store.subject_of(&world.code, &openid.parse().unwrap());
    assert_eq!(store.openids(&world.log(), &[subject]).await.unwrap().len(), 1);
    assert_eq!(store.kept_contents(&world.log(), &[to_mother]).await.unwrap().len(), 0);
    assert_eq!(store.kept_contents(&world.log(), &[to_child]).await.unwrap().len(), 2);
    world.tap("child", &openid, "tap-after").await;
    let sent = world.send(vec![to_user("child")]).await.unwrap();
    assert_eq!(world.ended(sent.msgid, 0).await.state, DeliveryState::Sent);
    // With the last of them the openid goes.
    let last = erase(&world, wish(user("child"))).await.unwrap();
    assert_eq!((last.openids, last.shared_openids), (1, 0));
    assert!(store.openids(&world.log(), &[subject]).await.unwrap().is_empty());
}

async fn an_openid_alone_can_be_erased(place: Place) {
    let world = World::on(&place).await;
    let openid = world.user("zhangsan").await;
    let mut request = wish(Whom::Openid(openid.parse().unwrap()));
    request.from = Where::Channel(world.code.clone());
    let answer = erase(&world, request).await.unwrap();
    assert_eq!((answer.openids, answer.userid), (1, false));
    let store = world.engine.store();
    let user_ref = store.user_ref_of(&"zhangsan".parse().unwrap());
    assert_eq!(store.userids(&[user_ref]).await.unwrap().len(), 1, "the userid may be known elsewhere");
    assert_eq!(world.send(vec![to_user("zhangsan")]).await.unwrap_err().code, "unknown_user");
    let rest = erase(&world, wish(user("zhangsan"))).await.unwrap();
    assert_eq!((rest.already, rest.openids, rest.userid), (false, 0, true));
}

async fn pushes_about_a_person_go_with_it(place: Place) {
    let world = World::on(&place).await;
    let (o_zhang, o_li) = (world.user("zhangsan").await, world.user("lisi").await);
    for number in 0..3 {
        push(&world, &o_zhang, number, number == 0).await;
    }
    push(&world, &o_li, 0, false).await;
    let answer = erase(&world, wish(user("zhangsan"))).await.unwrap();
    assert_eq!((answer.openids, answer.pushes, answer.contents), (1, 3, 0));
    let store = world.engine.store();
    let left = store.pushes(&world.log(), &Default::default(), PushPage::Newest, 9).await.unwrap();
    let li = store.subject_of(&world.code, &o_li.parse().unwrap());
    assert_eq!(left.iter().map(|push| push.subject).collect::<Vec<_>>(), [Some(li)]);
    assert!(
        store.claim_relays("node-1", Duration::from_secs(60), &RelayRoom::of(9)).await.unwrap().is_empty()
    );
    let everything = place.everything();
    assert!(everything.contains(REASON), "the search itself must work");
    for text in [&o_zhang, &o_li] {
        assert!(!everything.contains(text.as_str()) && !everything.contains(&hex::encode(text)));
    }
    chains_hold(&world).await;
    let stream = StreamName::user(store.user_ref_of(&"zhangsan".parse().unwrap()));
    assert_eq!(world.engine.person(&stream).await.unwrap().erased().unwrap().pushes, 3);
    let again = erase(&world, wish(user("zhangsan"))).await.unwrap();
    assert_eq!((again.already, again.pushes), (true, 3));

    // Nothing but pushes may be known of somebody.
    let stranger = "oSTRANGER000000000001";
    push(&world, stranger, 1, false).await;
    let answer = erase(&world, wish(Whom::Openid(stranger.parse().unwrap()))).await.unwrap();
    assert_eq!((answer.already, answer.openids, answer.pushes), (false, 0, 1));
    // An openid that is shared keeps its pushes.
    world.bind("mother", &o_li).await;
    let answer = erase(&world, wish(user("mother"))).await.unwrap();
    assert_eq!((answer.shared_openids, answer.pushes), (1, 0));
    assert_eq!(store.count_pushes_of(&world.log(), &[li]).await.unwrap(), 1);
}

async fn a_channel_alone_can_be_erased_from(place: Place) {
    let world = World::on(&place).await;
    let second = world.second_channel().await;
    let openid = world.user("zhangsan").await;
    world.bind_in(&second, "zhangsan", "oSecondChannel0000001").await;
    let only = Erasure { from: Where::Channel(second.clone()), ..wish(user("zhangsan")) };
    let answer = erase(&world, only).await.unwrap();
    assert_eq!((answer.openids, answer.userid, answer.channels), (1, false, BTreeSet::from([second])));
    world.tap("zhangsan", &openid, "tap-1").await;
    assert_eq!(world.send(vec![to_user("zhangsan")]).await.unwrap().accepted, 1, "elsewhere nothing changed");
    let rest = Erasure { force: true, ..wish(user("zhangsan")) };
    let rest = erase(&world, rest).await.unwrap();
    assert_eq!((rest.openids, rest.userid, rest.retracted), (1, true, 1));
}

async fn what_cannot_be_is_refused_and_changes_nothing(place: Place) {
    let world = World::on(&place).await;
    let openid = world.user("zhangsan").await;
    let heads = world.engine.store().heads().await.unwrap();
    let with = |change: fn(&mut Erasure)| {
        let mut erasure = wish(user("zhangsan"));
        change(&mut erasure);
        erasure
    };
    let of_openid = Erasure { reason: format!("the one with {openid}"), ..wish(user("zhangsan")) };
    for (erasure, code) in [
        (with(|erasure| erasure.reason = " ".to_owned()), "bad_reason"),
        (with(|erasure| erasure.reason = "x".repeat(501)), "bad_reason"),
        (with(|erasure| erasure.reason = "zhangsan wrote to us".to_owned()), "bad_reason"),
        (of_openid, "bad_reason"),
        (with(|erasure| erasure.whom = user("never-seen")), "unknown_user"),
        (
            with(|erasure| erasure.whom = Whom::Openid("oNEVERseen0000000001".parse().unwrap())),
            "unknown_user",
        ),
        (with(|erasure| erasure.from = Where::Channel("nosuch".parse().unwrap())), "unknown_channel"),
        (with(|erasure| erasure.idempotency_key = Some(String::new())), "bad_idempotency_key"),
    ] {
        let refused = erase(&world, erasure).await.unwrap_err();
        assert_eq!(refused.code, code, "{refused}");
    }
    assert_eq!(world.engine.store().heads().await.unwrap(), heads, "nothing is recorded");
    assert!(!place.everything().contains("zhangsan"));
}

async fn a_repetition_under_one_key_is_answered_again(place: Place) {
    let world = World::on(&place).await;
    let openid = world.user("zhangsan").await;
    let keyed = |reason: &str| Erasure {
        idempotency_key: Some("erase-1".to_owned()),
        reason: reason.to_owned(),
        ..wish(user("zhangsan"))
    };
    let first = world.engine.erase_user(&operator(), keyed(REASON)).await.unwrap();
    world.bind("zhangsan", &openid).await;
    let again = world.engine.erase_user(&operator(), keyed(REASON)).await.unwrap();
    assert_eq!((again.replayed, &again.answer), (true, &first.answer));
    world.tap("zhangsan", &openid, "tap-1").await;
    assert_eq!(
        world.send(vec![to_user("zhangsan")]).await.unwrap().accepted,
        1,
        "who came back was left alone"
    );
    let other = world.engine.erase_user(&operator(), keyed("another")).await.unwrap_err();
    assert_eq!(other.code, "idempotency_key_reused");
}

async fn a_bind_at_the_same_time_never_leaves_half_a_person(place: Place) {
    let world = World::on(&place).await;
    let openid = world.user("zhangsan").await;
    let store = world.engine.store();
    let subject = store.subject_of(&world.code, &openid.parse().unwrap());
    let user_ref = store.user_ref_of(&"zhangsan".parse().unwrap());
    for _ in 0..8 {
        world.bind("zhangsan", &openid).await;
        let binds = async {
            for _ in 0..4 {
                world.bind("zhangsan", &openid).await;
            }
        };
        let (erased, ()) = tokio::join!(erase(&world, wish(user("zhangsan"))), binds);
        erased.unwrap();
        let (binding, _) = store
            .load::<subledger_domain::binding::Binding>(&world.log(), &StreamName::binding(user_ref))
            .await
            .unwrap();
        let bound = binding.subject().is_some();
        let openids = store.openids(&world.log(), &[subject]).await.unwrap().len();
        let userids = store.userids(&[user_ref]).await.unwrap().len();
        assert_eq!((openids == 1, userids == 1), (bound, bound), "bound with its identity, or neither");
    }
    chains_hold(&world).await;
}

async fn retention_deletes_contents_of_ended_messages_and_tells_before(place: Place) {
    let world = World::on(&place).await;
    let openid = world.user("zhangsan").await;
    world.tap("zhangsan", &openid, "tap-1").await;
    world.tap("zhangsan", &openid, "tap-2").await;
    let ended = world.send(vec![with_own("zhangsan", "own")]).await.unwrap().msgid;
    let settings = RetentionSettings::default();
    let class = |reports: &[subledger_engine::retention::ClassReport], class: RetentionClass| {
        *reports.iter().find(|report| report.class == class).unwrap()
    };
    let report = world.engine.retention(&settings).await.unwrap();
    let contents = class(&report, RetentionClass::Contents);
    assert_eq!((contents.gone.rows, contents.open), (0, 2), "a message that waits has not ended");
    world.engine.start_dispatch().await;
    world.ended(ended, 0).await;
    assert_eq!(class(&world.engine.retention(&settings).await.unwrap(), RetentionClass::Contents).open, 0);
    // As if the message had ended 31 days ago, and the first receipts been written 31 days ago.
    place.execute(&format!("update content set ended_at = ended_at - {}", 31_i64 * 86_400_000_000)).await;
    place
        .execute(&format!("update receipt set recorded_at = recorded_at - {}", 31_i64 * 86_400_000_000))
        .await;
    let waits = world.send(vec![to_user("zhangsan")]).await.unwrap().msgid;
    world.ended(waits, 0).await;
    for (number, relayed) in [(0, false), (1, true), (2, false)] {
        push(&world, &openid, number, relayed).await;
    }
    place.execute(&format!("update push set received_at = received_at - {}", 31_i64 * 86_400_000_000)).await;
    push(&world, &openid, 3, false).await;
    let dry = world.engine.retention_dry_run(&settings).await.unwrap();
    let pushes = class(&dry, RetentionClass::Pushes);
    assert_eq!((pushes.days, pushes.gone.rows, pushes.open), (30, 2, 1), "what waits to be relayed stays");
    assert_eq!(
        (class(&dry, RetentionClass::Contents).gone.rows, class(&dry, RetentionClass::Contents).open),
        (2, 1)
    );
    assert!(class(&dry, RetentionClass::Receipts).gone.rows >= 2);
    let store = world.engine.store();
    assert_eq!(
        store.kept_contents(&world.log(), &[ended]).await.unwrap().len(),
        2,
        "a dry run deletes nothing"
    );
    let real = world.engine.retention(&settings).await.unwrap();
    for one in RetentionClass::ALL {
        assert_eq!(class(&real, one).gone, class(&dry, one).gone, "what was told is what went");
    }
    assert!(class(&real, RetentionClass::Contents).oldest_left.is_some());
    assert!(store.kept_contents(&world.log(), &[ended]).await.unwrap().is_empty());
    assert_eq!(store.kept_contents(&world.log(), &[waits]).await.unwrap().len(), 1);
    chains_hold(&world).await;
}
