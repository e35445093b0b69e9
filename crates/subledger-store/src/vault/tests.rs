//! The vault against values that an earlier version sealed, and against itself.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::store::place;

fn fresh(master: &MasterKey) -> KeyRows {
    Fresh::create(master).unwrap().0
}

fn vault(master: &MasterKey, rows: &KeyRows) -> Option<Vault> {
    Vault::unlock(master, rows).unwrap()
}

/// With one more data key.
fn and_another(master: &MasterKey, rows: &KeyRows, id: DataKeyId) -> KeyRows {
    let mut wrapped = rows.wrapped.clone();
    wrapped.push(new_data_key(master, id).unwrap());
    KeyRows { canary: rows.canary.clone(), wrapped }
}

#[test]
fn a_sealed_value_opens_only_in_its_place() {
    let master = MasterKey::from_bytes([7; 32]);
    let vault = vault(&master, &fresh(&master)).unwrap();
    let sealed = vault.seal(&[b"identity", b"mp", b"1"], b"openid").unwrap();
    assert_eq!(vault.open(&[b"identity", b"mp", b"1"], &sealed).unwrap(), b"openid");
    for place in [&[&b"identity"[..], b"mp1", b""], &[b"identity", b"mp", b"2"], &[b"content", b"mp", b"1"]] {
        assert!(matches!(vault.open(place, &sealed), Err(StoreError::Corrupt(_))));
    }
    for length in 0..sealed.len() {
        assert!(vault.open(&[b"identity", b"mp", b"1"], &sealed[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_sealed_value_names_its_data_key_and_costs_what_it_did() {
    let master = MasterKey::from_bytes([7; 32]);
    let rows = and_another(&master, &fresh(&master), 0x0102);
    let sealed = vault(&master, &rows).unwrap().seal(&[b"t"], b"four").unwrap();
    assert_eq!(sealed[..2], [1, 2]);
    assert_eq!(sealed.len(), 24 + 4 + 16);
}

#[test]
fn another_master_key_does_not_unlock() {
    let rows = fresh(&MasterKey::from_bytes([7; 32]));
    assert!(vault(&MasterKey::from_bytes([8; 32]), &rows).is_none());
}

#[test]
fn the_same_keys_wrapped_anew_are_the_same_keys() {
    let (old, new) = (MasterKey::from_bytes([7; 32]), MasterKey::from_bytes([8; 32]));
    let rows = and_another(&old, &fresh(&old), 2);
    let sealed = vault(&old, &rows).unwrap().seal(&[b"t"], b"value").unwrap();
    let wrapped = wrap_all(&rows.wrapped, &old, &new).unwrap();
    assert!(wrapped.iter().all(|key| key.master == new.id()));
    let moved = KeyRows { canary: rows.canary, wrapped };
    assert_eq!(vault(&new, &moved).unwrap().open(&[b"t"], &sealed).unwrap(), b"value");
    assert!(vault(&old, &moved).is_none());
}

#[test]
fn a_wrapped_key_is_bound_to_its_number_and_its_master_key() {
    let master = MasterKey::from_bytes([7; 32]);
    let mut rows = fresh(&master);
    rows.wrapped[1].key = 2;
    assert!(matches!(Vault::unlock(&master, &rows), Err(StoreError::Corrupt(_))));
    let mut rows = fresh(&master);
    rows.wrapped.swap(0, 1);
    rows.wrapped[0].key = 0;
    rows.wrapped[1].key = 1;
    assert!(Vault::unlock(&master, &rows).is_err());
}

#[test]
fn a_value_of_a_data_key_made_since_says_so_until_it_is_taken_up() {
    let master = MasterKey::from_bytes([7; 32]);
    let before = fresh(&master);
    let after = and_another(&master, &before, 2);
    let (slow, quick) = (vault(&master, &before).unwrap(), vault(&master, &after).unwrap());
    let sealed = quick.seal(&[b"t"], b"value").unwrap();
    assert!(matches!(slow.ring().open(&[b"t"], &sealed), Err(NotOpened::UnknownKey(2))));
    assert!(slow.refresh(&after.wrapped).unwrap());
    assert!(!slow.refresh(&after.wrapped).unwrap());
    assert_eq!(slow.open(&[b"t"], &sealed).unwrap(), b"value");
    assert_eq!(slow.ring().current(), 2);
    // Rows that are older, or another master key's, take nothing away.
    assert!(!slow.refresh(&before.wrapped).unwrap());
    assert!(
        !slow.refresh(&wrap_all(&after.wrapped, &master, &MasterKey::from_bytes([8; 32])).unwrap()).unwrap()
    );
    assert_eq!(slow.open(&[b"t"], &sealed).unwrap(), b"value");
}

/// What the version before key ids wrote for the master key of 32 sevens.
mod before_key_ids {
    use super::*;

    const SECRET: &str = "d6875ac9a87efe203bb1d4503e848e60ab56392b07c176d65744f8802e59fc24050ee82979442b1fa621950c7a\
        109c51b5dac8c420b8801b9898b0d23173417bb8ce41a96ed3492e";
    const CANARY: &str = "f9a702b9e1f5f9026d1d46b662378d9c233af92bc28f23f40e9bea00552a6874f9e8dad7461226cad8c91995fc\
        b8c867a294ec44224a00247e91aec12f7b1715";
    const SUBJECT: &str = "d6dd7eebce77d8c03e47ce472ac009c2";
    const USER: &str = "eb332abc6866a4ac179fb2a3926e2a41";
    const PUSHKEY: &str = "07479e5d078fb4bd5a2f02ceccad0826";
    const IDENTITY: &str = "1d4f72acbe339bef340f4f3596e10fd9181f6462b28da3e6f9b0bd3b2cc7e7824bdd295b90d2d1ab20a78d9df3\
        aaebee22ff470d9906ed94e025";
    const USER_IDENTITY: &str = "39e2ef84884028578004c4097a4cfb03b7c8a0973d889e3b0b25b0ec6a690baf77f1b0074fd744bb034c1ba22e\
        740d8e";
    const CONTENT_SHARED: &str = "5aca04718cd3232b82267dc558059a04e5cc07a35a3331a76665ff0063d0f1c8a17760f1f26a14ffe5fb344b68\
        7dd9f1f47a7a7228dd35";
    const CONTENT_OWN: &str = "4888216eb5d25cb8bdd0edfe2edc51054ac4f06bc36c9496e94e8191e10f4841d8ffa56617aa90e0ed1a417440\
        079feef3419a1f";
    const PUSH: &str = "a136a42c4f158952925b1c0f5cb649f0b68fb880304fcf6d7ce15905367c6e07746e9a9d58c1ede3b1c6b6af21\
        f63849a29ab7567f0243fcc1";
    const SECRET_VALUE: &str = "f56e7bc9d18c0b822918c4635e790bac4d39961398b689dddc89dc17b04b1900258ff5ad7e4876fdec59ec7177\
        13409dfe654ee076";
    const SIGNER: &str = "24aadddd7e3aa51873937807c1bf3604aec24249a9c43770cfe149d7e60eb9e3";
    const TOKEN: &str = "e7899a2fdd262a5072637fbaa6066f47697ba6f2d3edbef64ca7a6184d744cab";

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex).unwrap()
    }

    fn sixteen(hex: &str) -> [u8; 16] {
        bytes(hex).try_into().unwrap()
    }

    fn old() -> Vault {
        let master = MasterKey::from_bytes([7; 32]);
        let root = unwrap_legacy(&master, &Legacy(bytes(SECRET))).unwrap().unwrap();
        vault(&master, &KeyRows { canary: bytes(CANARY), wrapped: vec![root] }).unwrap()
    }

    #[test]
    fn another_master_key_does_not_unlock() {
        let other = MasterKey::from_bytes([8; 32]);
        assert!(unwrap_legacy(&other, &Legacy(bytes(SECRET))).unwrap().is_none());
    }

    #[test]
    fn every_hash_is_what_it_was() {
        let vault = old();
        let mp: ChannelCode = "mp".parse().unwrap();
        assert_eq!(
            vault.subject_of(&mp, &"oABCDEFGHIJKLMNOPQ".parse().unwrap()).as_bytes(),
            &sixteen(SUBJECT)
        );
        assert_eq!(vault.user_ref_of(&"zhangsan".parse().unwrap()).as_bytes(), &sixteen(USER));
        assert_eq!(vault.push_key_of(&mp, &[9; 32]).as_bytes(), &sixteen(PUSHKEY));
        assert_eq!(vault.fingerprint_of(b"an-app-secret"), "e967bd22");
        let signer = vault.signer().unwrap();
        assert_eq!(::ring::signature::KeyPair::public_key(&signer).as_ref(), bytes(SIGNER));
        assert!(hmac::verify(vault.user_tokens(), b"a token", &bytes(TOKEN)).is_ok());
    }

    #[test]
    fn every_value_opens_and_also_beside_newer_keys() {
        let master = MasterKey::from_bytes([7; 32]);
        let vault = old();
        let check = || {
            let open = |place: &[&[u8]], sealed: &str| {
                let ring = vault.ring();
                assert_eq!(ring.open(place, &bytes(sealed)).unwrap().0, 0);
                vault.open(place, &bytes(sealed)).unwrap()
            };
            assert_eq!(open(&place::identity("mp", &sixteen(SUBJECT)), IDENTITY), b"oABCDEFGHIJKLMNOPQ");
            assert_eq!(open(&place::user(&sixteen(USER)), USER_IDENTITY), b"zhangsan");
            let (shared, own) = ((-1_i64).to_le_bytes(), 0_i64.to_le_bytes());
            assert_eq!(open(&place::content("mp", &[3; 16], &shared), CONTENT_SHARED), b"shared contents");
            assert_eq!(open(&place::content("mp", &[3; 16], &own), CONTENT_OWN), b"own contents");
            assert_eq!(open(&place::push("mp", &sixteen(PUSHKEY)), PUSH), b"<xml>a push</xml>");
            assert_eq!(open(&place::secret("secret/1"), SECRET_VALUE), b"an-app-secret");
        };
        check();
        // A key whose number is, by chance, how one of the values begins.
        let number = DataKeyId::from_be_bytes([bytes(IDENTITY)[0], bytes(IDENTITY)[1]]);
        let root = unwrap_legacy(&master, &Legacy(bytes(SECRET))).unwrap().unwrap();
        assert!(vault.refresh(&[root, new_data_key(&master, number).unwrap()]).unwrap());
        check();
    }
}

#[test]
fn user_tokens_hold_over_restarts_and_in_no_other_deployment() {
    let master = MasterKey::from_bytes([7; 32]);
    let rows = fresh(&master);
    let (one, again) = (vault(&master, &rows).unwrap(), vault(&master, &rows).unwrap());
    let other = vault(&master, &fresh(&master)).unwrap();
    let signature = hmac::sign(one.user_tokens(), b"a token");
    let holds = |vault: &Vault, token: &[u8], signature: &[u8]| {
        hmac::verify(vault.user_tokens(), token, signature).is_ok()
    };
    assert!(holds(&again, b"a token", signature.as_ref()));
    assert!(!holds(&other, b"a token", signature.as_ref()));
    assert!(!holds(&one, b"another token", signature.as_ref()));
    assert!(!holds(&one, b"a token", &signature.as_ref()[..31]));
}

#[test]
fn hashes_hold_over_restarts_and_differ_between_deployments_and_channels() {
    let master = MasterKey::from_bytes([7; 32]);
    let rows = fresh(&master);
    let (one, again) = (vault(&master, &rows).unwrap(), vault(&master, &rows).unwrap());
    let other = vault(&master, &fresh(&master)).unwrap();
    let (mp, mp2): (ChannelCode, ChannelCode) = ("mp".parse().unwrap(), "mp2".parse().unwrap());
    let openid: Openid = "oABCDEFGHIJKLMNOPQ".parse().unwrap();
    assert_eq!(one.subject_of(&mp, &openid), again.subject_of(&mp, &openid));
    assert_ne!(one.subject_of(&mp, &openid), one.subject_of(&mp2, &openid));
    assert_ne!(one.subject_of(&mp, &openid), other.subject_of(&mp, &openid));
}
