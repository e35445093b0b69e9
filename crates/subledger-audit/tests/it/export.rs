//! Exported files: whole ones are believed, every attack is named, and a database is held to what it once exported.

use std::io::Cursor;

use subledger_audit::proof::{self, Check, ExportError, FileReport, Finding, Options};
use subledger_domain::LogName;
use subledger_store::{Inspector, Position, SigningKey};

use crate::{
    support::{Place, StoppedClock, found, on_both_databases},
    tampering::cut_off,
    world::{log, tell},
};

/// The lines of an export of the channel's log, and the key that signs it.
async fn exported(place: &Place, after: u64) -> (Vec<String>, SigningKey) {
    let store = place.open(&StoppedClock::new()).await;
    let mut out = Vec::new();
    proof::export(&store, &log(), Position(after), &mut out, |_| {}).await.unwrap();
    let key = store.signing_key().unwrap();
    store.close().await;
    (String::from_utf8(out).unwrap().lines().map(str::to_owned).collect(), key)
}

fn check(lines: &[String], key: Option<SigningKey>) -> FileReport {
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    proof::check_file(Cursor::new(text), key).unwrap()
}

async fn an_export_is_believed_and_leads_to_the_same_links(place: Place) {
    let told = tell(&place).await;
    let (lines, key) = exported(&place, 0).await;
    assert_eq!(lines.len(), told.events.len() + 2);
    let report = check(&lines, Some(key));
    assert!(report.clean && report.signer_known, "{:#?}", report.findings);
    let section = &report.sections[0];
    assert_eq!((section.position, section.events), (told.events.len() as u64, told.events.len() as u64));
    assert_eq!(section.link, hex::encode(told.events.last().unwrap().link.0));
    // The text of data and cause is the stored one, byte for byte.
    for (line, event) in lines[1..].iter().zip(&told.events) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["data"].as_str().unwrap().as_bytes(), event.data);
        assert_eq!(line["cause"].as_str().unwrap().as_bytes(), event.cause);
    }
    let without = check(&lines, None);
    assert!(without.clean && !without.signer_known);
    let (tail, _) = exported(&place, 12).await;
    let report = check(&tail, Some(key));
    assert!(report.clean, "{:#?}", report.findings);
    assert_eq!((report.sections[0].after, tail.len()), (12, told.events.len() - 12 + 2));
    let (none, _) = exported(&place, told.events.len() as u64).await;
    assert!(check(&none, Some(key)).clean);
    let both = [lines, tail].concat();
    assert_eq!(check(&both, Some(key)).sections.len(), 2);
}

async fn what_is_broken_is_not_signed(place: Place) {
    let told = tell(&place).await;
    let export = async |place: &Place, log: LogName, after: u64| {
        let store = place.open(&StoppedClock::new()).await;
        let mut out = Vec::new();
        let result = proof::export(&store, &log, Position(after), &mut out, |_| {}).await;
        store.close().await;
        assert!(!String::from_utf8(out).unwrap().contains("signature"));
        result.unwrap_err()
    };
    let end = told.events.len() as u64;
    assert!(matches!(export(&place, LogName::new("nosuch"), 0).await, ExportError::Empty(_)));
    assert!(matches!(export(&place, log(), end + 1).await, ExportError::After { .. }));
    for (sql, at) in [
        ("update event set data = replace(data, 'Alert', 'AlerT') where log = 1 and position = 5", "5"),
        ("delete from event where log = 1 and position = 8", "8"),
        ("update head set link = (select link from event where log = 1 and position = 3) where id = 1", ""),
    ] {
        let copy = place.copy().await;
        copy.tamper(sql).await;
        let error = export(&copy, log(), 0).await;
        let broken = matches!(error, ExportError::Broken(_) | ExportError::NotWhole { .. });
        let text = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        assert!(broken && text.contains(at), "{sql}: {text}");
        copy.remove().await;
    }
}

