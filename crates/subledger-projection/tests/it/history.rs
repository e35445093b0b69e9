//! A scripted history that touches every projection and every state, and short words for its parts.

use subledger_domain::{
    AppId, ChannelCode, DeliveryId, Evidence, EvidenceSource, LogName, MessageId, SubjectId, Template,
    TemplateId, TemplateKey, TemplateKind, UserRef,
    app::{AppCommand, Created, KeyAdded, KeyRevoked, Right},
    binding::BindingCommand,
    channel::{ChannelCommand, Policy, Registered, SecretRef, TokenMode},
    ledger::{
        Answer, AttemptOutcome, Choice, DoubtCause, LedgerCommand, RefusedSend, ReleaseRequest, Taps,
        UnknownBalance, Verdict,
    },
    message::{Accepted, MessageCommand, Planned, Retracted, Skip, SkipReason},
};

use crate::support::{Ask, Node};

pub(crate) fn code() -> ChannelCode {
    "wechatmp123".parse().unwrap()
}

pub(crate) fn log() -> LogName {
    LogName::channel(&code())
}

pub(crate) fn subject(n: u8) -> SubjectId {
    SubjectId::from_bytes([n; 16])
}

pub(crate) fn user(n: u8) -> UserRef {
    UserRef::from_bytes([n; 16])
}

pub(crate) fn message(n: u8) -> MessageId {
    MessageId::from_bytes([n; 16])
}

pub(crate) fn delivery(m: u8, index: u32) -> DeliveryId {
    DeliveryId::new(message(m), index)
}

pub(crate) fn once() -> TemplateId {
    "template-once".parse().unwrap()
}

pub(crate) fn long() -> TemplateId {
    "template-long".parse().unwrap()
}

pub(crate) fn app() -> AppId {
    "shop".parse().unwrap()
}

pub(crate) fn template(id: TemplateId, title: &str) -> Template {
    let kind = if id == long() { TemplateKind::LongTerm } else { TemplateKind::OneTime };
    let key =
        TemplateKey { key: "thing1".into(), label: "订单 \"号\"".into(), allowed: vec!["甲".into()] };
    let content = "订单：{{thing1.DATA}}\n".into();
    Template { id, title: title.into(), content, example: String::new(), kind, keys: vec![key] }
}

fn evidence(node: &Node, reference: &str) -> Evidence {
    Evidence::new(EvidenceSource::ClientReport, reference, node.now())
}

pub(crate) fn registered() -> Ask {
    Ask::Channel(ChannelCommand::Register(Registered {
        appid: "wx0123456789abcdef".into(),
        name: "取餐提醒".into(),
        secret: Some(SecretRef("s1".into())),
        token_mode: TokenMode::Stable,
        token_url: None,
        policy: Policy::default(),
    }))
}

pub(crate) fn tap(node: &Node, who: u8, choice: Choice) -> Ask {
    let evidence = evidence(node, "tap");
    let word = if choice == Choice::Accept { "acceptWithAlert" } else { "reject" };
    let ask = LedgerCommand::RecordChoice {
        choice,
        word: word.into(),
        kind: TemplateKind::OneTime,
        taps: Taps::default(),
        window: 300,
        evidence,
    };
    Ask::Ledger(subject(who), once(), ask)
}

pub(crate) fn about(who: u8, ask: LedgerCommand) -> Ask {
    Ask::Ledger(subject(who), once(), ask)
}

pub(crate) fn accept(node: &Node, m: u8, targeted: u32) -> Ask {
    let accepted = Accepted {
        app: app(),
        template: once(),
        kind: TemplateKind::OneTime,
        targeted,
        expires_at: node.now().plus_seconds(3_600),
    };
    Ask::Message(message(m), MessageCommand::Accept(accepted))
}

pub(crate) fn reserve(m: u8, index: u32, who: u8) -> Ask {
    let ask = LedgerCommand::Reserve {
        delivery: delivery(m, index),
        kind: TemplateKind::OneTime,
        unknown_balance: UnknownBalance::Refuse,
        user: Some(user(who)),
    };
    about(who, ask)
}

