//! Where connections may go.
//!
//! A URL comes from whoever may configure an endpoint, and the service that calls it stands inside a network that person may
//! not see: without a guard, the relay would be a way in. So the public Internet is allowed, everything else only where the
//! operator's configuration says so, and some places never.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;
use url::Host;

use crate::address::{self, AddressClass};

/// The rules for outgoing connections. The default is the strictest that still is of use: https to public addresses.
#[derive(Debug, Clone, Default)]
pub struct EgressPolicy {
    /// Which addresses outside the public Internet may be connected.
    pub private: PrivateAddresses,
    /// Whether `http` URLs are accepted. Pushes hold personal data, and the signature does not hide it.
    pub allow_http: bool,
    /// Which ports a URL may name.
    pub ports: Ports,
}

/// Which addresses outside the public Internet may be connected. Classes that cannot be allowed
/// ([`AddressClass::can_be_allowed`]) are refused whatever is said here.
#[derive(Debug, Clone, Default)]
pub enum PrivateAddresses {
    /// None.
    #[default]
    Refused,
    /// Those that one of these names.
    Only(Vec<Allowed>),
    /// All. For a service whose every endpoint is configured by people who run the network.
    All,
}

/// One exception of the operator's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// Addresses in this range, by whatever name. An IPv4 range also covers the same addresses written as IPv4-mapped or
    /// translated (NAT64) IPv6.
    Net(IpNet),
    /// Whatever address this host name has at the moment of a delivery: lower case, without a final dot.
    Host(String),
}

/// A text is neither an address, nor a range, nor a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an IP address, a range such as 10.0.0.0/8, or a host name")]
pub struct AllowedError;

impl FromStr for Allowed {
    type Err = AllowedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Net(address::effective(address).into()));
        }
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self::Net(net.trunc()));
        }
        match Host::parse(text) {
            Ok(Host::Domain(name)) if is_plain(&name) => Ok(Self::Host(plain_name(&name))),
            _ => Err(AllowedError),
        }
    }
}

impl Allowed {
    /// Whether the exception covers `address`, reached by the name `host` or by no name.
    fn covers(&self, host: Option<&str>, address: IpAddr) -> bool {
        match self {
            Self::Net(net) => net.contains(&address),
            Self::Host(name) => host.is_some_and(|host| plain_name(host) == *name),
        }
    }
}

/// The ports a URL may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(pub Vec<RangeInclusive<u16>>);

impl Default for Ports {
    /// The ports of http and https, and everything from 1024: below stand services that understand enough of HTTP to be
    /// misused, mail above all.
    fn default() -> Self {
        Self(vec![80..=80, 443..=443, 1024..=u16::MAX])
    }
}

impl Ports {
    pub(crate) fn allow(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }
}

impl EgressPolicy {
    /// Whether an address may be connected. `host` is the name that led to it, `None` for an address written in a URL.
    ///
    /// # Errors
    /// The class of the address that forbids it.
    pub fn check_address(&self, host: Option<&str>, address: IpAddr) -> Result<(), AddressClass> {
        let Some(class) = address::class_of(address) else {
            return Ok(());
        };
        let effective = address::effective(address);
        let allowed = class.can_be_allowed()
            && match &self.private {
                PrivateAddresses::Refused => false,
                PrivateAddresses::Only(allowed) => allowed.iter().any(|one| one.covers(host, effective)),
                PrivateAddresses::All => true,
            };
        if allowed { Ok(()) } else { Err(class) }
    }
}

/// A host name as it is compared: `Example.COM.` and `example.com` are one.
fn plain_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether a name has nothing but what names of hosts are made of. URLs may hold more, `*` for one; here it would look like a
/// pattern and match nothing.
fn is_plain(name: &str) -> bool {
    name.bytes().any(|byte| byte != b'.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn only(rules: &[&str]) -> EgressPolicy {
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        EgressPolicy { private: PrivateAddresses::Only(rules), ..EgressPolicy::default() }
    }

    fn check(policy: &EgressPolicy, host: Option<&str>, address: &str) -> Result<(), &'static str> {
        policy.check_address(host, address.parse().unwrap()).map_err(AddressClass::word)
    }

    #[test]
    fn by_default_only_the_public_internet_is_open() {
        let policy = EgressPolicy::default();
        assert_eq!(check(&policy, None, "8.8.8.8"), Ok(()));
        assert_eq!(check(&policy, Some("localhost"), "127.0.0.1"), Err("loopback"));
        assert_eq!(check(&policy, None, "10.1.2.3"), Err("private"));
    }

    #[test]
    fn an_exception_opens_what_it_names_and_no_more() {
        let policy = only(&["10.1.0.0/16", "192.168.7.7", "fd12::/16", "Relay.Internal."]);
        let name = Some("relay.internal");
        assert_eq!(check(&policy, None, "10.1.255.255"), Ok(()));
        assert_eq!(check(&policy, None, "::ffff:10.1.0.9"), Ok(()));
        assert_eq!(check(&policy, None, "10.2.0.0"), Err("private"));
        assert_eq!(check(&policy, None, "192.168.7.7"), Ok(()));
        assert_eq!(check(&policy, None, "192.168.7.8"), Err("private"));
        assert_eq!(check(&policy, None, "fd12::1"), Ok(()));
        assert_eq!(check(&policy, None, "fd13::1"), Err("unique_local"));
        assert_eq!(check(&policy, name, "172.16.0.1"), Ok(()));
        assert_eq!(check(&policy, Some("relay.internal."), "172.16.0.1"), Ok(()));
        assert_eq!(check(&policy, Some("evil.relay.internal"), "172.16.0.1"), Err("private"));
        assert_eq!(check(&policy, name, "169.254.169.254"), Err("metadata"));
    }

    #[test]
    fn some_places_are_closed_whatever_is_configured() {
        let all = EgressPolicy { private: PrivateAddresses::All, ..EgressPolicy::default() };
        let named = only(&["0.0.0.0/0", "::/0"]);
        for address in [
            "0.0.0.0",
            "::",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "fe80::1",
        ] {
            assert!(check(&all, None, address).is_err(), "{address}");
            assert!(check(&named, None, address).is_err(), "{address}");
        }
        for address in ["127.0.0.1", "::1", "10.0.0.1", "198.18.0.1", "fc00::1", "64:ff9b::10.0.0.1"] {
            assert_eq!(check(&all, None, address), Ok(()), "{address}");
            assert_eq!(check(&named, None, address), Ok(()), "{address}");
        }
    }

    #[test]
    fn exceptions_are_read_from_text() {
        assert_eq!("127.0.0.1".parse::<Allowed>().unwrap(), Allowed::Net("127.0.0.1/32".parse().unwrap()));
        assert_eq!("::ffff:127.0.0.1".parse::<Allowed>().unwrap(), "127.0.0.1".parse().unwrap());
        assert_eq!("10.9.8.7/8".parse::<Allowed>().unwrap(), Allowed::Net("10.0.0.0/8".parse().unwrap()));
        assert_eq!("Hooks.Example".parse::<Allowed>().unwrap(), Allowed::Host("hooks.example".to_owned()));
        for text in
            ["", ".", "10.0.0.0/33", "a b", "http://a", "*.example.com", "host:80", "0x7f.1", "2130706433"]
        {
            assert_eq!(text.parse::<Allowed>(), Err(AllowedError), "{text:?}");
        }
    }
}
