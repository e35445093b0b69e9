//! Signing and sealing of pushes (wechat-api §8), written here on its own: the service under test has code for the other
//! direction, and an oracle that shared it would share its mistakes.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD};
use cbc::cipher::{Array, BlockModeEncrypt, KeyIvInit};
use sha1::{Digest, Sha1};

/// Length of an `EncodingAESKey`.
pub(crate) const KEY_CHARS: usize = 43;
/// Padding goes to whole blocks of this size, twice the cipher's own.
const PADDING_BLOCK: usize = 32;

/// 43 characters carry 258 bits; the last two are whatever was drawn, and strict decoders refuse them.
const LAX: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));

/// The key behind an `EncodingAESKey`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AesKey([u8; 32]);

impl std::fmt::Debug for AesKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AesKey")
    }
}

impl AesKey {
    /// Reads 43 letters and digits; anything else is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != KEY_CHARS || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        LAX.decode(text).ok()?.try_into().ok().map(Self)
    }
}

/// The signature: SHA-1 over the parts, sorted as text and joined.
pub(crate) fn sign(parts: &[&str]) -> String {
    let mut sorted = parts.to_vec();
    sorted.sort_unstable();
    hex::encode(Sha1::digest(sorted.concat().as_bytes()))
}

/// What stands in `Encrypt`: random, length, message and appid, padded, encrypted and in base64.
pub(crate) fn seal(key: &AesKey, random: [u8; 16], message: &[u8], appid: &str) -> String {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut plain = [&random[..], &length, message, appid.as_bytes()].concat();
    let pad = PADDING_BLOCK - plain.len() % PADDING_BLOCK;
    plain.resize(plain.len() + pad, u8::try_from(pad).unwrap_or(0));
    let mut iv = [0; 16];
    iv.copy_from_slice(&key.0[..16]);
    let mut cipher = cbc::Encryptor::<aes::Aes256>::new(&Array(key.0), &Array(iv));
    let (blocks, _) = Array::slice_as_chunks_mut(&mut plain);
    cipher.encrypt_blocks(blocks);
    STANDARD.encode(&plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const CURRENT: &str = "Qm9vdHN0cmFwRGVtb0tleUZvckxvY2FsU2FuZGJveDc";
    const PREVIOUS: &str = "UHJldmlvdXNEZW1vS2V5Rm9yTG9jYWxTYW5kYm94MDI";
    const APP: &str = "wx00000000demo0001";

    /// Key, random, message, tail, and the `Encrypt` they give.
    struct Sealed(&'static str, &'static str, &'static str, &'static str, &'static str);

    const POPUP: &str = r#"{"ToUserName":"gh_demo00000001","FromUserName":"oDEMO_user_000000000000000_A","CreateTime":1790000001,"MsgType":"event","Event":"subscribe_msg_popup_event","List":{"TemplateId":"TPL_demo_order_ready_000000000000000000_001","SubscribeStatusString":"accept","PopupScene":"0"}}"#;
    const TICKET: &str = "<xml><AppId><![CDATA[wx00000000comp0001]]></AppId><CreateTime>1790000100</CreateTime><InfoType><![CDATA[component_verify_ticket]]></InfoType><ComponentVerifyTicket><![CDATA[ticket@@@demo-0001]]></ComponentVerifyTicket></xml>";

    #[test]
    fn sealing_gives_the_vectors() {
        let all_a = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for Sealed(key, random, message, tail, encrypt) in [
            Sealed(
                CURRENT,
                "demo0000rand0001",
                POPUP,
                APP,
                "PH/AZ0AUqvVvb7gbtnMaYMDLH7NcEImKd2X64yV0sbXveq06sXNt801b09aG3HkMuOBGzNnFQ242GcTpTPHOGzo+lofxH3EEUN1P3CJpA/48oqOvi4zn6/NRtf8wNMRXfKNTgcST8IuWgWlzH0jm89o81FzFaRXc6S7h/V/TGUB+H6SSXOXDMQv/uMjBk3CKfZfUQHKruS+vERHr/GgBdz3LRRLP0bmJ1uDkEATNjcwlo3msH4hrjID1R41hUnPMSbiape/RjjKsI2v87oIuqU3PGIs6TpPkxVzclpKV2lsiMNF5UkPzN3SM6ijoJRpGoxpZXIs3RlPE4N3o2Mj5oEtZd4gcb+V+Djc58hD4+++pUFRBX/E3tvlfa4P5ITeMG/+EAdoGCM1KcYt+fc0546mYka2F7fqoqnjnIZ4M+xo=",
            ),
            Sealed(
                CURRENT,
                "demo0000rand0002",
                TICKET,
                "wx00000000comp0001",
                "/JTVa5qxLfg+peDk7weAKn6HvqoLTh40R9VzLYO+xlm4pPW/22a9AGcQj2/ohHsmZbiZ919wlUMvOtQSN/Ub2krb0QfylWm4bKLH0jzmOfssjVzrFMPkyoLUoOXV/sorJwcNoaDErARXqcnbvlZzj379VEag/B4SDtFP9PKgHFVpZLaONH+H7hrp+ST+bElYHuxO9EKDeKu0yOB8fgvWRD0+VZY7SgbLPUg7tLDSDfI+TA/VyUF3dEoc6FxcUUY4+m0NlAhBtM3IpZUcP4U2Q0mf2rCds6h/4wfwwB48VEwRDogvNM2hMxopM4FuQATgyJYeJIScvKJMelnx95sDdvYJ4BmkHlvcP2lOifGPfhDufhW9l41m0bfIh6lVTZai",
            ),
            Sealed(
                CURRENT,
                "demo0000rand0003",
                "success",
                APP,
                "DNzCioWjCTtdpp3AiDLoipP901yncd8aU0wtU5QaBHI5kSzVJ0slmgM2YDoIHbVMYyc5lNICBIZA725ePxnoBA==",
            ),
            Sealed(
                PREVIOUS,
                "demo0000rand0004",
                "xxxxxxxxxxxxxxxxxxxxxxxxxx",
                APP,
                "nXvdjPYOhIEHXPsc0wMSrfFF3mb3qrUqHkEWpH5lQTfgx9rsU4rE9FregIlaDLuo5tYWMUDKvrKez3yjQ+3ODMVJguEM55M+RHRIvjuCRC4LJGSpI3ITK8nHRJcQ6Mo5",
            ),
            // Published vectors (wechat-api §12): V4, V6, V7.
            Sealed(
                all_a,
                "707722b803182950",
                r#"{"demo_resp":"good luck"}"#,
                "wxba5fad812f8e6fb9",
                "ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm48Y4hyRbtzve1L32tmxSQ==",
            ),
            Sealed(
                all_a,
                "999951349e8ee746",
                "<xml><demo_resp>[CDATA[good luck]]</demo_resp></xml>",
                "wx134c8103faa5a59e",
                "hE8R6mGXHkJJjU72KxzKUd1GEkKJaEZq7vRL8XgK3o+00k8JGq6+pZJUIlTSyhsX+bxIBQ72g3GyvDdIZcr6+3HAZbSvPT9t/o11MI7d6WELwqrGd7jMnV0zv3Zc9Nq7",
            ),
            Sealed(
                "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
                "aaaabbbbccccdddd",
                "我是中文abcd123",
                "wxb11529c136998cb6",
                "jn1L23DB+6ELqJ+6bruv21Y6MD7KeIfP82D6gU39rmkgczbWwt5+3bnyg5K55bgVtVzd832WzZGMhkP72vVOfg==",
            ),
        ] {
            let key = AesKey::parse(key).unwrap();
            let random = random.as_bytes().try_into().unwrap();
            assert_eq!(seal(&key, random, message.as_bytes(), tail), encrypt, "{message}");
        }
    }

    #[test]
    fn signatures_are_those_of_the_vectors() {
        let token = "demoToken01";
        for (parts, want) in [
            (["1790000000", "100200300"], "c528c5e195199fea8804fe6fe90612e953b8bcf1"),
            (["1790000001", "200300400"], "21ef483185f6abe4c86d6d4fbba0d877e4397fb8"),
            (["1790000100", "500600700"], "8c26d47de328494407d7006140012d14450ddf19"),
            (["1790000002", "800900100"], "3813770035b3f02362fbcf57e6957ed9d7a7fe35"),
            (["1790000003", "111222333"], "a322aa7440d6b1cefb0ddfd81159a2351f5cb0d5"),
        ] {
            assert_eq!(sign(&[token, parts[0], parts[1]]), want);
        }
        assert_eq!(sign(&["AAAAA", "1714036504", "1514711492"]), "f464b24fc39322e44b38aa78f5edd27bd1441696");
        assert_eq!(sign(&["AAAAA", "1714037059", "486452656"]), "899cf89e464efb63f54ddac96b0a0a235f53aa78");
        let key = AesKey::parse(PREVIOUS).unwrap();
        let encrypt = seal(&key, *b"demo0000rand0004", b"xxxxxxxxxxxxxxxxxxxxxxxxxx", APP);
        let signed = sign(&[token, "1790000003", "111222333", &encrypt]);
        assert_eq!(signed, "68db61df0ef179565a19133f01da63744401fa03");
        let key = AesKey::parse(CURRENT).unwrap();
        let encrypt = seal(&key, *b"demo0000rand0001", POPUP.as_bytes(), APP);
        let signed = sign(&[token, "1790000001", "200300400", &encrypt]);
        assert_eq!(signed, "431cbdd84146a8da2015e58c4c259d93e7a17bab");
    }

    #[test]
    fn keys_have_43_letters_and_digits_and_any_last_bits() {
        assert!(AesKey::parse("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG").is_some());
        for bad in ["", &CURRENT[1..], &format!("{CURRENT}A"), &format!("{}+", &CURRENT[1..])] {
            assert!(AesKey::parse(bad).is_none(), "{bad}");
        }
    }
}
