//! The few text patterns WeChat forces on us.
//!
//! WeChat hides machine-readable facts in prose: the request id and the caller's IP in `errmsg`, the keyword names in a
//! template's `content`. Nothing else may be read from prose; logic is keyed on `errcode`. The patterns are compiled once
//! and kept as options so that no path can panic; a test proves that each compiles.

use std::sync::LazyLock;

use regex::Regex;

/// Three groups after `rid:`, at any place of the text.
static RID: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\brid:\s*([0-9A-Za-z]+-[0-9A-Za-z]+-[0-9A-Za-z]+)").ok());

/// The keyword discovery pattern of the template list.
static KEY: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\{\{\s*([A-Za-z_]+\d+)\.DATA\s*\}\}").ok());

/// The address WeChat saw, in the texts of codes 40164 and 61004.
static IP: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?:invalid ip\s+|requestIP:\s*)([0-9A-Fa-f.:]+)").ok());

fn first<'t>(pattern: &LazyLock<Option<Regex>>, text: &'t str) -> Option<&'t str> {
    let found = pattern.as_ref()?.captures(text)?.get(1)?;
    Some(found.as_str())
}

/// The request id inside an `errmsg`, if there is one. Source: common response rules (developer reports).
pub(crate) fn rid(errmsg: &str) -> Option<&str> {
    first(&RID, errmsg)
}

/// The caller address inside the message of code 40164, or 61004 of a platform, for the operator to put on the allow-list.
/// Source: developer reports; the shape is undocumented, so `None` is normal.
#[must_use]
pub fn caller_ip(errmsg: &str) -> Option<&str> {
    first(&IP, errmsg)
}

/// The keyword names in a template's `content`, in order, each once. Source: template list page.
#[must_use]
pub fn template_keys(content: &str) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    if let Some(pattern) = KEY.as_ref() {
        for found in pattern.captures_iter(content) {
            if let Some(key) = found.get(1)
                && !keys.iter().any(|known| known == key.as_str())
            {
                keys.push(key.as_str().to_owned());
            }
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert!(RID.is_some() && KEY.is_some() && IP.is_some());
    }

    #[test]
    fn a_request_id_is_found_in_the_shapes_seen() {
        let usual = "user refuse to accept the msg rid: 00000010-00000020-00000030";
        assert_eq!(rid(usual), Some("00000010-00000020-00000030"));
        let with_comma = "invalid code, rid:6a0f-1-2 and more";
        assert_eq!(rid(with_comma), Some("6a0f-1-2"));
        assert_eq!(rid("system error hint: [abc]"), None);
        assert_eq!(rid("grid: 1-2-3"), None);
    }

    #[test]
    fn the_caller_address_is_found_for_the_allow_list() {
        let text = "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: 1-2-3";
        assert_eq!(caller_ip(text), Some("203.0.113.9"));
        let platform = "access clientip is not registered requestIP: 203.0.113.9 rid: 1-2-3";
        assert_eq!(caller_ip(platform), Some("203.0.113.9"));
        assert_eq!(caller_ip("invalid appid"), None);
    }

    #[test]
    fn keys_come_in_order_and_once_whatever_the_label_says() {
        let content = "商品:{{thing1.DATA}}\n时间:{{ date2.DATA }}\n码:{{character_string05.DATA}}\n又:{{thing1.DATA}}\n坏:{{thing.DATA}}{{1.DATA}}{{name3}}\n";
        assert_eq!(template_keys(content), ["thing1", "date2", "character_string05"]);
    }
}
