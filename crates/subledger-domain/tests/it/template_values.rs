//! What the linter promises, type by type.

use std::collections::BTreeMap;

use proptest::prelude::*;
use subledger_domain::TemplateKey;
use subledger_domain::template_values::{self, Finding, Rule, Severity, cut, utf16_units, value_type};

use crate::properties::cases;

fn key(name: &str) -> TemplateKey {
    TemplateKey { key: name.to_owned(), label: String::new(), allowed: vec![] }
}

fn lint(name: &str, value: &str) -> Vec<Finding> {
    template_values::lint(&[key(name)], &BTreeMap::from([(name.to_owned(), value.to_owned())]))
}

fn rules(name: &str, value: &str) -> Vec<Rule> {
    lint(name, value).into_iter().map(|finding| finding.rule).collect()
}

#[track_caller]
fn fine(name: &str, values: &[&str]) {
    for value in values {
        assert_eq!(lint(name, value), [], "{name}: {value:?}");
    }
}

#[track_caller]
fn found(name: &str, rule: Rule, values: &[&str]) {
    for value in values {
        assert_eq!(rules(name, value), [rule], "{name}: {value:?}");
    }
}

/// `n` times `c` is fine, one more is too long and blocks.
#[track_caller]
fn at_most(name: &str, c: &str, n: u32) {
    fine(name, &[&c.repeat(n as usize)]);
    let findings = lint(name, &c.repeat(n as usize + 1));
    assert_eq!(findings.len(), 1, "{name}: {findings:?}");
    let first = &findings[0];
    assert_eq!((first.rule, first.limit, first.severity), (Rule::TooLong, Some(n), Severity::Blocking));
    assert!(first.found.starts_with(&format!("{} ", n + 1)), "{}", first.found);
}

#[test]
fn the_type_is_the_key_without_its_trailing_digits() {
    for (key, kind) in [
        ("thing1", "thing"),
        ("number01", "number"),
        ("character_string2", "character_string"),
        ("phone_number4", "phone_number"),
        ("short_thing5", "short_thing"),
        ("thing", "thing"),
        ("12", ""),
    ] {
        assert_eq!(value_type(key), kind);
    }
}

#[test]
fn a_missing_key_and_an_empty_value_block() {
    let keys = [key("thing1"), key("date2")];
    let findings = template_values::lint(&keys, &BTreeMap::from([("date2".to_owned(), String::new())]));
    let seen: Vec<_> = findings.iter().map(|f| (f.key.as_str(), f.rule, f.is_blocking())).collect();
    assert_eq!(seen, [("thing1", Rule::MissingKey, true), ("date2", Rule::EmptyValue, true)]);
}

#[test]
fn white_space_alone_is_suspect_but_not_empty() {
    for blank in [" ", "\u{3000}\u{3000}"] {
        let findings = lint("thing1", blank);
        assert_eq!(
            (findings.len(), findings[0].rule, findings[0].severity),
            (1, Rule::BlankValue, Severity::Advisory)
        );
    }
}

