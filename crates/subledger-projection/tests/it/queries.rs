//! Every projection from a scripted history.

use subledger_domain::{
    app::Right,
    ledger::{Basis, Choice, LedgerCommand, UnknownBalance, Verdict},
    message::SkipReason,
};
use subledger_projection::{
    DeliveryCounts, DeliveryState, LotState, MessageFilter, PageRequest, ProjectionName, QueryError,
};
use subledger_store::Position;

use crate::{
    history::{
        about, accept, accepted_by_wechat, app, code, delivery, doubt, log, long, message, once, one_queued,
        plan, reserve, resolve, settle, start, subject, tap, tell, user,
    },
    support::{Ask, Node, Place, on_both_databases},
};

on_both_databases!(
    channels_and_templates,
    bindings,
    ledgers_and_lots,
    messages_and_deliveries,
    doubts_that_end_late,
    sends_without_a_grant,
    apps_and_keys,
    nothing_is_known_before_the_first_event,
);

async fn told(place: &Place) -> Node {
    let node = Node::on(place).await;
    tell(&node).await;
    node.catch_up().await;
    node
}

async fn channels_and_templates(place: Place) {
    let node = told(&place).await;
    let all = node.queries.channels().await.unwrap();
    assert_eq!(all.len(), 1);
    let answer = node.queries.channel(&code()).await.unwrap();
    assert_eq!(answer.position, node.store.head(&log()).await.unwrap().position);
    assert_eq!(all[0].value, answer.value.clone().unwrap());
    let channel = answer.value.unwrap();
    assert_eq!(channel.name, "取餐提醒");
    assert_eq!(channel.policy.unknown_balance, UnknownBalance::Attempt);
    assert_eq!(channel.pause_reason.as_deref(), Some("maintenance"));
    assert!(channel.is_paused());
    assert!(channel.registered_at < channel.secret_replaced_at);
    assert_eq!((channel.templates_listed, channel.templates_vanished), (1, 1));

    let templates = node.queries.templates(&code()).await.unwrap().value;
    assert_eq!(templates.iter().map(|t| &t.id).collect::<Vec<_>>(), [&long(), &once()]);
    assert!(!templates[0].listed);
    assert!(templates[0].vanished_at.unwrap() > templates[0].first_seen_at);
    assert_eq!(templates[0].changed_at, templates[0].first_seen_at, "it came back as it was");
    assert!(templates[1].listed);
    assert_eq!(templates[1].title, "取餐提醒");
    assert!(templates[1].changed_at > templates[1].first_seen_at);
    assert_eq!(templates[1].keys[0].label, "订单 \"号\"");
    let one = node.queries.template(&code(), &once()).await.unwrap().value.unwrap();
    assert_eq!(one, templates[1]);
    let other = "template-none".parse().unwrap();
    assert_eq!(node.queries.template(&code(), &other).await.unwrap().value, None);
}

async fn bindings(place: Place) {
    let node = told(&place).await;
    let all = node.queries.bindings(&code(), &PageRequest::first(10)).await.unwrap();
    assert_eq!(all.items.iter().map(|b| b.user_ref).collect::<Vec<_>>(), [user(1), user(2), user(3)]);
    assert_eq!(all.next, None);
    let moved = node.queries.binding(&code(), user(2)).await.unwrap().value.unwrap();
    assert_eq!(moved.subject, Some(subject(1)));
    assert!(moved.moved_at.unwrap() > moved.bound_at);
    let gone = node.queries.binding(&code(), user(3)).await.unwrap().value.unwrap();
    assert_eq!(gone.subject, None, "kept, without a subject");
    assert!(gone.unbound_at.is_some());
    let family = node.queries.bindings_of_subject(&code(), subject(1)).await.unwrap().value;
    assert_eq!(family.iter().map(|b| b.user_ref).collect::<Vec<_>>(), [user(1), user(2)]);
    assert!(node.queries.bindings_of_subject(&code(), subject(3)).await.unwrap().value.is_empty());
}