/// Tampers with the lines; the finding must be the first.
#[track_caller]
fn attack(
    lines: &[String],
    key: SigningKey,
    change: impl FnOnce(&mut Vec<String>),
    expected: (Check, Option<i64>),
) -> Vec<Finding> {
    let mut changed = lines.to_vec();
    change(&mut changed);
    let report = check(&changed, Some(key));
    assert!(!report.clean, "{expected:?}");
    let first = report.first().unwrap();
    assert_eq!((first.check, first.position), expected, "{first}");
    report.findings
}

async fn an_attack_on_a_file_is_named(place: Place) {
    let told = tell(&place).await;
    let (lines, key) = exported(&place, 0).await;
    let end = told.end();
    let last = lines.len() - 1;
    // Line 0 is the header, so the event at position p is line p.
    let replace = |at: usize, from: &'static str, to: &'static str| {
        move |lines: &mut Vec<String>| {
            assert!(lines[at].contains(from), "{}", lines[at]);
            lines[at] = lines[at].replacen(from, to, 1);
        }
    };
    attack(&lines, key, replace(5, "acceptWithAlert", "acceptWithAlerT"), (Check::Chain, Some(5)));
    attack(&lines, key, replace(5, "app:shop", "app:shoq"), (Check::Chain, Some(5)));
    attack(&lines, key, replace(5, "\"schema\":1", "\"schema\":2"), (Check::Chain, Some(5)));
    attack(&lines, key, replace(5, "ledger.granted", "ledger.rejected"), (Check::Format, Some(5)));
    attack(&lines, key, replace(5, "\"log\":\"wechatmp123\"", "\"log\":\"other\""), (Check::Chain, Some(5)));
    attack(&lines, key, replace(5, "{", "{\"more\":1,"), (Check::Format, Some(5)));
    let link = |lines: &mut Vec<String>| {
        let at = lines[5].rfind("\"}").unwrap() - 1;
        let digit = if &lines[5][at..=at] == "0" { "1" } else { "0" };
        lines[5].replace_range(at..=at, digit);
    };
    let both = attack(&lines, key, link, (Check::Chain, Some(5)));
    found(&both, Check::Chain, Some(6));
    attack(&lines, key, |lines| lines.swap(5, 6), (Check::Positions, Some(5)));
    attack(&lines, key, |lines| drop(lines.remove(7)), (Check::Positions, Some(7)));
    attack(&lines, key, |lines| drop(lines.remove(1)), (Check::Positions, Some(1)));
    attack(&lines, key, |lines| drop(lines.remove(last - 1)), (Check::Head, Some(end)));
    attack(&lines, key, |lines| lines.truncate(last), (Check::Head, Some(end + 1)));
    attack(&lines, key, |lines| lines.truncate(8), (Check::Head, Some(8)));
    attack(&lines, key, |lines| drop(lines.remove(0)), (Check::Format, None));
    attack(&lines, key, |lines| lines.clear(), (Check::Format, None));
    attack(&lines, key, |lines| lines.push("{}".into()), (Check::Format, None));
    let cut = |lines: &mut Vec<String>| {
        lines.truncate(9);
        lines[8].truncate(40);
    };
    attack(&lines, key, cut, (Check::Format, Some(8)));
    let time =
        |lines: &mut Vec<String>| lines[last] = lines[last].replace("\"exported_at\":1", "\"exported_at\":2");
    attack(&lines, key, time, (Check::Signature, Some(end)));
    let header = |lines: &mut Vec<String>| lines[0] = lines[0].replace("wechatmp123", "other");
    attack(&lines, key, header, (Check::Format, Some(1)));
}

