//! Rows of third-party platforms, as both databases give and take them.

/// (component appid, sealed ticket, received at, tickets, asked at)
pub(crate) type PlatformColumns = (String, Option<Vec<u8>>, Option<i64>, i64, Option<i64>);

/// (id, component appid, channel, sealed, created at, expires at, status, outcome, ended at)
pub(crate) type AuthorizationColumns =
    (Vec<u8>, String, String, Option<Vec<u8>>, i64, i64, i64, Option<String>, Option<i64>);

/// (component appid, code hash, sealed, begun here, appid, dated, expires at, status, outcome, tries, due at)
pub(crate) type CodeColumns = (
    String,
    Vec<u8>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<String>,
    i64,
    i64,
    i64,
    Option<String>,
    i64,
    i64,
);

/// (component appid, appid, channel, sealed refresh token, version, obtained at, dated)
pub(crate) type AuthorizerColumns = (String, String, Option<String>, Option<Vec<u8>>, i64, i64, i64);

/// An authorization that begins.
pub(crate) struct AuthorizationWrite<'a> {
    pub(crate) id: [u8; 16],
    pub(crate) component: &'a str,
    pub(crate) channel: &'a str,
    pub(crate) state: [u8; 16],
    pub(crate) preauth: [u8; 16],
    pub(crate) request: Option<[u8; 16]>,
    pub(crate) sealed: &'a [u8],
    pub(crate) expires_at: i64,
}

/// A code that came.
pub(crate) struct CodeWrite<'a> {
    pub(crate) component: &'a str,
    pub(crate) code: [u8; 16],
    pub(crate) sealed: &'a [u8],
    pub(crate) begun: Option<[u8; 16]>,
    pub(crate) appid: Option<&'a str>,
    pub(crate) dated: i64,
    pub(crate) expires_at: i64,
}

/// A refresh token that is written.
pub(crate) struct AuthorizerWrite<'a> {
    pub(crate) component: &'a str,
    pub(crate) appid: &'a str,
    pub(crate) refresh_token: Option<&'a [u8]>,
}
