//! Generated names: openids, template ids, tokens, codes, rids.
//!
//! Seeded streams are kept apart: what control calls create does not depend on how much traffic ran in between, so a
//! scripted set-up gets the same openids every time; and what a reality leaves to chance depends on neither.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::push::KEY_CHARS;

const URL_SAFE: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const ALNUM: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Letters a canonical base64 text of 16 bytes may end in before its `==`.
const BASE64_TAIL: &[u8] = b"AQgw";
/// Length of an access token; real ones are about this long.
pub(crate) const TOKEN_CHARS: usize = 136;

/// The seeded streams.
#[derive(Debug)]
pub(crate) struct IdSource {
    seed: u64,
    setup: StdRng,
    traffic: StdRng,
    nature: StdRng,
}

impl IdSource {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            setup: StdRng::seed_from_u64(seed),
            traffic: StdRng::seed_from_u64(seed ^ 0x9e37_79b9_7f4a_7c15),
            nature: StdRng::seed_from_u64(seed ^ 0x6a09_e667_f3bc_c908),
        }
    }

    /// 28 characters starting with `o`.
    pub(crate) fn openid(&mut self) -> String {
        openid_from(&mut self.setup)
    }

    /// 28 characters starting with `u`.
    pub(crate) fn unionid(&mut self) -> String {
        format!("u{}", text(&mut self.setup, URL_SAFE, 27))
    }

    /// 43 characters, as a real `priTmplId`.
    pub(crate) fn template_id(&mut self) -> String {
        text(&mut self.setup, URL_SAFE, 43)
    }

    /// A `js_code` of 32 characters.
    pub(crate) fn login_code(&mut self) -> String {
        text(&mut self.setup, ALNUM, 32)
    }

    /// A token for pushes: letters and digits, as the console wants it.
    pub(crate) fn push_token(&mut self) -> String {
        text(&mut self.setup, ALNUM, 16)
    }

    /// An `EncodingAESKey`.
    pub(crate) fn aes_key(&mut self) -> String {
        text(&mut self.setup, ALNUM, KEY_CHARS)
    }

    /// The dice of one push or one act: what is drawn from them does not shift what others draw.
    pub(crate) fn nature(&mut self) -> StdRng {
        StdRng::seed_from_u64(self.nature.random())
    }

    pub(crate) fn access_token(&mut self) -> String {
        format!("90_{}", text(&mut self.traffic, URL_SAFE, TOKEN_CHARS - 3))
    }

    /// A code for one authorization.
    pub(crate) fn pre_auth_code(&mut self) -> String {
        format!("preauthcode@@@{}", text(&mut self.traffic, URL_SAFE, 64))
    }

    /// What a platform trades for an authorization.
    pub(crate) fn authorization_code(&mut self) -> String {
        format!("queryauthcode@@@{}", text(&mut self.traffic, URL_SAFE, 64))
    }

    pub(crate) fn refresh_token(&mut self) -> String {
        format!("refreshtoken@@@{}", text(&mut self.traffic, URL_SAFE, 43))
    }

    /// The dice of one platform's tickets. They go by the clock, so they must not shift what others draw.
    pub(crate) fn ticket_dice(&self, component: &str) -> StdRng {
        let name = component.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        StdRng::seed_from_u64(self.seed ^ name)
    }

    /// Base64 of 16 bytes, as `session_key` is.
    pub(crate) fn session_key(&mut self) -> String {
        format!("{}{}==", text(&mut self.traffic, ALNUM, 21), text(&mut self.traffic, BASE64_TAIL, 1))
    }

    /// Three groups of eight hex digits, which end the `errmsg` of every error.
    pub(crate) fn rid(&mut self) -> String {
        let [a, b, c]: [u32; 3] = self.traffic.random();
        format!("{a:08x}-{b:08x}-{c:08x}")
    }

    /// True with probability `p` (0..=1).
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        p >= 1.0 || self.traffic.random::<f64>() < p
    }
}

/// A `component_verify_ticket`.
pub(crate) fn ticket_from(rng: &mut StdRng) -> String {
    format!("ticket@@@{}", text(rng, URL_SAFE, 86))
}

/// An openid drawn from dice of the caller's own.
pub(crate) fn openid_from(rng: &mut StdRng) -> String {
    format!("o{}", text(rng, URL_SAFE, 27))
}

fn text(rng: &mut StdRng, alphabet: &[u8], length: usize) -> String {
    (0..length).map(|_| char::from(alphabet[rng.random_range(0..alphabet.len())])).collect()
}