async fn ledgers_and_lots(place: Place) {
    let node = told(&place).await;
    let ledger =
        async |who| node.queries.ledger(&code(), subject(who), &once()).await.unwrap().value.unwrap();
    let lots = async |who| {
        node.queries.lots(&code(), subject(who), &once(), &PageRequest::default()).await.unwrap().items
    };
    for who in 0..9 {
        assert!(ledger(who).await.totals().balanced());
    }
    assert_eq!(ledger(0).await.consumed, 1);
    assert_eq!(ledger(1).await.balance, 1, "a refusal gives the grant back");
    assert_eq!(ledger(6).await.in_doubt, 1);
    assert_eq!(ledger(8).await.reserved, 1);

    let denied = ledger(7).await;
    assert_eq!((denied.voided, denied.balance, denied.rejected), (1, 0, 1));
    assert!(denied.suspended_since.is_some());
    assert_eq!(denied.last_choice, Some(Choice::Reject));

    let spent = lots(0).await;
    assert_eq!((spent[0].state, spent[0].delivery), (LotState::Consumed, Some(delivery(1, 0))));
    assert_eq!(spent[0].word.as_deref(), Some("acceptWithAlert"));
    let back = lots(5).await;
    assert_eq!((back[0].state, back[0].delivery), (LotState::Open, None));
    assert_eq!(back[0].doubted_by, Some(delivery(1, 5)));
    let void = lots(7).await;
    assert_eq!((void[0].state, void[0].delivery), (LotState::Void, Some(delivery(1, 7))));
    assert_eq!(lots(6).await[0].state, LotState::InDoubt);

    assert_eq!(node.queries.ledgers_of(&code(), subject(0)).await.unwrap().value, [ledger(0).await]);
    let of_template = node.queries.ledgers(&code(), Some(&once()), &PageRequest::default()).await.unwrap();
    assert_eq!(of_template.items.len(), 9);
    let of_other = node.queries.ledgers(&code(), Some(&long()), &PageRequest::default()).await.unwrap();
    assert!(of_other.items.is_empty());
}

async fn messages_and_deliveries(place: Place) {
    let node = told(&place).await;
    let row = node.queries.message(&code(), message(1)).await.unwrap().value.unwrap();
    let one_of_each = DeliveryCounts {
        queued: 1,
        started: 0,
        in_doubt: 1,
        sent: 1,
        refused: 2,
        failed: 1,
        expired: 1,
        retracted: 1,
        not_sent: 1,
        skipped: 1,
    };
    assert_eq!(row.counts, one_of_each);
    assert_eq!((row.targeted, row.unplanned()), (11, 1));
    assert!(row.retracted_at.is_some());
    assert!(!row.is_complete());

    let page = PageRequest::default();
    let all = node.queries.deliveries(&code(), message(1), None, &page).await.unwrap().items;
    let state = |index: usize| (all[index].state, all[index].reason.as_deref(), all[index].code);
    assert_eq!(state(0), (DeliveryState::Sent, None, None));
    assert_eq!(all[0].wechat_msgid.as_deref(), Some("3300000000000000001"));
    assert_eq!((all[0].user_ref, all[0].subject), (Some(user(0)), Some(subject(0))));
    assert_eq!((all[0].lot, all[0].attempts), (Some(1), 1));
    assert!(all[0].started_at.is_some());
    assert_eq!(state(1), (DeliveryState::Refused, Some("argument"), Some(47003)));
    assert_eq!(all[1].rid.as_deref(), Some("rid-1"));
    assert_eq!(state(2), (DeliveryState::Failed, Some("busy"), Some(-1)));
    assert_eq!(all[2].attempts, 2);
    assert_eq!(state(3), (DeliveryState::Expired, None, None));
    assert_eq!(state(4), (DeliveryState::Retracted, None, None));
    assert_eq!(state(5), (DeliveryState::NotSent, Some("timeout"), None));
    assert_eq!(all[5].settled_by.as_deref(), Some("wechat_push"));
    assert_eq!(state(6), (DeliveryState::InDoubt, Some("timeout"), None));
    assert_eq!(state(7), (DeliveryState::Refused, Some("no_permission"), Some(43101)));
    assert_eq!(state(8), (DeliveryState::Queued, None, None));
    assert_eq!(state(9), (DeliveryState::Skipped, Some(SkipReason::NotBound.as_str()), None));
    assert_eq!((all[9].subject, all[9].user_ref), (None, Some(user(9))));
    assert_eq!(all.len(), 10);

    for delivery in &all {
        let one = node.queries.delivery(&code(), delivery.id()).await.unwrap().value.unwrap();
        assert_eq!(&one, delivery);
        let same: Vec<_> = all.iter().filter(|d| d.state == delivery.state).cloned().collect();
        let found =
            node.queries.deliveries(&code(), message(1), Some(delivery.state), &page).await.unwrap().items;
        assert_eq!(found, same);
    }
    let doubts = node.queries.in_doubt(&code(), &page).await.unwrap().items;
    assert_eq!(doubts, [all[6].clone()]);
    let mine = node.queries.deliveries_of_subject(&code(), subject(2), &page).await.unwrap().items;
    assert_eq!(mine, [all[2].clone()]);
}

