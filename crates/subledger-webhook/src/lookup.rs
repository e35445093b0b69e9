//! From a host name to addresses that may be connected.
//!
//! This is the one place where a name is resolved, and the HTTP client connects to what comes out of it and nothing else.
//! There is no second resolution that could answer differently (DNS rebinding), because the check and the connection use the
//! same answer. A connection that is kept and used again was checked when it was made.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::address::AddressClass;
use crate::policy::EgressPolicy;

/// The addresses of a name, some time.
pub type LookupFuture = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Asks for the addresses of a host name. The process uses [`SystemLookup`]; tests hand in answers of their own.
pub trait Lookup: Send + Sync {
    /// The addresses `host` has now. No answer and an empty answer are the same to the caller.
    fn lookup(&self, host: &str) -> LookupFuture;
}

/// The resolver of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, host: &str) -> LookupFuture {
        let host = host.to_owned();
        Box::pin(async move {
            Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
        })
    }
}

/// A name led to an address that the policy forbids. Names the class and not the address: the outcome is shown to whoever
/// configured the endpoint, who need not learn what names of our network resolve to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host name leads to an address that is not allowed: {0}")]
pub(crate) struct AddressRefused(pub(crate) AddressClass);

/// Resolves for the HTTP client, and lets through what the policy allows.
pub(crate) struct GuardedResolver {
    pub(crate) policy: Arc<EgressPolicy>,
    pub(crate) lookup: Arc<dyn Lookup>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, answer) = (Arc::clone(&self.policy), self.lookup.lookup(name.as_str()));
        Box::pin(async move {
            let addresses = answer.await?;
            if addresses.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into());
            }
            // One forbidden address refuses the name as a whole. To use the others would let the order of an answer decide,
            // and a public name with an address inside is no honest endpoint.
            for address in &addresses {
                policy.check_address(Some(name.as_str()), *address).map_err(AddressRefused)?;
            }
            // The port is a place holder: the client takes that of the URL.
            let checked = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(checked) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::policy::PrivateAddresses;

    struct Fixed(Vec<IpAddr>);

    impl Lookup for Fixed {
        fn lookup(&self, _: &str) -> LookupFuture {
            let answer = self.0.clone();
            Box::pin(async move { Ok(answer) })
        }
    }

    fn resolve(private: PrivateAddresses, answer: &[IpAddr]) -> Option<Vec<IpAddr>> {
        let policy = Arc::new(EgressPolicy { private, ..EgressPolicy::default() });
        let resolver = GuardedResolver { policy, lookup: Arc::new(Fixed(answer.to_vec())) };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let resolved = runtime.block_on(resolver.resolve("hooks.example.com".parse().unwrap()));
        resolved.ok().map(|addresses| addresses.map(|address| address.ip()).collect())
    }

    /// A second judgement, made of bits and of the predicates of the standard library, and stricter than the first: it may
    /// say "forbidden" of a public address but never the other way round.
    fn surely_public(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                let special = address.is_private()
                    || address.is_loopback()
                    || address.is_link_local()
                    || address.is_multicast()
                    || address.is_broadcast()
                    || address.is_documentation()
                    || address.is_unspecified()
                    || a == 0
                    || a >= 224
                    || (a, b & 0xc0) == (100, 64)
                    || (a, b & 0xfe) == (198, 18)
                    || (a, b, c) == (192, 0, 0)
                    || (a, b, c) == (192, 88, 99)
                    || (a, b, c, d) == (168, 63, 129, 16);
                !special
            }
            IpAddr::V6(address) => {
                let segments = address.segments();
                if let Some(inner) = address.to_ipv4_mapped() {
                    return surely_public(inner.into());
                }
                if segments.starts_with(&[0x64, 0xff9b, 0, 0, 0, 0]) {
                    let [.., a, b, c, d] = address.octets();
                    return surely_public(IpAddr::from([a, b, c, d]));
                }
                let [first, second, ..] = segments;
                first >> 13 == 1
                    && first != 0x2002
                    && !(first == 0x2001 && (second < 0x200 || second == 0xdb8))
                    && !(first == 0x3fff && second < 0x1000)
            }
        }
    }

    /// Addresses of which about half lie in or beside a special range.
    fn addresses() -> impl Strategy<Value = IpAddr> {
        let special = prop::sample::select(vec![
            "127.0.0.1",
            "10.0.0.1",
            "100.64.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.0.1",
            "198.18.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "168.63.129.16",
            "224.0.0.1",
            "255.255.255.255",
            "0.0.0.0",
            "8.8.8.8",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002::1",
            "3fff::1",
            "64:ff9b::1",
            "64:ff9b:1::1",
            "2400:3200::1",
        ]);
        let beside = (special, 0..128_u32).prop_map(|(text, bit)| match text.parse().unwrap() {
            IpAddr::V4(address) => IpAddr::V4((address.to_bits() ^ (1 << (bit % 32))).into()),
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() ^ (1 << bit)).into()),
        });
        let any_v4 = any::<u32>().prop_map(|bits| IpAddr::V4(bits.into()));
        let mapped = any::<u32>().prop_map(|bits| IpAddr::V6((0xffff_0000_0000 | u128::from(bits)).into()));
        let translated =
            any::<u32>().prop_map(|bits| IpAddr::V6((0x64_ff9b << 96 | u128::from(bits)).into()));
        let any_v6 = any::<u128>().prop_map(|bits| IpAddr::V6(bits.into()));
        let global_v6 = any::<u128>().prop_map(|bits| IpAddr::V6((bits >> 3 | 1 << 125).into()));
        prop_oneof![4 => beside, 2 => any_v4, 1 => mapped, 1 => translated, 1 => any_v6, 1 => global_v6]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn no_forbidden_address_is_handed_to_the_client(answer in vec(addresses(), 0..4)) {
            match resolve(PrivateAddresses::Refused, &answer) {
                Some(handed) => {
                    prop_assert!(handed.iter().all(|address| surely_public(*address)), "{handed:?}");
                    prop_assert_eq!(handed, answer);
                }
                None => prop_assert!(answer.is_empty() || answer.iter().any(|address| !surely_public(*address)
                    || crate::address::class_of(*address).is_some())),
            }
        }

        #[test]
        fn with_everything_allowed_the_worst_stays_closed(answer in vec(addresses(), 1..4)) {
            if let Some(handed) = resolve(PrivateAddresses::All, &answer) {
                for address in handed {
                    let address = crate::address::effective(address);
                    let worst = match address {
                        IpAddr::V4(v4) => v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || v4.octets()[0] == 0,
                        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified(),
                    };
                    prop_assert!(!worst, "{}", address);
                }
            }
        }
    }
}
