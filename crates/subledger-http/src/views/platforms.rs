//! Third-party platforms and authorizations.

use qrcode::{EcLevel, QrCode, render::svg};
use serde::Serialize;
use subledger_domain::Timestamp;
use subledger_engine::platform;
use subledger_store::SecretMark;
use utoipa::ToSchema;

use crate::moment::Moment;

/// Pixels of a QR code's side, at least.
const QR_PIXELS: u32 = 240;

/// What the customer should know before the scan.
const WARNING: &str = "permission set 18 (development and data analysis) is needed. Only one platform can hold it at a time, and \
     while one does, the Mini Program cannot be published through WeChat's own console";

/// A secret, by what may be shown of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlatformSecretView {
    /// Digits by which it is told from another.
    fingerprint: String,
    /// When it was handed in.
    set_at: Moment,
}

impl From<SecretMark> for PlatformSecretView {
    fn from(secret: SecretMark) -> Self {
        Self { fingerprint: secret.fingerprint, set_at: Moment(secret.set_at) }
    }
}

/// How the tickets of a platform come. WeChat pushes one every ten minutes, and takes none older than twelve hours.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TicketView {
    /// `fresh`; `none` (none came yet); `stale` (none for 30 minutes); `dead` (the newest is of no use any more).
    #[schema(example = "fresh")]
    state: &'static str,
    /// When the newest came.
    received_at: Option<Moment>,
    /// How old it is, in seconds.
    age_s: Option<u64>,
    /// How many came.
    received: u64,
    /// When WeChat was last asked to push them.
    asked_at: Option<Moment>,
    /// What to do, if all is not well.
    advice: Option<&'static str>,
}

/// A third-party platform. Its secrets are never shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PlatformView {
    /// Its appid.
    #[schema(example = "wx00000000comp0001")]
    component_appid: String,
    /// A name for people.
    name: String,
    /// Where browsers and WeChat reach this service.
    public_url: String,
    /// To be entered in the open platform's console: the URL for authorization events.
    authorization_url: String,
    /// To be entered in the open platform's console: the URL for messages and events.
    message_url: String,
    /// To be entered in the open platform's console: the domain from whose pages authorizations begin.
    login_domain: String,
    /// Its AppSecret.
    app_secret: PlatformSecretView,
    /// The token of its pushes.
    token: PlatformSecretView,
    /// The key of its pushes.
    encoding_aes_key: PlatformSecretView,
    /// The key before it, which still opens what comes late.
    previous_encoding_aes_key: Option<PlatformSecretView>,
    /// How its tickets come.
    ticket: TicketView,
}

impl From<platform::PlatformView> for PlatformView {
    fn from(view: platform::PlatformView) -> Self {
        let ticket = view.ticket;
        Self {
            authorization_url: view.authorization_url(),
            message_url: view.message_url(),
            login_domain: view.login_domain(),
            component_appid: view.component_appid,
            name: view.name,
            public_url: view.public_url,
            app_secret: view.secret.into(),
            token: view.token.into(),
            encoding_aes_key: view.key.into(),
            previous_encoding_aes_key: view.previous_key.map(Into::into),
            ticket: TicketView {
                state: ticket.state.as_str(),
                received_at: ticket.received_at.map(Moment),
                age_s: ticket.age_s,
                received: ticket.received,
                asked_at: ticket.asked_at.map(Moment),
                advice: ticket.state.advice(),
            },
        }
    }
}

/// An authorization of a channel to a platform.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuthorizationView {
    /// Its id.
    #[schema(value_type = String)]
    id: uuid::Uuid,
    /// The channel that is to be authorized.
    channel: String,
    /// The platform.
    component_appid: String,
    /// `waiting`, `authorized`, `refused` or `expired`.
    #[schema(example = "waiting")]
    status: &'static str,
    /// What to hand out: a page of this service that leads to WeChat's and shows the code for phones. While it waits.
    start_url: Option<String>,
    /// WeChat's page for computers, which shows a code to scan. It opens only from a page of the platform's domain, such as
    /// `start_url`. While it waits.
    pc_url: Option<String>,
    /// The page for phones, to be opened inside WeChat. While it waits.
    h5_url: Option<String>,
    /// `h5_url` as a QR code to be scanned with WeChat, an SVG document. While it waits.
    qr_svg: Option<String>,
    /// What the customer should know before the scan.
    warning: &'static str,
    /// When it was begun.
    created_at: Moment,
    /// Until when the links are good.
    expires_at: Moment,
    /// Seconds until then.
    expires_in: u64,
    /// When it ended.
    ended_at: Option<Moment>,
    /// The Mini Program that was authorized.
    appid: Option<String>,
    /// The permission sets that were granted, by WeChat's numbers.
    permissions: Vec<u32>,
    /// Those that sending needs and that were not: deliveries wait until they are.
    missing: Vec<u32>,
    /// Why it was refused, as a stable word.
    reason: Option<String>,
    /// Why it was refused or what is missing, and what to do.
    detail: Option<String>,
}

impl AuthorizationView {
    pub(crate) fn of(view: platform::AuthorizationView, now: Timestamp) -> Self {
        let outcome = view.outcome.unwrap_or_default();
        let (pc_url, h5_url) = view.links.unzip();
        let left = (view.expires_at.micros() - now.micros()).max(0) / Timestamp::MICROS_PER_SECOND;
        Self {
            id: view.id,
            channel: view.channel.to_string(),
            component_appid: view.component_appid,
            status: view.status.as_str(),
            qr_svg: h5_url.as_deref().and_then(qr_svg),
            start_url: view.start_url,
            pc_url,
            h5_url,
            warning: WARNING,
            created_at: Moment(view.created_at),
            expires_at: Moment(view.expires_at),
            expires_in: u64::try_from(left).unwrap_or(0),
            ended_at: view.ended_at.map(Moment),
            appid: outcome.appid,
            permissions: outcome.permissions,
            missing: outcome.missing,
            reason: outcome.reason,
            detail: outcome.detail,
        }
    }
}

/// A text as a QR code; nothing if it is longer than any code holds.
pub(crate) fn qr_svg(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    Some(code.render::<svg::Color<'_>>().min_dimensions(QR_PIXELS, QR_PIXELS).build())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_link_becomes_a_drawing_and_a_novel_does_not() {
        let link = format!("https://open.weixin.qq.com/wxaopen/safe/bindcomponent?{}", "x".repeat(600));
        let svg = qr_svg(&link).unwrap();
        assert!(svg.contains("<svg") && !svg.contains("bindcomponent"));
        assert_eq!(qr_svg(&"x".repeat(5_000)), None);
    }
}
