//! What kind of place an IP address is.
//!
//! Everything that is not plainly a unicast address of the public Internet has a class, and a class is a reason to refuse.
//! The tables follow IANA's registries of special-purpose addresses; for IPv6 it is the other way round, only what was given
//! out for global unicast (2000::/3) can be public, so that whatever is assigned later begins as refused. The predicates of
//! the standard library would say the same of most ranges, but those that matter are not stable.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// The kinds of address that are not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// The machine itself: 127.0.0.0/8, ::1.
    Loopback,
    /// Private networks: RFC 1918.
    Private,
    /// Private networks of IPv6: fc00::/7.
    UniqueLocal,
    /// Between a carrier's subscribers and its translators: 100.64.0.0/10. Cloud providers use it inside.
    Shared,
    /// For examples in documents.
    Documentation,
    /// For measuring network gear: 198.18.0.0/15. Some proxies hand out made-up addresses from it.
    Benchmarking,
    /// Not given out, or given out for something that is not a host on the Internet.
    Reserved,
    /// Valid on one link only: 169.254.0.0/16, fe80::/10. Never allowed: clouds answer there with credentials.
    LinkLocal,
    /// Where a cloud answers its machines with credentials. Never allowed.
    Metadata,
    /// No address: 0.0.0.0/8, ::. Never allowed, because systems take it for the machine itself.
    Unspecified,
    /// Many hosts at once. Never allowed.
    Multicast,
    /// All hosts of a link: 255.255.255.255. Never allowed.
    Broadcast,
    /// A way through a translator or tunnel (6to4, Teredo, local NAT64, IPv4-compatible) whose far end is an address hidden
    /// inside. Never allowed: no receiver is reached that way today.
    Transition,
}

