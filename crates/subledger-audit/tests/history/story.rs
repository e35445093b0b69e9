//! One ledger with every kind of event, told in both languages. The texts are beside this file; after a change of
//! wording run the tests with `UPDATE_EXPECT=1` and read what changed.

use expect_test::{ExpectFile, expect_file};
use subledger_audit::history::{Explanation, History, Language, Person, Speaker, default_zone};
use subledger_domain::{
    Evidence, EvidenceSource, LogName, StoredEvent, StreamName, TemplateKind,
    ledger::{
        AttemptOutcome, Choice, LedgerCommand, LedgerEvent, RefusedSend, SettingsOff, Taps, UnknownBalance,
        Verdict,
    },
};
use subledger_projection::DeliveryRow;

use crate::{
    history::{
        about, accepted_by_wechat, answer, code, delivery, doubt, log, message, once, reserve, resolve,
        settle, start, subject, tap, tell, user,
    },
    support::{Node, Place, on_both_databases},
};

on_both_databases!(every_kind_of_ledger_event_is_told, messages_users_and_templates_are_told);

const WHO: u8 = 7;

fn speakers() -> [Speaker; 2] {
    [Language::En, Language::Zh].map(|language| Speaker { language, zone: default_zone() })
}

/// Every kind of event that a ledger can have.
async fn play(node: &Node) {
    let evidence = |source, reference: &str| Evidence::new(source, reference, node.now());
    let opening = LedgerCommand::RecordOpeningBalance {
        count: 2,
        evidence: evidence(EvidenceSource::Import, "import-2025"),
    };
    let postponed = AttemptOutcome::Postponed {
        answer: answer(-1, "busy"),
        until: node.now().plus_seconds(30),
        max_attempts: 5,
    };
    let refused = AttemptOutcome::Refused { answer: answer(47003, "argument") };
    let denied = AttemptOutcome::NoPermission { answer: answer(43101, "no_permission") };
    let consent = LedgerCommand::RecordChoice {
        choice: Choice::Accept,
        word: "accept".into(),
        kind: TemplateKind::LongTerm,
        taps: Taps::default(),
        window: 300,
        evidence: Evidence::new(EvidenceSource::WechatPush, "push-9", node.now().plus_seconds(3_600)),
    };
    let admit = LedgerCommand::Reserve {
        delivery: delivery(5, 0),
        kind: TemplateKind::LongTerm,
        unknown_balance: UnknownBalance::Refuse,
        user: None,
    };
    let steps = [
        tap(node, WHO, Choice::Accept),
        about(WHO, opening),
        reserve(1, 0, WHO),
        start(node, 1, 0, WHO),
        settle(1, 0, WHO, 1, postponed),
        start(node, 1, 0, WHO),
        settle(1, 0, WHO, 2, accepted_by_wechat("3300000000000000001")),
        reserve(2, 0, WHO),
        start(node, 2, 0, WHO),
        doubt(2, 0, WHO),
        resolve(node, 2, 0, WHO, Verdict::NotSent),
        reserve(3, 0, WHO),
        start(node, 3, 0, WHO),
        settle(3, 0, WHO, 1, refused),
        reserve(4, 0, WHO),
        start(node, 4, 0, WHO),
        settle(4, 0, WHO, 1, denied),
        tap(node, WHO, Choice::Reject),
        about(WHO, consent),
        about(WHO, admit),
    ];
    for step in steps {
        node.ask(&log(), vec![step]).await.unwrap();
    }
    play_pushes(node).await;
}

/// What is told from outside: WeChat's pushes, and an operator.
async fn play_pushes(node: &Node) {
    let push = |reference: &str| Evidence::new(EvidenceSource::WechatPush, reference, node.now());
    let tell = |choice, taps, evidence| LedgerCommand::RecordChoice {
        choice,
        word: if choice == Choice::Accept { "accept" } else { "reject" }.into(),
        kind: TemplateKind::OneTime,
        taps,
        window: 5,
        evidence,
    };
    let sent = |msgid: &str, code| LedgerCommand::RecordSent {
        wechat_msgid: Some(msgid.to_owned()),
        code,
        status: if code == 0 { "success" } else { "system failed" }.into(),
        began: None,
        evidence: push("push-13"),
    };
    let adjust = |by| LedgerCommand::Adjust {
        by,
        evidence: Evidence {
            reason: Some("counted by phone".into()),
            ..Evidence::new(EvidenceSource::Operator, "li", node.now())
        },
    };
    let refuse = |m| LedgerCommand::Settle {
        delivery: delivery(m, 0),
        attempt: 1,
        refused_send: RefusedSend::Consume,
        outcome: AttemptOutcome::Refused { answer: answer(47003, "argument") },
    };
    // Later than the consent, which is dated ahead.
    let evidence = Evidence { at: node.now().plus_seconds(7_200), ..push("push-14") };
    let off = LedgerCommand::Suspend { settings_off: SettingsOff::Clear, evidence };
    let steps = [
        tap(node, WHO, Choice::Accept),
        about(WHO, tell(Choice::Accept, Taps::Both, push("push-10"))),
        about(WHO, tell(Choice::Accept, Taps::ClientOnly, push("push-11"))),
        about(WHO, sent("3300000000000000001", 0)),
        about(WHO, sent("3300000000000000001", 5)),
        // Of the delivery that 43101 proved sent, whose msgid nobody knew; then of nobody's.
        about(WHO, sent("3300000000000000098", 0)),
        about(WHO, sent("3300000000000000099", 0)),
        about(WHO, adjust(3)),
        about(WHO, adjust(-1)),
        reserve(6, 0, WHO),
        start(node, 6, 0, WHO),
        about(WHO, refuse(6)),
        about(WHO, off),
    ];
    for step in steps {
        node.ask(&log(), vec![step]).await.unwrap();
    }
}

