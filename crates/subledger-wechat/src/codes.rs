//! What WeChat's numbers mean.
//!
//! One table ([`table`]) names every code, where that knowledge comes from, and what an operator should do about it; the
//! only logic is [`classify`], which turns a code into what the caller must do. An unknown code is a definite refusal and
//! stays verbatim: retrying what nobody understands would hammer WeChat, calling it unknown would keep a reservation for
//! ever. The class may depend on the call: 40001 means "the secret is wrong" where a secret was presented and "the token is
//! stale" where a token was.

mod table;

use crate::client::Api;
use crate::retry_times::RetryHint;

/// Where the meaning of a code was learnt; the tags of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodeSource {
    /// `D`: A current official page of the call.
    Documented,
    /// `O`: An older edition of an official page.
    OlderDocs,
    /// `S`: Source code of an SDK.
    SdkSource,
    /// `C`: Developer reports.
    Community,
    /// `general`: the general code list, not the page of the call.
    General,
}

/// Why a definite refusal happened, as far as it changes what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalClass {
    /// The openid is wrong or belongs to another Mini Program.
    Recipient,
    /// 43101: nothing left to send with. The three reasons look the same.
    NoPermission,
    /// The values of this message are not acceptable.
    Content,
    /// The template does not exist (any more), belongs elsewhere, or is unusable.
    Template,
    /// The page to open does not exist.
    Page,
    /// Appid, secret or allow-list of the Mini Program need an operator.
    ChannelConfig,
    /// Secret, ticket, allow-list or publication of the third-party platform need an operator. All its channels are affected.
    PlatformConfig,
    /// The account does not let the platform do this, or not any more. Its administrator can mend it by authorizing again, so
    /// what was refused for this alone may wait.
    NotAuthorized,
    /// The authorization code is wrong, used or too old; a new authorization must begin.
    AuthorizationCode,
    /// WeChat stopped the account or the capability; an operator must talk to WeChat.
    ChannelStopped,
    /// The login code is wrong, used or too old; the Mini Program must call `wx.login` again.
    LoginCode,
    /// WeChat judges the user high-risk and blocks the login.
    LoginBlocked,
    /// We sent something malformed.
    Bug,
    /// A code that is not in the table.
    UnknownCode,
}

impl RefusalClass {
    /// The stable snake_case name, as used in metrics and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recipient => "recipient",
            Self::NoPermission => "no_permission",
            Self::Content => "content",
            Self::Template => "template",
            Self::Page => "page",
            Self::ChannelConfig => "channel_config",
            Self::PlatformConfig => "platform_config",
            Self::NotAuthorized => "not_authorized",
            Self::AuthorizationCode => "authorization_code",
            Self::ChannelStopped => "channel_stopped",
            Self::LoginCode => "login_code",
            Self::LoginBlocked => "login_blocked",
            Self::Bug => "bug",
            Self::UnknownCode => "unknown_code",
        }
    }
}

/// What a code asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodeClass {
    /// Done.
    Success,
    /// WeChat asks to try again later; nothing was done.
    TryAgain(RetryHint),
    /// The access token is not accepted (any more): refresh once, retry once.
    StaleToken,
    /// A definite no.
    Refused(RefusalClass),
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeEntry {
    /// WeChat's `errcode`.
    pub code: i64,
    /// Short stable snake_case name.
    pub name: &'static str,
    /// What it asks of the caller of a call that presents an access token; see [`classify`] for the others.
    pub class: CodeClass,
    /// Where the meaning was learnt.
    pub source: CodeSource,
    /// What to do, in English.
    pub advice_en: &'static str,
    /// What to do, in Chinese.
    pub advice_zh: &'static str,
}

/// Every known code, in ascending order.
#[must_use]
pub fn all_codes() -> &'static [CodeEntry] {
    table::TABLE
}

/// The table line of a code, if it is known.
#[must_use]
pub fn lookup(code: i64) -> Option<&'static CodeEntry> {
    table::TABLE
        .binary_search_by_key(&code, |entry| entry.code)
        .ok()
        .and_then(|index| table::TABLE.get(index))
}