#[test]
fn a_surplus_key_is_advice_and_comes_last() {
    let values =
        BTreeMap::from([("amount9", "x"), ("thing1", "ok")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    let findings = template_values::lint(&[key("thing1"), key("thing2")], &values);
    let seen: Vec<_> = findings.iter().map(|f| (f.key.as_str(), f.rule, f.severity)).collect();
    let expected =
        [("thing2", Rule::MissingKey, Severity::Blocking), ("amount9", Rule::SurplusKey, Severity::Advisory)];
    assert_eq!(seen, expected);
}

#[test]
fn thing() {
    at_most("thing1", "好", 20);
    at_most("thing1", "a", 20);
    fine("thing1", &["订单A-1 已发货!", "😀"]);
}

#[test]
fn a_thing_too_long_comes_with_a_cut() {
    let value = "您的订单已经由快递员送达小区门口的智能柜请及时领取";
    let finding = lint("thing1", value).remove(0);
    assert_eq!(finding.suggestion, "cut it: 您的订单已经由快递员送达小区门口的智能…");
    assert_eq!(finding.found, "25 characters");
    assert_eq!(finding.to_string(), format!("found 25 characters; {}", finding.suggestion));
    assert_eq!(finding.suggestion.trim_start_matches("cut it: ").chars().count(), 20);
}

#[test]
fn a_length_that_depends_on_the_counting_is_advice() {
    let eleven = "😀".repeat(11);
    let findings = lint("thing1", &eleven);
    assert_eq!(findings.len(), 1);
    let first = &findings[0];
    assert_eq!((first.rule, first.severity), (Rule::LengthUncertain, Severity::Advisory));
    assert_eq!(first.found, "11 characters, 22 UTF-16 units");
    fine("thing1", &[&"😀".repeat(10)]);
    found("thing1", Rule::TooLong, &[&"😀".repeat(21)]);
}

#[test]
fn control_characters_are_named_and_located() {
    for (value, what) in [
        ("abcd\nef", "a line break at character 5"),
        ("\r\n好", "a line break at character 1"),
        ("好\t好", "a tab at character 2"),
        ("好\u{2028}好", "a line break at character 2"),
        ("好\u{7}", "the control character U+0007 at character 2"),
    ] {
        let findings = lint("thing1", value);
        assert_eq!(findings.len(), 1, "{value:?}: {findings:?}");
        assert_eq!((findings[0].rule, findings[0].found.as_str()), (Rule::ControlCharacter, what));
        assert_eq!(findings[0].severity, Severity::Advisory);
    }
    assert_eq!(
        rules("phrase1", "好\n"),
        [Rule::ControlCharacter],
        "reported once, not as a wrong alphabet too"
    );
}

#[test]
fn number() {
    fine("number1", &["0", "42", "3.14", "007", &"9".repeat(32), &format!("{}.5", "9".repeat(31))]);
    at_most("number1", "9", 32);
    found("number1", Rule::WrongAlphabet, &["-1", "1,000", "12件", "1e5", "１２"]);
    found("number1", Rule::WrongFormat, &["1.", ".5", "1.2.3"]);
}

#[test]
fn letter() {
    at_most("letter1", "x", 32);
    fine("letter1", &["Hello", "é"]);
    found("letter1", Rule::WrongAlphabet, &["a b", "a1", "好", "a-b"]);
}

#[test]
fn symbol() {
    at_most("symbol1", "#", 5);
    fine("symbol1", &["★", "+-*"]);
    found("symbol1", Rule::WrongAlphabet, &["a", "1", "好"]);
}

#[test]
fn character_string() {
    at_most("character_string1", "A", 32);
    fine("character_string1", &["A-12 #7", "user@example.invalid"]);
    let finding = lint("character_string2", "订单订A单B 1号").remove(0);
    assert_eq!((finding.rule, finding.found.as_str()), (Rule::WrongAlphabet, "'订', '单', '号'"));
    assert!(!finding.is_blocking());
}

#[test]
fn few_offending_characters_are_shown() {
    let finding = lint("character_string2", "一二三四五六七").remove(0);
    assert_eq!(finding.found, "'一', '二', '三', '四', '五' and more");
}

#[test]
fn time() {
    fine(
        "time1",
        &["09:30", "23:59:59", "00:00", "2019年10月1日 15:01", "2025-01-31 09:30:00", "10-01 08:00"],
    );
    fine("time1", &["09:30~10:00", "2025/01/31 09:30 ~ 2025/02/01 10:00", "2025-01-31 09:00~10:00"]);
    found(
        "time1",
        Rule::WrongFormat,
        &["24:00", "9:30", "12:60", "12:00:60", "下午3点", "3:00 PM", "2025-01-31"],
    );
    found(
        "time1",
        Rule::WrongFormat,
        &["09:30~", "~", "09:30~10:00~11:00", "2025-13-01 09:30", "09:30-10:00"],
    );
}

#[test]
fn date() {
    fine("date1", &["2018-01-01", "2018/01/01", "2018.01.01", "2018-01", "01-01", "2018/1/1", "2024-02-29"]);
    fine(
        "date1",
        &["2018年1月1日", "2018年01月", "1月31日", "2018年1月1日 09:30", "2018-01-01 09:30:01", "02-29"],
    );
    fine("date1", &["2018-01-01~2018-01-02", "1月1日 ~ 1月3日", "2018-01-01 09:00~2018-01-01 10:00"]);
    found("date1", Rule::WrongFormat, &["2023-02-29", "2018-13-01", "2018-00-01", "2018-04-31", "20180101"]);
    found(
        "date1",
        Rule::WrongFormat,
        &["2018-01/01", "明天", "18-01-01", "2018年", "1月", "09:30", "2018-01-01T09:30"],
    );
    found(
        "date1",
        Rule::WrongFormat,
        &["2018-01-01 to 2018-01-02", "2018-001-01", "1900-02-29", "-", "年月日"],
    );
}

#[test]
fn amount() {
    fine(
        "amount1",
        &["12", "12.50", "¥12.50", "￥12.50元", "$0.99", "€1", "£1234567890", "12元", "1234567890.123"],
    );
    found(
        "amount1",
        Rule::WrongFormat,
        &["-1", "¥-1", "¥¥1", "1 元", "元", "¥", "1,000", "十元", "USD 5", "12元整"],
    );
    let findings = lint("amount1", "¥12345678901");
    assert_eq!(findings.len(), 1);
    assert_eq!(
        (findings[0].rule, findings[0].limit, findings[0].found.as_str()),
        (Rule::TooLong, Some(10), "11 digits")
    );
    assert!(findings[0].is_blocking());
}

#[test]
fn phone_number() {
    at_most("phone_number1", "1", 17);
    fine("phone_number1", &["+86-0766-66888866", "(010) 1234"]);
    found("phone_number1", Rule::WrongAlphabet, &["1380013800a", "电话1"]);
}

#[test]
fn car_number() {
    fine("car_number1", &["粤A8Z888挂", "粤A12345", "AB1234", "粤"]);
    found("car_number1", Rule::WrongFormat, &["粤粤A1234", "粤A·1234", "A 1234", "粤A1港4"]);
    found("car_number1", Rule::TooLong, &["粤A1234567"]);
}

#[test]
fn name() {
    at_most("name1", "张", 10);
    at_most("name1", "x", 20);
    found("name1", Rule::TooLong, &["张xxxxxxxxxx"]);
    fine("name1", &["张三", "O'Neil", "张-x"]);
    found("name1", Rule::WrongAlphabet, &["张3"]);
    assert_eq!(lint("name1", "张xxxxxxxxxx")[0].limit, Some(10), "a mix counts as Chinese");
}

#[test]
fn phrase() {
    at_most("phrase1", "好", 5);
    found("phrase1", Rule::WrongAlphabet, &["ok", "好!", "好1"]);
}

#[test]
fn enumerations() {
    for name in ["enum1", "enum_string2"] {
        let listed =
            TemplateKey { allowed: vec!["已完成".to_owned(), "制作中".to_owned()], ..key(name) };
        let of = |value: &str| {
            template_values::lint(
                std::slice::from_ref(&listed),
                &BTreeMap::from([(name.to_owned(), value.to_owned())]),
            )
        };
        assert_eq!(of("制作中"), []);
        let finding = of("已取消").remove(0);
        assert_eq!((finding.rule, finding.severity), (Rule::NotInList, Severity::Advisory));
        assert_eq!(finding.found, "a value outside the template's list of 2");
        fine(name, &["anything where WeChat listed nothing, however long"]);
    }
}

#[test]
fn undocumented_types_get_advice_only() {
    for name in ["short_thing5", "const1", "site01"] {
        fine(name, &["短", &"好".repeat(20)]);
        let finding = lint(name, &"好".repeat(21)).remove(0);
        assert_eq!((finding.rule, finding.severity), (Rule::TooLong, Severity::Advisory));
        assert!(lint(name, "")[0].is_blocking(), "empty blocks whatever the type");
    }
    assert_eq!(rules("weather3", "好"), [Rule::UnknownType]);
    assert_eq!(rules("Thing3", "好"), [Rule::UnknownType], "types are spelled in lower case");
    assert_eq!(rules("weather3", &"好".repeat(21)), [Rule::UnknownType, Rule::TooLong]);
    assert!(lint("weather3", &"好\n".repeat(21)).iter().all(|finding| !finding.is_blocking()));
}

#[test]
fn rules_have_stable_names() {
    let names: Vec<_> = Rule::ALL.iter().map(|rule| rule.code()).collect();
    expect_test::expect![[
        r#"["missing_key", "empty_value", "too_long", "length_uncertain", "blank_value", "control_character", "wrong_alphabet", "wrong_format", "not_in_list", "unknown_type", "surplus_key"]"#
    ]]
    .assert_eq(&format!("{names:?}"));
    for rule in Rule::ALL {
        assert_eq!(serde_json::to_value(rule).unwrap(), rule.code());
    }
}

#[test]
fn a_cut_fits_and_ends_between_characters() {
    assert_eq!(cut("short", 20), "short");
    assert_eq!(cut("abcdef", 5), "abcd…");
    assert_eq!(cut("ab  cdef", 4), "ab…");
    assert_eq!(cut("😀😀😀", 4), "😀…");
    assert_eq!(cut("👨\u{200d}👩\u{200d}👧", 4), "👨…");
    assert_eq!(cut("abc", 0), "");
    assert_eq!(cut("abc", 1), "…");
}

const TYPES: [&str; 18] = [
    "thing",
    "number",
    "letter",
    "symbol",
    "character_string",
    "time",
    "date",
    "amount",
    "phone_number",
    "car_number",
    "name",
    "phrase",
    "enum",
    "enum_string",
    "short_thing",
    "const",
    "site",
    "weather",
];

/// Any text, and text made of what the types care about.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9年月日 :~./¥元-]{0,24}",
        "[好张a1-9#\\n😀\u{200d}]{0,40}",
        prop::collection::vec(any::<char>(), 0..60).prop_map(String::from_iter),
    ]
}

