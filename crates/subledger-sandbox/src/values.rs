//! What WeChat allows as the value of a keyword (wechat-api §3), written here on its own.
//!
//! The service under test has a validator too; sharing it would hide its mistakes. Length is counted in Unicode scalar
//! values (WeChat does not say). Types missing from the published table get the cautious rule: at most 20 characters.

use std::sync::LazyLock;

use regex::Regex;
use unicode_script::{Script, UnicodeScript};

/// Why a value is refused; the two forms that WeChat's 47003 wording knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadValue {
    Empty,
    Invalid,
}

impl BadValue {
    /// The `errmsg` before its rid. The spelling `emtpy` is WeChat's.
    pub(crate) fn message(self, key: &str) -> String {
        match self {
            Self::Empty => format!("argument invalid! data.{key}.value is emtpy"),
            Self::Invalid => format!("argument invalid! data.{key}.value invalid"),
        }
    }
}

/// Checks `value` for the keyword `key`; `allowed` lists the values of an enum keyword, where known.
pub(crate) fn check_value(key: &str, value: &str, allowed: Option<&[String]>) -> Result<(), BadValue> {
    if value.trim().is_empty() {
        return Err(BadValue::Empty);
    }
    let good = !value.chars().any(char::is_control) && fits(type_of(key), value, allowed);
    if good { Ok(()) } else { Err(BadValue::Invalid) }
}

/// The type of a key: the key without its trailing digits.
fn type_of(key: &str) -> &str {
    key.trim_end_matches(|c: char| c.is_ascii_digit())
}

fn fits(kind: &str, value: &str, allowed: Option<&[String]>) -> bool {
    let count = value.chars().count();
    match kind {
        "number" => matches(&NUMBER, value) && value.chars().filter(char::is_ascii_digit).count() <= 32,
        "letter" => count <= 32 && value.chars().all(|c| c.is_ascii_alphabetic()),
        "symbol" => count <= 5 && value.chars().all(is_symbol),
        "character_string" => count <= 32 && !value.chars().any(is_han),
        "time" => matches(&TIME, value),
        "date" => matches(&DATE, value),
        "amount" => matches(&AMOUNT, value),
        "phone_number" => {
            let ok = |c: char| c.is_ascii_digit() || c.is_ascii_punctuation() || c == ' ';
            count <= 17 && value.chars().all(ok) && value.chars().any(|c| c.is_ascii_digit())
        }
        "car_number" => count <= 8 && is_car_number(value),
        "name" => {
            let limit = if value.chars().any(is_han) { 10 } else { 20 };
            count <= limit && !value.chars().any(|c| c.is_ascii_digit())
        }
        "phrase" => count <= 5 && value.chars().all(is_han),
        "enum" | "enum_string" => match allowed {
            Some(values) => values.iter().any(|v| v == value),
            None => count <= 20,
        },
        _ => count <= 20,
    }
}

/// First and last may be Han, the rest letters and digits.
fn is_car_number(value: &str) -> bool {
    let last = value.chars().count().saturating_sub(1);
    value.chars().enumerate().all(|(i, c)| c.is_ascii_alphanumeric() || ((i == 0 || i == last) && is_han(c)))
}

fn is_han(c: char) -> bool {
    c.script() == Script::Han
}

/// An ordinary symbol: neither Han, letter nor digit (wechat-api §3, shared notes).
fn is_symbol(c: char) -> bool {
    !c.is_alphanumeric() && !is_han(c)
}

fn matches(pattern: &LazyLock<Option<Regex>>, value: &str) -> bool {
    pattern.as_ref().is_some_and(|p| p.is_match(value))
}

const CLOCK: &str = r"(?:[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?";
const DAY: &str = concat!(
    r"(?:[0-9]{4}年[0-9]{1,2}月(?:[0-9]{1,2}日)?|[0-9]{1,2}月[0-9]{1,2}日",
    r"|[0-9]{4}[-/.][0-9]{1,2}(?:[-/.][0-9]{1,2})?|[0-9]{1,2}[-/.][0-9]{1,2})"
);

static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[0-9]+(?:\.[0-9]+)?$").ok());
static AMOUNT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^\p{Sc}?[0-9]{1,10}(?:\.[0-9]+)?元?$").ok());
static TIME: LazyLock<Option<Regex>> = LazyLock::new(|| range_of(&format!("(?:{DAY} ?)?{CLOCK}")));
static DATE: LazyLock<Option<Regex>> =
    LazyLock::new(|| range_of(&format!("{DAY}(?: ?{CLOCK})?(?: ?~ ?{CLOCK})?")));

/// One point, or two joined by `~`.
fn range_of(point: &str) -> Option<Regex> {
    Regex::new(&format!("^{point}(?: ?~ ?{point})?$")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_the_published_table() {
        let levels = ["银".to_owned(), "金".to_owned()];
        let good = [
            ("thing1", "二十个字以内的混合 abc-123。"),
            ("number2", "12345678901234567890123456789012"),
            ("number2", "3.14"),
            ("letter3", "abcXYZ"),
            ("symbol4", "¥#!?~"),
            ("character_string5", "A-1029/b"),
            ("time6", "23:59"),
            ("time6", "2030年1月2日 09:30:00~10:00"),
            ("date7", "2030-01-02"),
            ("date7", "2030年1月2日 09:30"),
            ("date7", "2030.01.02~2030.01.05"),
            ("amount8", "¥1234567890.55"),
            ("amount8", "12元"),
            ("phone_number9", "+86-0766-66888866"),
            ("car_number10", "粤A8Z888挂"),
            ("name11", "十个汉字以内的名字啊"),
            ("name11", "Abcdefghij Klmnopqrs"),
            ("phrase12", "待自取"),
            ("enum_string13", "金"),
            ("short_thing14", "x"),
        ];
        for (key, value) in good {
            assert_eq!(check_value(key, value, Some(&levels)), Ok(()), "{key} {value}");
        }
    }

    #[test]
    fn values_outside_the_table_are_invalid() {
        let levels = ["银".to_owned()];
        let bad = [
            ("thing1", "这一句话一共有二十一个字所以它就是太长了一点"),
            ("thing1", "a\nb"),
            ("number2", "123456789012345678901234567890123"),
            ("number2", "-1"),
            ("letter3", "ab1"),
            ("symbol4", "a"),
            ("symbol4", "######"),
            ("character_string5", "编号1"),
            ("time6", "24:00"),
            ("time6", "明天"),
            ("date7", "soon"),
            ("amount8", "-5"),
            ("amount8", "12345678901"),
            ("phone_number9", "123456789012345678"),
            ("phone_number9", "电话1"),
            ("car_number10", "粤A汉8888"),
            ("name11", "这个名字超过了十个汉字"),
            ("name11", "Abcdefghij Klmnopqrst"),
            ("name11", "abc1"),
            ("phrase12", "abc"),
            ("phrase12", "六个汉字太长"),
            ("enum_string13", "铜"),
            ("unheard15", "123456789012345678901"),
        ];
        for (key, value) in bad {
            assert_eq!(check_value(key, value, Some(&levels)), Err(BadValue::Invalid), "{key} {value}");
        }
        assert_eq!(check_value("thing1", "", None), Err(BadValue::Empty));
    }
}
