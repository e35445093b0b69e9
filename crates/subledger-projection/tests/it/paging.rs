//! Pages: all rows once, in order, whatever the size of the page.

use subledger_domain::{
    TemplateKind,
    ledger::Choice,
    message::{Accepted, MessageCommand},
};
use subledger_projection::{DeliveryState, MessageFilter, MessageRow, Page, PageRequest, QueryError};

use crate::{
    history::{
        accept, app, code, delivery, doubt, log, long, message, once, plan, reserve, start, subject, tap,
        tell,
    },
    support::{Ask, Node, Place, on_both_databases},
};

on_both_databases!(
    pages_hold_every_row_once,
    messages_come_newest_first_and_filtered,
    cursors_belong_to_their_query
);

/// Asks page after page and gathers what comes.
macro_rules! gather {
    ($limit:expr, |$page:ident| $ask:expr) => {{
        let mut request = PageRequest::first($limit);
        let mut items = Vec::new();
        loop {
            let $page = &request;
            let page: Page<_> = $ask.await.unwrap();
            assert!(page.items.len() <= $limit as usize);
            items.extend(page.items);
            match page.next {
                Some(next) => request.after = Some(next),
                None => break items,
            }
        }
    }};
}

async fn pages_hold_every_row_once(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    // Three doubts and three deliveries of one subject, so that their pages have something to cut.
    for m in 2..5u8 {
        let who = 10 + m;
        let asks = vec![tap(&node, who, Choice::Accept), tap(&node, 0, Choice::Accept), accept(&node, m, 2)];
        node.ask(&log(), asks).await.unwrap();
        node.ask(&log(), vec![reserve(m, 0, who), reserve(m, 1, 0), plan(m, 2, vec![])]).await.unwrap();
        node.ask(&log(), vec![start(&node, m, 0, who)]).await.unwrap();
        node.ask(&log(), vec![doubt(m, 0, who)]).await.unwrap();
    }
    node.catch_up().await;
    let q = &node.queries;
    for limit in [1, 2, 3, 200] {
        assert_eq!(gather!(limit, |page| q.bindings(&code(), page)).len(), 3);
        assert_eq!(gather!(limit, |page| q.ledgers(&code(), None, page)).len(), 12);
        assert_eq!(gather!(limit, |page| q.ledgers(&code(), Some(&once()), page)).len(), 12);
        let lots = gather!(limit, |page| q.lots(&code(), subject(0), &once(), page));
        assert_eq!(lots.iter().map(|lot| lot.lot).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let deliveries = gather!(limit, |page| q.deliveries(&code(), message(1), None, page));
        assert_eq!(deliveries.iter().map(|d| d.index).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        let doubts = gather!(limit, |page| q.in_doubt(&code(), page));
        let doubts: Vec<_> = doubts.iter().map(|d| d.id()).collect();
        assert_eq!(doubts, [delivery(1, 6), delivery(2, 0), delivery(3, 0), delivery(4, 0)], "longest first");
        let mine = gather!(limit, |page| q.deliveries_of_subject(&code(), subject(0), page));
        let mine: Vec<_> = mine.iter().map(|d| d.id()).collect();
        assert_eq!(mine, [delivery(4, 1), delivery(3, 1), delivery(2, 1), delivery(1, 0)], "newest first");
        assert_eq!(gather!(limit, |page| q.apps(page)).len(), 2);
    }
}

async fn messages_come_newest_first_and_filtered(place: Place) {
    let node = Node::on(&place).await;
    // Ids that do not follow the order of acceptance, to be sure that the order is that of the log.
    for m in [5, 1, 9, 3] {
        node.ask(&log(), vec![accept(&node, m, 1)]).await.unwrap();
    }
    let other = Accepted {
        app: "other".parse().unwrap(),
        template: long(),
        kind: TemplateKind::LongTerm,
        targeted: 1,
        expires_at: node.now(),
    };
    node.ask(&log(), vec![Ask::Message(message(7), MessageCommand::Accept(other))]).await.unwrap();
    node.ask(&log(), vec![tap(&node, 1, Choice::Accept)]).await.unwrap();
    node.ask(&log(), vec![reserve(9, 0, 1), plan(9, 1, vec![])]).await.unwrap();
    node.catch_up().await;
    let ids = |rows: &[MessageRow]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    let all = [7, 3, 9, 1, 5].map(message);
    for limit in [1, 2, 200] {
        let filter = MessageFilter::default();
        let rows = gather!(limit, |page| node.queries.messages(&code(), &filter, page));
        assert_eq!(ids(&rows), all);
        let filter = MessageFilter { app: Some(app()), ..Default::default() };
        let rows = gather!(limit, |page| node.queries.messages(&code(), &filter, page));
        assert_eq!(ids(&rows), all[1..]);
        let filter = MessageFilter { template: Some(long()), ..Default::default() };
        let rows = gather!(limit, |page| node.queries.messages(&code(), &filter, page));
        assert_eq!(ids(&rows), all[..1]);
        let filter = MessageFilter { state: Some(DeliveryState::Queued), ..Default::default() };
        let rows = gather!(limit, |page| node.queries.messages(&code(), &filter, page));
        assert_eq!(ids(&rows), [message(9)]);
    }
}

async fn cursors_belong_to_their_query(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    node.catch_up().await;
    let page = node.queries.bindings(&code(), &PageRequest::first(1)).await.unwrap();
    let request = PageRequest { limit: 1, after: page.next };
    assert!(matches!(node.queries.ledgers(&code(), None, &request).await, Err(QueryError::Cursor)));
    let request = PageRequest { limit: 1, after: Some("not a cursor".into()) };
    assert!(matches!(node.queries.bindings(&code(), &request).await, Err(QueryError::Cursor)));
    let request = PageRequest { limit: 201, after: None };
    assert!(matches!(node.queries.bindings(&code(), &request).await, Err(QueryError::Limit)));
}
