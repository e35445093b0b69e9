//! The worked example of `docs/proof.md`, digit by digit.

use ring::signature::{Ed25519KeyPair, KeyPair};
use subledger_domain::{LogName, StreamName, Timestamp};
use subledger_store::{Attestation, ChainCheck, Link, Position, Recorded, SigningKey};

use crate::support::link_of;

const DOCUMENT: &str = include_str!("../../../../docs/proof.md");

fn event() -> Recorded {
    Recorded {
        log: LogName::new("wechatmp123"),
        position: Position(1),
        stream: StreamName::channel(),
        version: 1,
        kind: 13,
        schema: 1,
        recorded_at: Timestamp::from_micros(1_767_225_600_000_000),
        data: br#"{"reason":"maintenance"}"#.to_vec(),
        cause: br#"{"by":"operator:li","command":"pause_channel"}"#.to_vec(),
        link: Link::default(),
    }
}

#[test]
fn the_documented_link_is_the_one_that_is_computed() {
    let mut event = event();
    event.link = Link(link_of(&[0; 32], &event));
    ChainCheck::new().next(&event).unwrap();
    let link = hex::encode(event.link.0);
    assert!(DOCUMENT.contains(&link), "link {link}");
}

#[test]
fn the_documented_signature_is_the_one_that_is_made() {
    let signer = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let signed = Attestation {
        log: LogName::new("wechatmp123"),
        position: Position(1),
        link: Link(link_of(&[0; 32], &event())),
        exported_at: Timestamp::from_micros(1_767_225_601_000_000),
        key: SigningKey(signer.public_key().as_ref().try_into().unwrap()),
        signature: [0; 64],
    };
    let statement = signed.statement();
    let signature: [u8; 64] = signer.sign(&statement).as_ref().try_into().unwrap();
    let digits = [hex::encode(&statement), signed.key.to_string(), hex::encode(signature)];
    for digits in &digits {
        // The document breaks long lines.
        let plain: String = DOCUMENT.split_whitespace().collect();
        assert!(plain.contains(digits.as_str()), "{digits:#?}");
    }
    let signed = Attestation { signature, ..signed };
    signed.verify().unwrap();
    let changes: [fn(&mut Attestation); 6] = [
        |signed| signed.log = LogName::new("wechatmp124"),
        |signed| signed.position.0 += 1,
        |signed| signed.link.0[0] ^= 1,
        |signed| signed.exported_at = Timestamp::from_micros(0),
        |signed| signed.key.0[0] ^= 1,
        |signed| signed.signature[63] ^= 1,
    ];
    for change in changes {
        let mut other = signed.clone();
        change(&mut other);
        assert!(other.verify().is_err(), "{other:?}");
    }
}