/// Something that never was an export is said to be none, once; so are lines that stand after the end of a section.
async fn a_file_that_is_no_export_is_said_to_be_none_once(place: Place) {
    let no_exports: [&[u8]; 5] = [
        b"a\nb\nc\n",
        b"{\"level\":\"info\"}\n{\"level\":\"warn\"}\n",
        b"no end of a line",
        b"\n\n\n",
        b"\xff\xfe\0\n\x01\n",
    ];
    for text in no_exports {
        let report = proof::check_file(Cursor::new(text), None).unwrap();
        assert_eq!((report.clean, report.total_findings, report.findings.len()), (false, 1, 1), "{report:?}");
        let said = report.findings[0].to_string();
        for word in ["line 1:", "subledger events 1", "no export of subledger"] {
            assert!(said.contains(word), "{said}");
        }
    }
    tell(&place).await;
    let (mut lines, _) = exported(&place, 0).await;
    let end = lines.len();
    lines.extend((0..50).map(|n| format!("note {n}")));
    let report = check(&lines, None);
    assert_eq!((report.total_findings, report.sections.len()), (1, 1), "{report:?}");
    assert_eq!(report.findings[0].line, Some(end as u64 + 1));
}

/// A file that was cut off and given an end of its own: the end is not signed by the deployment's key.
async fn an_end_of_another_signer_is_named(place: Place) {
    let told = tell(&place).await;
    let (lines, key) = exported(&place, 0).await;
    let stranger = Place::sqlite();
    tell(&stranger).await;
    let (theirs, their_key) = exported(&stranger, 0).await;
    assert_ne!(key, their_key);
    attack(&theirs, key, |_| {}, (Check::Signature, Some(told.end())));
    assert!(check(&theirs, None).clean, "without a key the file vouches for itself");
    let (tail, _) = exported(&place, 20).await;
    let spliced = |lines: &mut Vec<String>| {
        lines.truncate(15);
        lines.push(tail.last().unwrap().clone());
    };
    attack(&lines, key, spliced, (Check::Head, Some(15)));
}

async fn against(place: &Place, lines: &[String], key: SigningKey) -> (bool, Vec<Finding>) {
    let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    let inspector = Inspector::open(&place.url).await.unwrap();
    let compared = proof::compare_with_file(&inspector, Cursor::new(text), Some(key)).await.unwrap();
    inspector.close().await;
    (compared.0.clean, compared.1)
}

async fn a_database_is_held_to_what_it_exported(place: Place) {
    let told = tell(&place).await;
    let (lines, key) = exported(&place, 0).await;
    assert_eq!(against(&place, &lines, key).await, (true, vec![]));

    // Cut off so that nothing in the database betrays it.
    let copy = place.copy().await;
    copy.tamper(&cut_off(&copy, &told)).await;
    let keep = told.end() - 3;
    copy.tamper(&format!("delete from receipt where log = 1 and position > {keep}")).await;
    let blind = Options { skip_read_models: true, ..Options::default() };
    assert!(copy.verify_with(blind.clone()).await.clean);
    let (clean, differences) = against(&copy, &lines, key).await;
    assert!(clean);
    assert_eq!(differences.len(), 1);
    found(&differences, Check::Exported, Some(keep + 1));
    copy.remove().await;

    // Changed and the chain computed anew.
    let copy = place.copy().await;
    let change = "update event set data = replace(data, 'ref-1', 'ref-2') where log = 1 and position = 6";
    copy.tamper(change).await;
    copy.rechain(&log()).await;
    assert!(copy.verify_with(blind).await.clean);
    let (_, differences) = against(&copy, &lines, key).await;
    assert_eq!(differences.len(), 1);
    found(&differences, Check::Exported, Some(6));
    copy.remove().await;

    // Another database altogether.
    let copy = place.copy().await;
    copy.tamper("update head set name = 'other' where id = 1").await;
    let (_, differences) = against(&copy, &lines, key).await;
    found(&differences, Check::Exported, Some(1));
    copy.remove().await;
}

on_both_databases!(
    an_export_is_believed_and_leads_to_the_same_links,
    what_is_broken_is_not_signed,
    an_attack_on_a_file_is_named,
    a_file_that_is_no_export_is_said_to_be_none_once,
    an_end_of_another_signer_is_named,
    a_database_is_held_to_what_it_exported,
);
