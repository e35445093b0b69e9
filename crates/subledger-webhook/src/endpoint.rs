//! The check of a URL: when it is configured, and again at every delivery, because the rules may have changed since.
//!
//! What is checked here is what the text says. What a name leads to is checked by [`crate::lookup`] when a connection is made.
//! An address written in the URL never comes to that, so it is judged here, in whatever spelling: the parser, the one the HTTP
//! client uses too, knows the decimal, octal, hexadecimal and shortened forms and turns them all into an address.

use std::fmt;
use std::net::IpAddr;

use url::{Host, ParseError, Url};

use crate::address::AddressClass;
use crate::policy::EgressPolicy;

/// Longest URL, in bytes.
pub const MAX_URL_BYTES: usize = 2048;

/// Why a URL is not accepted. Nothing of the URL is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// Longer than [`MAX_URL_BYTES`].
    #[error("the URL is longer than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// It has spaces, control characters or backslashes, which parsers read in different ways.
    #[error("the URL must not have spaces, control characters or backslashes")]
    Characters,
    /// It does not begin with `https://`, or `http://` where that is allowed.
    #[error("the URL must begin with https://")]
    Scheme,
    /// It begins with `http://`, and the configuration does not allow that.
    #[error("the URL must use https; http is not allowed by configuration")]
    HttpNotAllowed,
    /// It has a user name or a password.
    #[error("the URL must not have a user name or password")]
    UserInfo,
    /// It has a fragment (`#…`), which would never be sent.
    #[error("the URL must not have a fragment")]
    Fragment,
    /// There is no host in it.
    #[error("the URL has no host")]
    NoHost,
    /// Its host is neither a name nor an address.
    #[error("the host of the URL is neither a host name nor an address")]
    Host,
    /// Its port is no number, or one that the configuration does not allow.
    #[error("the port of the URL is not allowed")]
    Port,
    /// Its host is an address that the configuration does not allow.
    #[error("the address in the URL is not allowed: {0}")]
    Address(AddressClass),
    /// It cannot be read for another reason.
    #[error("the URL cannot be read")]
    Unreadable,
}

/// A URL that passed the check of a policy.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
    host: String,
}

impl Endpoint {
    /// The whole URL in its normal form, query included. Not for logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The host alone, as it may be logged and shown.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.host)
    }
}