async fn doubts_that_end_late(place: Place) {
    let node = Node::on(&place).await;
    one_queued(&node, 1, 1).await;
    let sent = Verdict::Sent { wechat_msgid: Some("77".into()) };
    let steps = [start(&node, 1, 0, 1), doubt(1, 0, 1), resolve(&node, 1, 0, 1, Verdict::NotSent)];
    for step in steps {
        node.ask(&log(), vec![step]).await.unwrap();
    }
    node.catch_up().await;
    let row = async || node.queries.delivery(&code(), delivery(1, 0)).await.unwrap().value.unwrap();
    assert_eq!(row().await.state, DeliveryState::NotSent);

    node.ask(&log(), vec![resolve(&node, 1, 0, 1, sent)]).await.unwrap();
    node.catch_up().await;
    assert_eq!(row().await.state, DeliveryState::Sent, "later proof corrects the verdict");
    assert_eq!(row().await.wechat_msgid.as_deref(), Some("77"));
    let counts = node.queries.message(&code(), message(1)).await.unwrap().value.unwrap().counts;
    assert_eq!((counts.sent, counts.not_sent), (1, 0));
    let lots = node.queries.lots(&code(), subject(1), &once(), &PageRequest::default()).await.unwrap().items;
    assert_eq!((lots[0].state, lots[0].delivery), (LotState::Consumed, Some(delivery(1, 0))));
}

async fn sends_without_a_grant(place: Place) {
    let node = Node::on(&place).await;
    let attempt = LedgerCommand::Reserve {
        delivery: delivery(1, 0),
        kind: subledger_domain::TemplateKind::OneTime,
        unknown_balance: UnknownBalance::Attempt,
        user: None,
    };
    let asks: Vec<Ask> = vec![accept(&node, 1, 1), about(1, attempt), plan(1, 1, vec![])];
    node.ask(&log(), asks).await.unwrap();
    node.ask(&log(), vec![start(&node, 1, 0, 1)]).await.unwrap();
    node.ask(&log(), vec![settle(1, 0, 1, 1, accepted_by_wechat("9"))]).await.unwrap();
    node.catch_up().await;
    let row = node.queries.delivery(&code(), delivery(1, 0)).await.unwrap().value.unwrap();
    assert_eq!((row.state, row.basis, row.lot), (DeliveryState::Sent, Some(Basis::UnknownBalance), None));
    let ledger = node.queries.ledger(&code(), subject(1), &once()).await.unwrap().value.unwrap();
    assert_eq!(ledger.totals(), Default::default(), "nothing was granted, so nothing is consumed");
}

async fn apps_and_keys(place: Place) {
    let node = told(&place).await;
    let shop = node.queries.app(&app()).await.unwrap().value.unwrap();
    assert_eq!(shop.rights, [Right::Send, Right::Read].into());
    assert_eq!(shop.channels, Some([code()].into()));
    let all = node.queries.apps(&PageRequest::default()).await.unwrap().items;
    assert_eq!(all.iter().map(|a| a.id.as_str()).collect::<Vec<_>>(), ["operator", "shop"]);
    assert_eq!(all[0].channels, None, "every channel");

    assert_eq!(node.queries.app_key("k1").await.unwrap().value, None, "revoked");
    assert_eq!(node.queries.app_key("k3").await.unwrap().value, None);
    let found = node.queries.app_key("k2").await.unwrap().value.unwrap();
    assert_eq!((found.app, found.key.hash.as_str()), (shop, "hash-of-k2"));
    let keys = node.queries.app_keys(&app()).await.unwrap().value;
    assert_eq!(keys.iter().map(|k| k.key.as_str()).collect::<Vec<_>>(), ["k2", "k1"], "newest first");
    assert!(keys[1].revoked_at.is_some());
}

async fn nothing_is_known_before_the_first_event(place: Place) {
    let node = Node::on(&place).await;
    let answer = node.queries.channel(&code()).await.unwrap();
    assert_eq!((answer.value, answer.position), (None, Position(0)));
    let page =
        node.queries.messages(&code(), &MessageFilter::default(), &PageRequest::default()).await.unwrap();
    assert_eq!((page.items.len(), page.next, page.position), (0, None, Position(0)));
    let digest = subledger_projection::digest(&node.store, &log(), ProjectionName::Messages).await.unwrap();
    assert_eq!((digest.rows, digest.position), (0, Position(0)));
    let refused = node.queries.bindings(&code(), &PageRequest::first(0)).await;
    assert!(matches!(refused, Err(QueryError::Limit)));
    node.ask(&log(), vec![tap(&node, 1, Choice::Accept), accept(&node, 1, 1), reserve(1, 0, 1)])
        .await
        .unwrap();
    node.catch_up().await;
    assert_eq!(node.queries.channel(&code()).await.unwrap().position, Position(3));
}
