//! Opening the sealed part of a push.
//!
//! AES-256-CBC with the first half of the key for initial vector; inside, 16 random bytes, the length of the message, the
//! message, and an appid; padded to 32 bytes, not to AES' 16, which is why no library's padding is used. The cipher does not
//! authenticate. `msg_signature` does, and it is checked before anything here runs, so an error here is no oracle for
//! anybody who does not have the token.

use aes::Aes256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::{Array, BlockModeDecrypt, KeyIvInit};
use zeroize::Zeroizing;

use super::MAX_BODY_BYTES;
use super::error::{PushError, SealFault};
use super::key::{EncodingAesKey, PushKeys};

/// Sealed contents are padded to a multiple of this.
const UNIT_BYTES: usize = 32;

/// Random bytes in front of each content.
const RANDOM_BYTES: usize = 16;

/// What opened a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpenedWith {
    /// It was not sealed.
    Nothing,
    /// The key in force.
    CurrentKey,
    /// The key before it: WeChat has not yet changed over.
    PreviousKey,
}

/// Opens a sealed part: tries the current key, then the previous one. `tail` is the appid that must stand at the end.
///
/// The caller must have checked `msg_signature` over `encrypt`.
///
/// # Errors
/// [`PushError::Unopened`], [`PushError::WrongTail`]
pub fn unseal(keys: &PushKeys, tail: &str, encrypt: &str) -> Result<(Vec<u8>, OpenedWith), PushError> {
    if MAX_BODY_BYTES < encrypt.len() {
        return Err(PushError::Unopened(SealFault::Length));
    }
    let sealed = STANDARD.decode(encrypt).map_err(|_| PushError::Unopened(SealFault::Base64))?;
    if sealed.is_empty() || sealed.len() % UNIT_BYTES != 0 {
        return Err(PushError::Unopened(SealFault::Length));
    }
    let failed = match unseal_with(&keys.current, tail, &sealed) {
        Ok(content) => return Ok((content, OpenedWith::CurrentKey)),
        Err(fault) => fault,
    };
    let Some(previous) = &keys.previous else { return Err(failed.into()) };
    match unseal_with(previous, tail, &sealed) {
        Ok(content) => Ok((content, OpenedWith::PreviousKey)),
        Err(fault) => Err(fault.max(failed).into()),
    }
}

/// How far a key got; later is further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stopped {
    Seal(SealFault),
    Tail,
}

impl From<Stopped> for PushError {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Seal(fault) => Self::Unopened(fault),
            Stopped::Tail => Self::WrongTail,
        }
    }
}

fn unseal_with(key: &EncodingAesKey, tail: &str, sealed: &[u8]) -> Result<Vec<u8>, Stopped> {
    let mut plain = sealed.to_vec();
    decrypt(key, &mut plain);
    let framed = unpad(&plain).ok_or(Stopped::Seal(SealFault::Padding))?;
    let (message, found) = unframe(framed).ok_or(Stopped::Seal(SealFault::Frame))?;
    if found == tail.as_bytes() { Ok(message.to_vec()) } else { Err(Stopped::Tail) }
}

/// Decrypts in place; bytes beyond the last whole block, of which there are none, stay as they are.
fn decrypt(key: &EncodingAesKey, buffer: &mut [u8]) {
    let key = key.bytes();
    let iv: Zeroizing<[u8; 16]> = Zeroizing::new(std::array::from_fn(|at| key[at]));
    let (blocks, _) = Array::slice_as_chunks_mut(buffer);
    cbc::Decryptor::<Aes256>::new(key.into(), (&*iv).into()).decrypt_blocks(blocks);
}

/// Takes off 1 to 32 bytes that all tell their number.
fn unpad(plain: &[u8]) -> Option<&[u8]> {
    let pad = usize::from(*plain.last()?);
    if pad == 0 || UNIT_BYTES < pad {
        return None;
    }
    let (framed, padding) = plain.split_at_checked(plain.len().checked_sub(pad)?)?;
    padding.iter().all(|byte| usize::from(*byte) == pad).then_some(framed)
}

/// Splits into message and appid.
fn unframe(framed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, rest) = framed.split_at_checked(RANDOM_BYTES)?;
    let (length, rest) = rest.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_padding_of_one_unit_comes_off_and_no_other() {
        for pad in 1..=32_u8 {
            let mut plain = vec![7; 64 - usize::from(pad)];
            plain.resize(64, pad);
            assert_eq!(unpad(&plain).unwrap().len(), 64 - usize::from(pad));
            if pad > 1 {
                plain[64 - usize::from(pad)] ^= 1;
                assert_eq!(unpad(&plain), None, "each of the {pad} bytes counts");
            }
        }
        for plain in [&[][..], &[0; 32], &[33; 64], &[255; 64], &[3, 3]] {
            assert_eq!(unpad(plain), None);
        }
        assert_eq!(unpad(&[32; 32]), Some(&[][..]));
    }

    #[test]
    fn a_length_beyond_the_end_does_not_fit() {
        let frame = |length: u32, rest: &[u8]| [&[0; 16][..], &length.to_be_bytes(), rest].concat();
        assert_eq!(unframe(&frame(2, b"abwx")), Some((&b"ab"[..], &b"wx"[..])));
        assert_eq!(unframe(&frame(4, b"abwx")), Some((&b"abwx"[..], &b""[..])));
        assert_eq!(unframe(&frame(0, b"")), Some((&b""[..], &b""[..])));
        for bad in [frame(5, b"abwx"), frame(u32::MAX, b"abwx"), vec![0; 19], vec![0; 15], vec![]] {
            assert_eq!(unframe(&bad), None);
        }
    }
}