proptest! {
    #![proptest_config(cases(2048))]

    #[test]
    fn no_value_makes_the_linter_panic_or_tell(kind in prop::sample::select(&TYPES[..]), value in value()) {
        let name = format!("{kind}1");
        for finding in lint(&name, &value) {
            prop_assert_eq!(&finding.key, &name);
            let certain = matches!(finding.rule, Rule::EmptyValue | Rule::TooLong);
            prop_assert!(!finding.is_blocking() || certain, "{finding:?}");
            prop_assert!(finding.found.chars().count() < 100 && !finding.suggestion.is_empty(), "{finding:?}");
            if value.chars().count() > 12 {
                prop_assert!(!finding.found.contains(&value), "{finding:?}");
                prop_assert!(!finding.suggestion.contains(&value), "{finding:?}");
            }
        }
    }

    #[test]
    fn any_keys_and_values_are_checked(
        keys in prop::collection::vec(any::<String>(), 0..4),
        values in prop::collection::btree_map(any::<String>(), any::<String>(), 0..4),
    ) {
        let keys: Vec<_> = keys.iter().map(|name| key(name)).collect();
        for name in values.keys().filter(|name| !keys.iter().any(|key| key.key == **name)) {
            let surplus = |f: &Finding| f.key == *name && f.rule == Rule::SurplusKey;
            prop_assert!(template_values::lint(&keys, &values).iter().any(surplus));
        }
        let missing = keys.iter().filter(|key| !values.contains_key(&key.key)).count();
        let findings = template_values::lint(&keys, &values);
        prop_assert_eq!(findings.iter().filter(|f| f.rule == Rule::MissingKey).count(), missing);
    }

    #[test]
    fn a_cut_value_is_never_too_long(value in value(), limit in 0..40u32) {
        let short = cut(&value, limit);
        prop_assert!(utf16_units(&short) <= limit as usize);
        prop_assert!(short == value || value.starts_with(short.trim_end_matches('…')));
        prop_assert!(!rules("thing1", &cut(&value, 20)).iter().any(|r| matches!(r, Rule::TooLong | Rule::LengthUncertain)));
    }
}