impl AddressClass {
    /// The stable snake_case word, as used in logs, metrics and errors.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::UniqueLocal => "unique_local",
            Self::Shared => "shared",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Reserved => "reserved",
            Self::LinkLocal => "link_local",
            Self::Metadata => "metadata",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Transition => "transition",
        }
    }

    /// Whether configuration may let such addresses be connected.
    #[must_use]
    pub fn can_be_allowed(self) -> bool {
        match self {
            Self::Loopback
            | Self::Private
            | Self::UniqueLocal
            | Self::Shared
            | Self::Documentation
            | Self::Benchmarking
            | Self::Reserved => true,
            Self::LinkLocal
            | Self::Metadata
            | Self::Unspecified
            | Self::Multicast
            | Self::Broadcast
            | Self::Transition => false,
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(head: [u16; 4], tail: [u16; 4], prefix: u8) -> Ipv6Net {
    let [a, b, c, d] = head;
    let [e, f, g, h] = tail;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// The first that matches counts.
const V4: &[(Ipv4Net, AddressClass)] = &[
    (v4(169, 254, 169, 254, 32), AddressClass::Metadata), // most clouds
    (v4(100, 100, 100, 200, 32), AddressClass::Metadata), // Alibaba Cloud
    (v4(100, 96, 0, 96, 32), AddressClass::Metadata),     // Volcano Engine
    (v4(168, 63, 129, 16, 32), AddressClass::Metadata),   // Azure; looks public
    (v4(192, 0, 0, 192, 32), AddressClass::Metadata),     // Oracle Cloud
    (v4(0, 0, 0, 0, 8), AddressClass::Unspecified),
    (v4(10, 0, 0, 0, 8), AddressClass::Private),
    (v4(100, 64, 0, 0, 10), AddressClass::Shared),
    (v4(127, 0, 0, 0, 8), AddressClass::Loopback),
    (v4(169, 254, 0, 0, 16), AddressClass::LinkLocal),
    (v4(172, 16, 0, 0, 12), AddressClass::Private),
    (v4(192, 0, 0, 0, 24), AddressClass::Reserved), // IETF protocol assignments
    (v4(192, 0, 2, 0, 24), AddressClass::Documentation),
    (v4(192, 88, 99, 0, 24), AddressClass::Transition), // relays of 6to4
    (v4(192, 168, 0, 0, 16), AddressClass::Private),
    (v4(198, 18, 0, 0, 15), AddressClass::Benchmarking),
    (v4(198, 51, 100, 0, 24), AddressClass::Documentation),
    (v4(203, 0, 113, 0, 24), AddressClass::Documentation),
    (v4(224, 0, 0, 0, 4), AddressClass::Multicast),
    (v4(255, 255, 255, 255, 32), AddressClass::Broadcast),
    (v4(240, 0, 0, 0, 4), AddressClass::Reserved),
];

const NONE: [u16; 4] = [0; 4];

/// The first that matches counts. IPv4 in disguise was taken off before.
const V6: &[(Ipv6Net, AddressClass)] = &[
    (v6([0xfd00, 0xec2, 0, 0], [0, 0, 0, 0x254], 128), AddressClass::Metadata), // AWS
    (v6([0xfd20, 0xce, 0, 0], [0, 0, 0, 0x254], 128), AddressClass::Metadata),  // Google Cloud
    (v6([0xfd00, 0xc1, 0, 0], [0, 0, 0xa9fe, 0xa9fe], 128), AddressClass::Metadata), // Oracle Cloud
    (v6(NONE, NONE, 128), AddressClass::Unspecified),
    (v6(NONE, [0, 0, 0, 1], 128), AddressClass::Loopback),
    (v6(NONE, NONE, 96), AddressClass::Transition), // IPv4-compatible
    (v6([0x64, 0xff9b, 1, 0], NONE, 48), AddressClass::Transition), // NAT64 within a network
    (v6([0x2001, 0, 0, 0], NONE, 32), AddressClass::Transition), // Teredo
    (v6([0x2001, 0, 0, 0], NONE, 23), AddressClass::Reserved), // IETF protocol assignments
    (v6([0x2001, 0xdb8, 0, 0], NONE, 32), AddressClass::Documentation),
    (v6([0x2002, 0, 0, 0], NONE, 16), AddressClass::Transition), // 6to4
    (v6([0x3fff, 0, 0, 0], NONE, 20), AddressClass::Documentation),
    (v6([0xfc00, 0, 0, 0], NONE, 7), AddressClass::UniqueLocal),
    (v6([0xfe80, 0, 0, 0], NONE, 10), AddressClass::LinkLocal),
    (v6([0xff00, 0, 0, 0], NONE, 8), AddressClass::Multicast),
];

const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0, 0], NONE, 3);
const MAPPED: Ipv6Net = v6(NONE, [0, 0xffff, 0, 0], 96);
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0], NONE, 96);

/// The address that is really reached: the IPv4 address in an IPv4-mapped one, which sockets treat as the same, and in one of
/// the well-known prefix of NAT64, where translators put it. Every other address as it is.
pub(crate) fn effective(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) if MAPPED.contains(&address) || NAT64.contains(&address) => {
            let [.., a, b, c, d] = address.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        other => other,
    }
}