/// The same text whichever database it comes from: the file is written once and compared twice.
fn check(expected: &ExpectFile, text: &str) {
    expected.assert_eq(text);
}

async fn every_kind_of_ledger_event_is_told(place: Place) {
    let node = Node::on(&place).await;
    play(&node).await;
    let history = History::new(node.store.clone());
    let at = history.now(&log()).await.unwrap();
    let stream = StreamName::ledger(subject(WHO), &once());
    let events = history.all_events(&log(), &stream, at.position).await.unwrap();
    for kind in LedgerEvent::KINDS {
        assert!(events.iter().any(|event| event.kind == kind.number), "{} is not told", kind.name);
    }
    let explained = history.explain(&code(), subject(WHO), &once(), at.position, 100).await.unwrap();
    let (past, explanation): (_, Explanation) = explained.unwrap();
    assert_eq!(explanation.findings, []);
    let files = [expect_file!["story.en.txt"], expect_file!["story.zh.txt"]];
    for (speaker, file) in speakers().iter().zip(&files) {
        let of = (subject(WHO), once());
        let of = (of.0, of.1.as_str());
        let told = speaker.ledger(code().as_str(), of, Person::Known("oDemo"), at, Some(&past.row), &events);
        let cut = speaker.explanation(&explanation.clone().cut(2));
        check(file, &format!("{told}\n{}\n{cut}", speaker.explanation(&explanation)));
    }
    let json = serde_json::to_string_pretty(&explanation).unwrap();
    check(&expect_file!["story.json"], &format!("{json}\n"));
}

async fn messages_users_and_templates_are_told(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    let history = History::new(node.store.clone());
    let at = history.now(&log()).await.unwrap();
    let code = code();
    let all = async |log: &LogName, stream| history.all_events(log, &stream, at.position).await.unwrap();
    let past = history.message(&log(), message(1), at.position).await.unwrap();
    let own = all(&log(), StreamName::message(message(1))).await;
    let binding = history.binding(&log(), user(2), at.position).await.unwrap();
    let bound = all(&log(), StreamName::binding(user(2))).await;
    let templates = history.templates(&code, at.position).await.unwrap();
    let refreshed = all(&log(), StreamName::channel()).await;
    let keys = node.store.read_stream(&LogName::main(), &StreamName::app(&crate::history::app()), 0, 9).await;
    let files = [expect_file!["others.en.txt"], expect_file!["others.zh.txt"]];
    for (speaker, file) in speakers().iter().zip(&files) {
        let who = |row: &DeliveryRow| {
            let name = (row.index == 0).then(|| "userid zhangsan".to_owned());
            (name, [].as_slice())
        };
        let mut text = speaker.message(code.as_str(), message(1), at, past.as_ref(), &own, who);
        let people = (Person::Known("zhangsan"), Person::Erased);
        text.push_str(&speaker.user(code.as_str(), people, at, binding.as_ref(), &bound));
        text.push_str(&speaker.erased(at.time.unwrap(), "operator:li", "asked by letter"));
        text.push_str(&speaker.nothing_yet(at));
        text.push_str(&speaker.templates(code.as_str(), at, &templates, &refreshed));
        text.push_str(&speaker.events(keys.as_ref().unwrap()));
        text.push_str(&speaker.message(code.as_str(), message(9), at, None, &[], who));
        check(file, &text);
    }
    // An event of a newer version is shown as it is.
    let mut newer = own[0].clone();
    newer.kind = 999;
    newer.data = b"{\"new\":1}".to_vec();
    let told = speakers().map(|speaker| speaker.sentence(&newer));
    assert_eq!(told, [r#"unknown.999 {"new":1}"#, r#"unknown.999 {"new":1}"#]);
    let zone = subledger_audit::history::zone("America/New_York").unwrap();
    let speaker = Speaker { language: Language::of_locale("zh_CN.UTF-8"), zone };
    assert_eq!(speaker.time(own[0].recorded_at).get(19..), Some(".000000-04:00"));
    assert_eq!([Language::of_locale("C.UTF-8"), Language::of_locale("")], [Language::En; 2]);
}