/// What a code asks of the caller of `api`. Unknown codes are refusals of class [`RefusalClass::UnknownCode`].
#[must_use]
pub fn classify(api: Api, code: i64) -> CodeClass {
    let Some(entry) = lookup(code) else {
        return CodeClass::Refused(RefusalClass::UnknownCode);
    };
    match entry.class {
        CodeClass::StaleToken if !api.presents_token() => {
            // Token and login calls present the secret. 40001 is documented there as "secret wrong"; 40014 and 42001 make
            // no sense there, and refreshing because a refresh was refused would never end.
            match code {
                40001 if api.presents_platform_secret() => CodeClass::Refused(RefusalClass::PlatformConfig),
                40001 => CodeClass::Refused(RefusalClass::ChannelConfig),
                _ => CodeClass::Refused(RefusalClass::Bug),
            }
        }
        // The AppID and the secret that are wrong here are the platform's.
        CodeClass::Refused(RefusalClass::ChannelConfig) if api.presents_platform_secret() => {
            CodeClass::Refused(RefusalClass::PlatformConfig)
        }
        class => class,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every code of the token table (§1.3) and the send table (§2.3), ranges written out.
    const LISTED: &[i64] = &[
        // §1.3
        -1, 40001, 40002, 40013, 40014, 40125, 40164, 40243, 41001, 41002, 41004, 42001, 42007, 43002, 45009,
        45011, 48001, 48004, 50002, 50004, 50007, 89501, 89502, 89503, 89504, 89505, 89506,
        89507, // §2.3
        0, 40003, 40033, 40037, 40165, 41028, 41029, 41030, 43100, 43101, 43102, 43103, 43104, 43105, 43106,
        43107, 43108, 44002, 45168, 47001, 47002, 47003, 61007,
        // the calls of §4 and §5 that are made
        404, 200_100, 40029, 40163, 40226, 41008, // §9.3 and §9.8
        40097, 40170, 61000, 61001, 61002, 61003, 61004, 61005, 61006, 61008, 61009, 61010, 61011, 61012,
        61013, 61014, 61015, 61016, 61017, 61018, 61019, 61020, 61021, 61022, 61023, 61024, 61025, 61026,
        61027, 61028, 61029, // §10
        48006, 76003, 76021, 76022,
    ];

    #[test]
    fn every_listed_code_is_in_the_table_with_a_meaning_and_advice() {
        for code in LISTED {
            let entry = lookup(*code).unwrap_or_else(|| panic!("{code} is missing"));
            assert!(!entry.name.is_empty(), "{code} has no name");
            assert!(entry.advice_en.len() > 3, "{code} has no English advice");
            assert!(!entry.advice_zh.is_ascii(), "{code} has no Chinese advice");
        }
    }

    #[test]
    fn the_table_holds_nothing_unlisted_and_is_sorted() {
        for entry in all_codes() {
            assert!(LISTED.contains(&entry.code), "{} is unlisted", entry.code);
        }
        let sorted = all_codes().windows(2).all(|pair| matches!(pair, [a, b] if a.code < b.code));
        assert!(sorted, "lookup is a binary search");
    }

    #[test]
    fn sources_follow_the_reference() {
        let source = |code| lookup(code).map(|entry| entry.source);
        // The nine codes of the current send page.
        for code in [40001, 40003, 40014, 40037, 43101, 43107, 43108, 45168, 47003] {
            assert_eq!(source(code), Some(CodeSource::Documented), "{code}");
        }
        for code in [41028, 41029, 41030] {
            assert_eq!(source(code), Some(CodeSource::OlderDocs), "{code}");
        }
        for code in [43100, 43102, 43103, 43104, 43105, 43106] {
            assert_eq!(source(code), Some(CodeSource::SdkSource), "{code}");
        }
        for code in [40165, 42007, 44002, 47001, 47002, 40033, 48001] {
            assert_eq!(source(code), Some(CodeSource::General), "{code}");
        }
    }

    #[test]
    fn the_retry_table_is_followed() {
        let expect = |code, hint| {
            assert_eq!(classify(Api::Send, code), CodeClass::TryAgain(hint), "{code}");
        };
        expect(-1, RetryHint::Backoff);
        expect(43108, RetryHint::SameLane);
        expect(45011, RetryHint::NextMinute);
        expect(45009, RetryHint::NextDay);
        let others = all_codes().iter().filter(|entry| matches!(entry.class, CodeClass::TryAgain(_))).count();
        assert_eq!(others, 4, "nothing else is retried");
    }

    #[test]
    fn a_code_may_mean_different_things_to_different_calls() {
        for code in [40001, 40014, 42001] {
            assert_eq!(classify(Api::Send, code), CodeClass::StaleToken);
            assert_eq!(classify(Api::GetTemplates, code), CodeClass::StaleToken);
        }
        for api in [Api::Token, Api::StableToken, Api::Login] {
            assert_eq!(classify(api, 40001), CodeClass::Refused(RefusalClass::ChannelConfig));
            assert_ne!(classify(api, 42001), CodeClass::StaleToken);
        }
    }

    #[test]
    fn a_platform_s_calls_blame_the_platform() {
        use RefusalClass::{AuthorizationCode, NotAuthorized, PlatformConfig};
        for api in [Api::ComponentToken, Api::StartPushTicket] {
            for code in [40001, 40013, 40125, 40164, 61004, 61005, 61006, 61011] {
                assert_eq!(classify(api, code), CodeClass::Refused(PlatformConfig), "{code}");
            }
        }
        for api in [Api::QueryAuth, Api::AuthorizerToken, Api::AuthorizerInfo, Api::ComponentLogin] {
            for code in [40001, 40014, 42001] {
                assert_eq!(classify(api, code), CodeClass::StaleToken, "{code}");
            }
            for (code, class) in [(61003, NotAuthorized), (61023, NotAuthorized), (61010, AuthorizationCode)]
            {
                assert_eq!(classify(api, code), CodeClass::Refused(class), "{code}");
            }
        }
        for code in [42007, 61003, 61007] {
            assert_eq!(classify(Api::Send, code), CodeClass::Refused(NotAuthorized), "{code}");
        }
    }

    #[test]
    fn an_unknown_code_is_a_definite_refusal() {
        for code in [1, -2, 99_999_999, i64::MIN, i64::MAX] {
            assert_eq!(classify(Api::Send, code), CodeClass::Refused(RefusalClass::UnknownCode));
        }
    }
}
