//! WeChat's side of pushes: seals and signs them.
//!
//! Written apart from the code it tests and from the other direction: base64 of the key by hand, cipher blocks chained by
//! hand. Only the AES of one block and SHA-1 are the same.

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use base64::Engine;
use sha1::Digest;

/// The demo settings of all samples.
pub const TOKEN: &str = "demoToken01";
/// The key in force.
pub const KEY: &str = "Qm9vdHN0cmFwRGVtb0tleUZvckxvY2FsU2FuZGJveDc";
/// The key before it.
pub const PREVIOUS_KEY: &str = "UHJldmlvdXNEZW1vS2V5Rm9yTG9jYWxTYW5kYm94MDI";
/// The Mini Program.
pub const APPID: &str = "wx00000000demo0001";

/// Seals a message: the text of `Encrypt`.
pub fn seal(key: &str, tail: &str, random: &[u8; 16], message: &[u8]) -> String {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut plain = [&random[..], &length, message, tail.as_bytes()].concat();
    let pad = 32 - plain.len() % 32;
    plain.resize(plain.len() + pad, pad as u8);
    seal_plain(key, &plain)
}

/// Encrypts whole blocks as they are, right or wrong inside; bytes beyond the last whole block are dropped.
pub fn seal_plain(key: &str, plain: &[u8]) -> String {
    let key = key_bytes(key);
    let cipher = aes::Aes256::new(&key.into());
    let mut last: [u8; 16] = std::array::from_fn(|at| key[at]);
    let mut sealed = Vec::new();
    for block in plain.as_chunks::<16>().0 {
        let mut mixed = std::array::from_fn(|at| block[at] ^ last[at]).into();
        cipher.encrypt_block(&mut mixed);
        last = mixed.into();
        sealed.extend(last);
    }
    base64::engine::general_purpose::STANDARD.encode(sealed)
}

/// SHA-1 over the parts in order, in hexadecimal digits.
pub fn sign(parts: &[&str]) -> String {
    let mut parts = parts.to_vec();
    parts.sort_unstable();
    hex::encode(sha1::Sha1::digest(parts.concat()))
}

/// 43 symbols of six bits; the last two bits go nowhere.
fn key_bytes(text: &str) -> [u8; 32] {
    let symbols = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value = |symbol: u8| symbols.iter().position(|known| *known == symbol).unwrap_or_default();
    let bits: Vec<bool> =
        text.bytes().flat_map(|symbol| (0..6).rev().map(move |bit| value(symbol) >> bit & 1 == 1)).collect();
    std::array::from_fn(|at| (0..8).fold(0, |byte, bit| byte << 1 | u8::from(bits[at * 8 + bit])))
}
