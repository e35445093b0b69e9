//! No forbidden address is ever connected.
//!
//! A receiver on 0.0.0.0 sees every connection to this machine, whatever address of 127.0.0.0/8 it was made to, and knows
//! which one that was.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use subledger_webhook::{
    AddressClass, Deliverer, DelivererConfig, EgressPolicy, Outcome, PrivateAddresses, Refusal, UrlRefused,
};

use crate::receiver::{Act, Names, Receiver, answer, config, request, status};

/// Stands for an address of the public Internet.
const OUTSIDE: &str = "127.0.0.2";
const INSIDE: &str = "127.0.0.1";

async fn everywhere() -> Receiver {
    Receiver::at("0.0.0.0:0".parse().unwrap(), status(200)).await
}

fn forbidden(class: AddressClass) -> Outcome {
    Outcome::Refused(Refusal::Address(class))
}

#[tokio::test]
async fn a_name_that_turns_inwards_is_refused_at_the_next_connection() {
    // Closes each connection, so that the second delivery has to resolve anew.
    let close = Act::Close(answer(200, "Connection: close\r\n", ""));
    let receiver = Receiver::at("0.0.0.0:0".parse().unwrap(), close).await;
    let names = Names::new(&[&[OUTSIDE], &[INSIDE]]);
    let deliverer = Deliverer::with_lookup(config(&[OUTSIDE]), names.clone()).unwrap();
    let url = format!("http://rebind.example:{}/", receiver.address.port());

    assert_eq!(deliverer.deliver(request(&url)).await, Outcome::Delivered { status: 200 });
    assert_eq!(names.asked().len(), 1, "resolved once for the check and the connection");
    assert_eq!(deliverer.deliver(request(&url)).await, forbidden(AddressClass::Loopback));
    assert_eq!(receiver.accepted(), [OUTSIDE.parse::<IpAddr>().unwrap()]);
}

#[tokio::test]
async fn a_name_with_an_address_inside_is_refused_in_any_order() {
    let receiver = everywhere().await;
    let url = format!("http://mixed.example:{}/", receiver.address.port());
    let cases: [(&[&str], AddressClass); 5] = [
        (&[OUTSIDE, INSIDE], AddressClass::Loopback),
        (&[INSIDE, OUTSIDE], AddressClass::Loopback),
        (&[OUTSIDE, "::1"], AddressClass::Loopback),
        (&["::ffff:127.0.0.1", OUTSIDE], AddressClass::Loopback),
        (&[OUTSIDE, "169.254.169.254"], AddressClass::Metadata),
    ];
    for (answer, class) in cases {
        let deliverer = Deliverer::with_lookup(config(&[OUTSIDE]), Names::new(&[answer])).unwrap();
        assert_eq!(deliverer.deliver(request(&url)).await, forbidden(class), "{answer:?}");
    }
    assert!(receiver.accepted().is_empty());
}

#[tokio::test]
async fn names_of_this_machine_are_refused_by_the_systems_own_resolver() {
    let receiver = everywhere().await;
    let policy = EgressPolicy { allow_http: true, ..EgressPolicy::default() };
    let deliverer = Deliverer::new(DelivererConfig { policy, ..DelivererConfig::default() }).unwrap();
    for host in ["localhost", "LOCALHOST"] {
        let outcome =
            deliverer.deliver(request(&format!("http://{host}:{}/", receiver.address.port()))).await;
        assert_eq!(outcome, forbidden(AddressClass::Loopback), "{host}");
    }
    assert!(receiver.accepted().is_empty());
}

#[tokio::test]
async fn a_host_may_be_allowed_by_its_name() {
    let receiver = everywhere().await;
    let port = receiver.address.port();
    let names = Names::new(&[&[INSIDE]]);
    let deliverer = Deliverer::with_lookup(config(&["relay.internal"]), names).unwrap();
    let to = async |host: &str| deliverer.deliver(request(&format!("http://{host}:{port}/"))).await;
    assert_eq!(to("relay.internal").await, Outcome::Delivered { status: 200 });
    assert_eq!(to("other.internal").await, forbidden(AddressClass::Loopback));
    let literal = Outcome::Refused(Refusal::Url(UrlRefused::Address(AddressClass::Loopback)));
    assert_eq!(to(INSIDE).await, literal);
    assert_eq!(receiver.accepted().len(), 1);
}