impl EgressPolicy {
    /// Checks a URL as somebody configured it.
    ///
    /// # Errors
    /// [`UrlRefused`], the first thing that is wrong with it.
    pub fn endpoint(&self, text: &str) -> Result<Endpoint, UrlRefused> {
        if MAX_URL_BYTES < text.len() {
            return Err(UrlRefused::TooLong);
        }
        // A parser of the WHATWG's kind drops some of these and reads others as a slash.
        if text.chars().any(|one| one.is_control() || one.is_whitespace() || one == '\\') {
            return Err(UrlRefused::Characters);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlRefused::Scheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "https" => {}
            "http" if self.allow_http => {}
            "http" => return Err(UrlRefused::HttpNotAllowed),
            _ => return Err(UrlRefused::Scheme),
        }
        // The parser would take further slashes away and find a host behind them.
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() {
            return Err(UrlRefused::NoHost);
        }
        if authority.contains('@') {
            return Err(UrlRefused::UserInfo);
        }
        let url = Url::parse(text).map_err(|error| match error {
            ParseError::EmptyHost => UrlRefused::NoHost,
            ParseError::InvalidPort => UrlRefused::Port,
            ParseError::IdnaError
            | ParseError::InvalidIpv4Address
            | ParseError::InvalidIpv6Address
            | ParseError::InvalidDomainCharacter => UrlRefused::Host,
            _ => UrlRefused::Unreadable,
        })?;
        if url.fragment().is_some() {
            return Err(UrlRefused::Fragment);
        }
        if MAX_URL_BYTES < url.as_str().len() {
            return Err(UrlRefused::TooLong);
        }
        if !url.port_or_known_default().is_some_and(|port| self.ports.allow(port)) {
            return Err(UrlRefused::Port);
        }
        let literal = match url.host().ok_or(UrlRefused::NoHost)? {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
        };
        if let Some(address) = literal {
            self.check_address(None, address).map_err(UrlRefused::Address)?;
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        Ok(Endpoint { url, host })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::policy::{Ports, PrivateAddresses};

    fn http() -> EgressPolicy {
        EgressPolicy { allow_http: true, ..EgressPolicy::default() }
    }

    #[test]
    fn a_good_url_is_accepted_and_its_host_known() {
        let cases = [
            ("https://hooks.example.com/relay?key=1", "hooks.example.com"),
            ("HTTPS://Hooks.Example.COM", "hooks.example.com"),
            ("https://hooks.example.com:8443/a/b", "hooks.example.com"),
            ("https://例子.测试/回调", "xn--fsqu00a.xn--0zwm56d"),
            ("https://8.8.8.8/", "8.8.8.8"),
            ("https://[2001:4860:4860::8888]:9000/", "[2001:4860:4860::8888]"),
            ("https://hooks.example.com/a@b?c@d", "hooks.example.com"),
        ];
        for (text, host) in cases {
            assert_eq!(EgressPolicy::default().endpoint(text).unwrap().host(), host, "{text}");
        }
    }

    #[test]
    fn each_fault_has_its_own_word() {
        use UrlRefused::*;
        let long = format!("https://a.example/{}", "x".repeat(MAX_URL_BYTES));
        // Short as it is written, long as it is sent: each character becomes nine.
        let grown = format!("https://a.example/{}", "好".repeat(600));
        let cases = [
            ("", Scheme),
            ("hooks.example.com", Scheme),
            ("https:hooks.example.com", Scheme),
            ("https:/hooks.example.com", Scheme),
            ("ftp://hooks.example.com", Scheme),
            ("file:///etc/passwd", Scheme),
            ("gopher://hooks.example.com", Scheme),
            ("//hooks.example.com://", Scheme),
            ("http://hooks.example.com", HttpNotAllowed),
            ("HtTp://hooks.example.com", HttpNotAllowed),
            ("https://", NoHost),
            ("https:///path", NoHost),
            ("https://?a", NoHost),
            ("https://#a", NoHost),
            ("https://:443/", NoHost),
            ("https://user@hooks.example.com", UserInfo),
            ("https://user:secret@hooks.example.com", UserInfo),
            ("https://@hooks.example.com", UserInfo),
            ("https://8.8.8.8@127.0.0.1/", UserInfo),
            ("https://hooks.example.com/#part", Fragment),
            ("https://hooks.example.com#", Fragment),
            (" https://hooks.example.com", Characters),
            ("https://hooks.example.com\n", Characters),
            ("ht\ttps://hooks.example.com", Characters),
            ("https://hooks.example.com\\@127.0.0.1", Characters),
            ("https://hooks.example.com/a b", Characters),
            ("https://hooks.example.com/\u{a0}", Characters),
            ("https://hooks.example.com:x/", Port),
            ("https://hooks.example.com:65536/", Port),
            ("https://hooks.example.com:0/", Port),
            ("https://hooks.example.com:25/", Port),
            ("https://hooks.example.com:22/", Port),
            ("https://1.2.3.4.5/", Host),
            ("https://999.1.1.1/", Host),
            ("https://[::1/", Host),
            ("https://[zz]/", Host),
            ("https://a<b/", Host),
            ("https://a%00b/", Host),
            (long.as_str(), TooLong),
            (grown.as_str(), TooLong),
        ];
        for (text, expected) in cases {
            assert_eq!(EgressPolicy::default().endpoint(text).unwrap_err(), expected, "{text:?}");
        }
    }

    #[test]
    fn an_address_is_judged_in_every_spelling() {
        use AddressClass::{Loopback, Metadata, Private, Transition, Unspecified};
        let cases = [
            ("127.0.0.1", Loopback),
            ("127.0.0.1.", Loopback),
            ("127.1", Loopback),
            ("127.0.1", Loopback),
            ("2130706433", Loopback),
            ("0x7f000001", Loopback),
            ("0x7F.0.0.1", Loopback),
            ("0177.0.0.1", Loopback),
            ("017700000001", Loopback),
            ("0x7f.1", Loopback),
            ("127.0.0.0x1", Loopback),
            ("%31%32%37.0.0.1", Loopback),
            ("１２７.０.０.１", Loopback),
            ("127。0。0。1", Loopback),
            ("①②⑦.0.0.1", Loopback),
            ("[::1]", Loopback),
            ("[0:0:0:0:0:0:0:1]", Loopback),
            ("[::ffff:127.0.0.1]", Loopback),
            ("[::ffff:7f00:1]", Loopback),
            ("[0000:0000:0000:0000:0000:ffff:7f00:0001]", Loopback),
            ("[64:ff9b::7f00:1]", Loopback),
            ("[::127.0.0.1]", Transition),
            ("[2002:7f00:1::]", Transition),
            ("0", Unspecified),
            ("0.0.0.0", Unspecified),
            ("[::]", Unspecified),
            ("169.254.169.254", Metadata),
            ("2852039166", Metadata),
            ("0xa9fea9fe", Metadata),
            ("0251.0376.0251.0376", Metadata),
            ("169.254.43518", Metadata),
            ("[::ffff:a9fe:a9fe]", Metadata),
            ("[fd00:ec2::254]", Metadata),
            ("10.1", Private),
            ("0xc0a80101", Private),
        ];
        for (host, class) in cases {
            let url = format!("http://{host}/");
            assert_eq!(http().endpoint(&url).unwrap_err(), UrlRefused::Address(class), "{host}");
        }
    }

    #[test]
    fn configuration_opens_schemes_ports_and_addresses() {
        let open = EgressPolicy {
            private: PrivateAddresses::Only(vec!["127.0.0.1".parse().unwrap()]),
            allow_http: true,
            ports: Ports(vec![25..=25]),
        };
        assert_eq!(open.endpoint("http://0x7f.1:25/").unwrap().as_str(), "http://127.0.0.1:25/");
        assert_eq!(open.endpoint("http://127.0.0.1/").unwrap_err(), UrlRefused::Port);
        assert_eq!(
            open.endpoint("http://127.0.0.2:25/").unwrap_err(),
            UrlRefused::Address(AddressClass::Loopback)
        );
    }

    #[test]
    fn an_endpoint_prints_its_host_and_an_error_nothing() {
        let url = "https://hooks.example.com/path-secret?key=query-secret";
        assert_eq!(
            format!("{:?}", EgressPolicy::default().endpoint(url).unwrap()),
            "Endpoint(hooks.example.com)"
        );
        let error = EgressPolicy::default().endpoint("https://u:pass-secret@hooks.example.com/").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