/// The class of an address; `None` for one of the public Internet.
pub(crate) fn class_of(address: IpAddr) -> Option<AddressClass> {
    match effective(address) {
        IpAddr::V4(address) => V4.iter().find(|(net, _)| net.contains(&address)).map(|(_, class)| *class),
        IpAddr::V6(address) => {
            let known = V6.iter().find(|(net, _)| net.contains(&address)).map(|(_, class)| *class);
            known.or_else(|| (!GLOBAL_UNICAST.contains(&address)).then_some(AddressClass::Reserved))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn word(text: &str) -> &'static str {
        class_of(text.parse().unwrap()).map_or("public", AddressClass::word)
    }

    #[test]
    fn ranges_begin_and_end_where_the_registry_says() {
        let cases = [
            ("0.0.0.0", "unspecified"),
            ("0.255.255.255", "unspecified"),
            ("1.0.0.0", "public"),
            ("9.255.255.255", "public"),
            ("10.0.0.0", "private"),
            ("10.255.255.255", "private"),
            ("11.0.0.0", "public"),
            ("100.63.255.255", "public"),
            ("100.64.0.0", "shared"),
            ("100.96.0.96", "metadata"),
            ("100.100.100.200", "metadata"),
            ("100.127.255.255", "shared"),
            ("100.128.0.0", "public"),
            ("126.255.255.255", "public"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.255", "loopback"),
            ("128.0.0.0", "public"),
            ("168.63.129.15", "public"),
            ("168.63.129.16", "metadata"),
            ("169.253.255.255", "public"),
            ("169.254.0.0", "link_local"),
            ("169.254.0.23", "link_local"),
            ("169.254.169.254", "metadata"),
            ("169.254.255.255", "link_local"),
            ("169.255.0.0", "public"),
            ("172.15.255.255", "public"),
            ("172.16.0.0", "private"),
            ("172.31.255.255", "private"),
            ("172.32.0.0", "public"),
            ("192.0.0.1", "reserved"),
            ("192.0.0.192", "metadata"),
            ("192.0.1.0", "public"),
            ("192.0.2.1", "documentation"),
            ("192.88.99.1", "transition"),
            ("192.167.255.255", "public"),
            ("192.168.0.1", "private"),
            ("192.169.0.0", "public"),
            ("198.17.255.255", "public"),
            ("198.18.0.0", "benchmarking"),
            ("198.19.255.255", "benchmarking"),
            ("198.20.0.0", "public"),
            ("198.51.100.7", "documentation"),
            ("203.0.113.7", "documentation"),
            ("223.255.255.255", "public"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.0", "reserved"),
            ("255.255.255.254", "reserved"),
            ("255.255.255.255", "broadcast"),
        ];
        for (address, expected) in cases {
            assert_eq!(word(address), expected, "{address}");
            let octets = address.parse::<Ipv4Addr>().unwrap();
            assert_eq!(word(&format!("::ffff:{octets}")), expected, "mapped {address}");
            assert_eq!(word(&format!("64:ff9b::{octets}")), expected, "NAT64 {address}");
        }
    }

    #[test]
    fn the_sixth_version_is_refused_but_for_global_unicast() {
        let cases = [
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::2", "transition"),
            ("::127.0.0.1", "transition"),
            ("::8.8.8.8", "transition"),
            ("64:ff9b:1::1", "transition"),
            ("64:ff9b:1:a9fe:a9:fe00::", "transition"),
            ("64:ff9b:2::1", "reserved"),
            ("64:ff9b::1:0:0", "reserved"),
            ("::fffe:7f00:1", "reserved"),
            ("::ffff:0:127.0.0.1", "reserved"),
            ("100::1", "reserved"),
            ("1fff:ffff::1", "reserved"),
            ("2000::1", "public"),
            ("2001::1", "transition"),
            ("2001:0:ffff::1", "transition"),
            ("2001:2::1", "reserved"),
            ("2001:1ff:ffff::1", "reserved"),
            ("2001:200::1", "public"),
            ("2001:4860:4860::8888", "public"),
            ("2001:db7:ffff::1", "public"),
            ("2001:db8::1", "documentation"),
            ("2001:db9::1", "public"),
            ("2002:7f00:1::1", "transition"),
            ("2002:808:808::1", "transition"),
            ("2003::1", "public"),
            ("2408:4001::1", "public"),
            ("3ffe:ffff::1", "public"),
            ("3fff::1", "documentation"),
            ("3fff:fff:ffff::1", "documentation"),
            ("3fff:1000::1", "public"),
            ("4000::1", "reserved"),
            ("5f00::1", "reserved"),
            ("fbff::1", "reserved"),
            ("fc00::1", "unique_local"),
            ("fd00:ec2::254", "metadata"),
            ("fd00:ec2::253", "unique_local"),
            ("fd20:ce::254", "metadata"),
            ("fdff:ffff::1", "unique_local"),
            ("fe00::1", "reserved"),
            ("fe80::1", "link_local"),
            ("febf::1", "link_local"),
            ("fec0::1", "reserved"),
            ("ff02::1", "multicast"),
        ];
        for (address, expected) in cases {
            assert_eq!(word(address), expected, "{address}");
        }
    }
}