#[tokio::test]
async fn a_url_is_checked_again_at_every_delivery() {
    let receiver = everywhere().await;
    let deliverer = Deliverer::new(DelivererConfig::default()).unwrap();
    let outcome = deliverer.deliver(request(&format!("http://{}/", receiver.address))).await;
    assert_eq!(outcome, Outcome::Refused(Refusal::Url(UrlRefused::HttpNotAllowed)));
    assert!(receiver.accepted().is_empty());
}

#[tokio::test]
async fn the_worst_addresses_stay_closed_when_everything_is_allowed() {
    let receiver = everywhere().await;
    let port = receiver.address.port();
    let mut config = config(&[]);
    config.policy.private = PrivateAddresses::All;
    let deliverer = Deliverer::new(config).unwrap();
    for host in ["0.0.0.0", "0", "[::]", "[::ffff:0.0.0.0]", "[::127.0.0.1]", "169.254.169.254"] {
        let outcome = deliverer.deliver(request(&format!("http://{host}:{port}/"))).await;
        assert!(
            matches!(outcome, Outcome::Refused(Refusal::Url(UrlRefused::Address(_)))),
            "{host}: {outcome:?}"
        );
    }
    assert!(receiver.accepted().is_empty());
    let outcome = deliverer.deliver(request(&format!("http://127.0.0.9:{port}/"))).await;
    assert_eq!(outcome, Outcome::Delivered { status: 200 });
}

/// A host that is written somehow and leads to an address of this machine.
#[derive(Debug, Clone)]
struct Spelled {
    host: String,
    address: Ipv4Addr,
}

fn spellings() -> impl Strategy<Value = Spelled> {
    let last = prop_oneof![Just(2_u32), 0..300_u32];
    (last, 0..10_u8).prop_map(|(last, way)| {
        let bits = 0x7f00_0000 + last;
        let address = Ipv4Addr::from(bits);
        let [a, b, c, d] = address.octets();
        let host = match way {
            0 => address.to_string(),
            1 => bits.to_string(),
            2 => format!("0x{bits:x}"),
            3 => format!("0{bits:o}"),
            4 => format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
            5 => format!("0x{a:X}.{last}"),
            6 => format!("{address}."),
            7 => format!("[::ffff:{address}]"),
            8 => format!("[0:0:0:0:0:ffff:{:x}:{:x}]", bits >> 16, bits & 0xffff),
            _ => "name.example".to_owned(),
        };
        Spelled { host, address }
    })
}

#[test]
fn whatever_a_url_says_only_allowed_addresses_are_connected() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let receiver = runtime.block_on(everywhere());
    let port = receiver.address.port();
    let outside: IpAddr = OUTSIDE.parse().unwrap();
    let names = Names::new(&[]);
    // No connection is kept, so that every delivery makes its own.
    let config = DelivererConfig { pool_max_idle_per_host: 0, ..config(&[OUTSIDE]) };
    let deliverer = Deliverer::with_lookup(config, names.clone()).unwrap();
    TestRunner::default()
        .run(&spellings(), |Spelled { host, address }| {
            names.set(address.into());
            let outcome = runtime.block_on(deliverer.deliver(request(&format!("http://{host}:{port}/"))));
            let reached = outcome == Outcome::Delivered { status: 200 };
            prop_assert_eq!(reached, IpAddr::V4(address) == outside, "{:?}", outcome);
            let accepted = receiver.accepted();
            prop_assert!(accepted.iter().all(|to| *to == outside), "{:?}", accepted);
            Ok(())
        })
        .unwrap();
    assert!(!receiver.accepted().is_empty(), "the property is about something");
}