pub(crate) fn plan(m: u8, reserved: u32, skipped: Vec<Skip>) -> Ask {
    Ask::Message(message(m), MessageCommand::Plan(Planned { from: 0, reserved, skipped }))
}

pub(crate) fn start(node: &Node, m: u8, index: u32, who: u8) -> Ask {
    let expires_at = node.now().plus_seconds(3_600);
    about(who, LedgerCommand::Start { delivery: delivery(m, index), expires_at })
}

pub(crate) fn settle(m: u8, index: u32, who: u8, attempt: u16, outcome: AttemptOutcome) -> Ask {
    about(
        who,
        LedgerCommand::Settle {
            delivery: delivery(m, index),
            attempt,
            refused_send: RefusedSend::default(),
            outcome,
        },
    )
}

pub(crate) fn accepted_by_wechat(id: &str) -> AttemptOutcome {
    AttemptOutcome::Accepted { wechat_msgid: Some(id.into()) }
}

pub(crate) fn answer(code: i64, class: &str) -> Answer {
    Answer { code: Some(code), rid: Some("rid-1".into()), class: class.into() }
}

pub(crate) fn doubt(m: u8, index: u32, who: u8) -> Ask {
    settle(m, index, who, 1, AttemptOutcome::Unknown { cause: DoubtCause::Timeout })
}

pub(crate) fn resolve(node: &Node, m: u8, index: u32, who: u8, verdict: Verdict) -> Ask {
    let evidence = Evidence::new(EvidenceSource::WechatPush, "push-1", node.now());
    about(who, LedgerCommand::Resolve { delivery: delivery(m, index), verdict, evidence })
}

/// A message to one recipient who has tapped for it.
pub(crate) async fn one_queued(node: &Node, m: u8, who: u8) {
    node.ask(&log(), vec![tap(node, who, Choice::Accept)]).await.unwrap();
    node.ask(&log(), vec![accept(node, m, 1), reserve(m, 0, who), plan(m, 1, vec![])]).await.unwrap();
}

/// Everything: a channel whose templates come, change and go, users who move, a message with every kind of end, apps.
pub(crate) async fn tell(node: &Node) {
    tell_of_channel(node).await;
    tell_of_bindings(node).await;
    tell_of_sending(node).await;
    tell_of_apps(node).await;
}

async fn tell_of_channel(node: &Node) {
    let refresh = |listed| Ask::Channel(ChannelCommand::RefreshTemplates { listed });
    let pause = |reason: &str| Ask::Channel(ChannelCommand::Pause { reason: reason.into() });
    let both = vec![template(once(), "取餐"), template(long(), "物流")];
    let steps = [
        registered(),
        refresh(both.clone()),
        refresh(vec![template(once(), "取餐提醒")]),
        refresh(vec![template(once(), "取餐提醒"), both[1].clone()]),
        refresh(vec![template(once(), "取餐提醒")]),
        Ask::Channel(ChannelCommand::ReplaceCredentials { secret: SecretRef("s2".into()) }),
        Ask::Channel(ChannelCommand::ChangePolicy {
            policy: Policy { unknown_balance: UnknownBalance::Attempt, ..Policy::default() },
        }),
        pause("maintenance"),
    ];
    for step in steps {
        node.ask(&log(), vec![step]).await.unwrap();
    }
}

async fn tell_of_bindings(node: &Node) {
    let evidence = evidence(node, "login");
    let bind = |who: u8, to: u8| {
        let ask = BindingCommand::Bind { subject: subject(to), evidence: evidence.clone() };
        Ask::Binding(user(who), ask)
    };
    let unbind = Ask::Binding(user(3), BindingCommand::Unbind { evidence: evidence.clone() });
    for step in [bind(1, 1), bind(2, 9), bind(2, 1), bind(3, 3), unbind] {
        node.ask(&log(), vec![step]).await.unwrap();
    }
}

