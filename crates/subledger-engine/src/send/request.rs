//! A send request, and what can be checked before anything is looked up.

use serde::Serialize;
use subledger_domain::{Openid, TemplateId, Timestamp, UserId};

use crate::{
    EngineError, FieldError,
    contents::{Language, ProgramState, Values},
    limits,
    submit::pointer_step,
};

/// Who should get the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum To {
    /// A user, by the binding in the channel.
    Userid(UserId),
    /// An openid.
    Openid(Openid),
}

/// One recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipient {
    /// Who.
    pub to: To,
    /// Values of its own; they go over the shared ones, key by key.
    pub data: Values,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendRequest {
    /// Of which template.
    pub template: TemplateId,
    /// To whom: 1 to [`limits::MAX_RECIPIENTS`].
    pub recipients: Vec<Recipient>,
    /// Values shared by all.
    pub data: Values,
    /// The page the card opens, query allowed.
    pub page: Option<String>,
    /// Which version of the Mini Program it opens.
    pub state: ProgramState,
    /// The card's language.
    pub lang: Language,
    /// A delivery not handed over by then ends as expired.
    pub expires_at: Option<Timestamp>,
    /// Makes a repetition harmless.
    pub idempotency_key: Option<String>,
}

/// The part of a request that makes it the same request, for the fingerprint.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    template: &'a TemplateId,
    recipients: &'a [Recipient],
    data: &'a Values,
    page: Option<&'a str>,
    state: ProgramState,
    lang: Language,
    expires_at: Option<Timestamp>,
}

impl SendRequest {
    pub(super) fn body(&self) -> Body<'_> {
        Body {
            template: &self.template,
            recipients: &self.recipients,
            data: &self.data,
            page: self.page.as_deref(),
            state: self.state,
            lang: self.lang,
            expires_at: self.expires_at,
        }
    }

    /// The rules that need no look-up.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), EngineError> {
        let count = self.recipients.len();
        if count == 0 {
            let rule = "must name at least one recipient";
            return Err(EngineError::field("no_recipients", "/recipients", "empty", rule));
        }
        if count > limits::MAX_RECIPIENTS {
            let rule = format!("at most {} recipients in one request; found {count}", limits::MAX_RECIPIENTS);
            return Err(EngineError::field(
                "too_many_recipients",
                "/recipients",
                "too_many_recipients",
                rule,
            ));
        }
        self.check_page()?;
        self.check_expiry(now)?;
        let mut fields = Vec::new();
        check_values("/data", &self.data, &mut fields);
        for (index, recipient) in self.recipients.iter().enumerate().filter(|(_, r)| !r.data.is_empty()) {
            check_values(&format!("/recipients/{index}/data"), &recipient.data, &mut fields);
        }
        if fields.is_empty() {
            return Ok(());
        }
        Err(EngineError { fields, ..EngineError::invalid("bad_values", "some values cannot be sent") })
    }

    fn check_page(&self) -> Result<(), EngineError> {
        let Some(page) = &self.page else { return Ok(()) };
        let count = page.chars().count();
        let plain = !page.chars().any(|c| c.is_control() || c.is_whitespace());
        if count == 0 || count > limits::MAX_PAGE_CHARS || !plain || page.contains("://") {
            let rule = format!(
                "must be a path inside the Mini Program, query allowed, 1 to {} characters without spaces: pages/order/show?id=42",
                limits::MAX_PAGE_CHARS
            );
            return Err(EngineError::field("bad_page", "/page", "page", rule));
        }
        Ok(())
    }

    fn check_expiry(&self, now: Timestamp) -> Result<(), EngineError> {
        let Some(expires_at) = self.expires_at else { return Ok(()) };
        let latest = now.plus_micros(i64::try_from(limits::MAX_EXPIRY.as_micros()).unwrap_or(i64::MAX));
        if expires_at <= now || expires_at > latest {
            let days = limits::MAX_EXPIRY.as_secs() / 86_400;
            let rule = format!("must lie in the future, at most {days} days ahead");
            return Err(EngineError::field("bad_expires_at", "/expires_at", "expires_at", rule));
        }
        Ok(())
    }

    /// When deliveries of this request expire.
    pub(super) fn expiry(&self, now: Timestamp) -> Timestamp {
        let default = i64::try_from(limits::DEFAULT_EXPIRY.as_micros()).unwrap_or(i64::MAX);
        self.expires_at.unwrap_or_else(|| now.plus_micros(default))
    }
}

fn check_values(pointer: &str, values: &Values, fields: &mut Vec<FieldError>) {
    if values.len() > limits::MAX_VALUES {
        let detail = format!("at most {} values; found {}", limits::MAX_VALUES, values.len());
        fields.push(FieldError { pointer: pointer.to_owned(), rule: "too_many_values".to_owned(), detail });
    }
    for (key, value) in values {
        let count = value.chars().count();
        if count > limits::MAX_VALUE_CHARS {
            let detail = format!("at most {} characters; found {count}", limits::MAX_VALUE_CHARS);
            let pointer = format!("{pointer}/{}", pointer_step(key));
            fields.push(FieldError { pointer, rule: "too_long".to_owned(), detail });
        }
    }
}