/// Message 1: recipients 0 to 8 end as sent, refused, failed, expired, retracted, not sent, in doubt, skipped (no grant found
/// when denied), queued; 9 is skipped at once; one more is not planned.
async fn tell_of_sending(node: &Node) {
    for who in 0..9 {
        node.ask(&log(), vec![tap(node, who, Choice::Accept)]).await.unwrap();
    }
    let skip = Skip { index: 9, reason: SkipReason::NotBound, user: Some(user(9)), subject: None };
    let mut asks = vec![accept(node, 1, 11)];
    asks.extend((0..9u8).map(|who| reserve(1, u32::from(who), who)));
    asks.push(plan(1, 9, vec![skip]));
    node.ask(&log(), asks).await.unwrap();
    for who in [0, 1, 2, 5, 6, 7] {
        node.ask(&log(), vec![start(node, 1, u32::from(who), who)]).await.unwrap();
    }
    let refused = AttemptOutcome::Refused { answer: answer(47003, "argument") };
    let postponed = |max_attempts| AttemptOutcome::Postponed {
        answer: answer(-1, "busy"),
        until: node.now().plus_seconds(30),
        max_attempts,
    };
    let ended = |delivery, expires_at| LedgerCommand::Start { delivery, expires_at };
    let retract = LedgerCommand::Release { delivery: delivery(1, 4), request: ReleaseRequest::Retract };
    let steps = [
        settle(1, 0, 0, 1, accepted_by_wechat("3300000000000000001")),
        settle(1, 1, 1, 1, refused),
        settle(1, 2, 2, 1, postponed(2)),
        start(node, 1, 2, 2),
        settle(1, 2, 2, 2, postponed(2)),
        about(3, ended(delivery(1, 3), node.now())),
        about(4, retract),
        doubt(1, 5, 5),
        resolve(node, 1, 5, 5, Verdict::NotSent),
        doubt(1, 6, 6),
        settle(1, 7, 7, 1, AttemptOutcome::NoPermission { answer: answer(43101, "no_permission") }),
        tap(node, 7, Choice::Reject),
    ];
    for step in steps {
        node.ask(&log(), vec![step]).await.unwrap();
    }
    let retracted = Retracted { app: app(), released: 1 };
    node.ask(&log(), vec![Ask::Message(message(1), MessageCommand::Retract(retracted))]).await.unwrap();
}

/// Enough taps and sends to need several chunks of a scan.
pub(crate) async fn tell_much(node: &Node) {
    for round in 0..40u8 {
        let m = 10 + round;
        let whos = [round % 7, 20 + round % 5];
        let mut asks: Vec<Ask> = (0..110).map(|_| tap(node, 30 + round % 11, Choice::Accept)).collect();
        asks.extend(whos.map(|who| tap(node, who, Choice::Accept)));
        asks.push(accept(node, m, 2));
        asks.extend(whos.iter().zip(0..).map(|(who, index)| reserve(m, index, *who)));
        asks.push(plan(m, 2, vec![]));
        node.ask(&log(), asks).await.unwrap();
    }
}

async fn tell_of_apps(node: &Node) {
    let key = |key: &str| KeyAdded { key: key.into(), hash: format!("hash-of-{key}") };
    let created = Created {
        name: "门店".into(),
        rights: [Right::Send, Right::Read].into(),
        channels: Some([code()].into()),
    };
    let operator = Created { name: "operator".into(), rights: Right::ALL.into(), channels: None };
    let steps = [
        Ask::App(app(), AppCommand::Create(created)),
        Ask::App(app(), AppCommand::AddKey(key("k1"))),
        Ask::App(app(), AppCommand::AddKey(key("k2"))),
        Ask::App(app(), AppCommand::RevokeKey(KeyRevoked { key: "k1".into() })),
        Ask::App("operator".parse().unwrap(), AppCommand::Create(operator)),
    ];
    for step in steps {
        node.ask(&LogName::main(), vec![step]).await.unwrap();
    }
}
