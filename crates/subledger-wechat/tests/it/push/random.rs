//! Properties over random inputs.

use proptest::prelude::*;
use subledger_wechat::push::{
    self, EncodingAesKey, OpenedWith, PushKeys, PushMode, PushQuery, PushSettings, PushToken,
};

use super::harness::seal::{seal, sign};
use super::harness::{self, NOW};

/// Text with the characters that matter to the parsers more often than chance would have it.
fn markup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[<>&;/{}\\[\\]\",:!?= a0]{0,8}",
        Just("<xml>".to_owned()),
        Just("</xml>".to_owned()),
        Just("<List>".to_owned()),
        Just("</List>".to_owned()),
        Just("<![CDATA[".to_owned()),
        Just("]]>".to_owned()),
        Just("<!DOCTYPE a [<!ENTITY b \"".to_owned()),
        Just("&#x41;".to_owned()),
        Just("{\"List\":[".to_owned()),
        Just("\"Encrypt\":\"".to_owned()),
        Just("\"MsgType\":\"event\",".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_is_sealed_and_signed_comes_in_unchanged(
        content in prop::collection::vec(any::<u8>(), 0..2000),
        appid in "wx[0-9a-f]{0,40}",
        key in "[A-Za-z0-9]{43}",
        token in "[A-Za-z0-9]{3,32}",
        random: [u8; 16],
        nonce in "[0-9]{1,12}",
        skew in -600..=600_i64,
        previous: bool,
        xml: bool,
    ) {
        let encrypt = seal(&key, &appid, &random, &content);
        let timestamp = (NOW + skew).to_string();
        let signature = sign(&[&token, &timestamp, &nonce, &encrypt]);
        let query = format!("msg_signature={signature}&nonce={nonce}&timestamp={timestamp}");
        let body = if xml {
            format!("<xml><Encrypt>{encrypt}</Encrypt></xml>")
        } else {
            format!(r#"{{"Encrypt":"{encrypt}"}}"#)
        };
        let parse = |text: &str| EncodingAesKey::parse(text).unwrap();
        let keys = if previous {
            PushKeys { current: parse(harness::seal::KEY), previous: Some(parse(&key)) }
        } else {
            PushKeys { current: parse(&key), previous: None }
        };
        let token = PushToken::parse(&token).unwrap();
        let settings = PushSettings::new(appid, token, PushMode::Secure, Some(keys)).unwrap();
        let opened = push::open(&settings, query.as_bytes(), body.as_bytes(), NOW).unwrap();
        prop_assert_eq!(opened.content, content);
        prop_assert_eq!(opened.with, if previous { OpenedWith::PreviousKey } else { OpenedWith::CurrentKey });
    }

    #[test]
    fn any_bytes_go_through_every_entry_point(data in prop::collection::vec(any::<u8>(), 0..3000)) {
        harness::push_decode(&data);
        harness::push_decrypt(&data);
        harness::push_request(&data);
        let _ = PushQuery::parse(&data);
        let text = String::from_utf8_lossy(&data);
        let _ = (EncodingAesKey::parse(&text), PushToken::parse(&text));
    }

    #[test]
    fn anything_like_markup_goes_through_too(text in markup()) {
        harness::push_decode(text.as_bytes());
        harness::push_decode(format!("<xml>{text}</xml>").as_bytes());
        harness::push_decode(format!("{{\"List\":{text}}}").as_bytes());
        harness::push_request(text.as_bytes());
    }

    #[test]
    fn json_and_xml_that_say_the_same_mean_the_same(
        user in "o[A-Za-z0-9_-]{27}",
        at in 0..253_402_300_799_i64,
        items in prop::collection::vec(("[A-Za-z0-9_-]{43}", "accept|reject|ban|filter|acceptWithAudio", 0..9_i64), 1..5),
    ) {
        let list: Vec<_> = items.iter().map(|(template, status, scene)| serde_json::json!({
            "TemplateId": template, "SubscribeStatusString": status, "PopupScene": scene.to_string(),
        })).collect();
        let json = serde_json::json!({
            "ToUserName": "gh_1", "FromUserName": user, "CreateTime": at, "MsgType": "event",
            "Event": "subscribe_msg_popup_event", "List": list,
        });
        let lists: String = items.iter().map(|(template, status, scene)| format!(
            "<List><TemplateId><![CDATA[{template}]]></TemplateId><SubscribeStatusString>{status}\
             </SubscribeStatusString><PopupScene>{scene}</PopupScene></List>"
        )).collect();
        let xml = format!(
            "<xml><ToUserName>gh_1</ToUserName><FromUserName><![CDATA[{user}]]></FromUserName><CreateTime>{at}\
             </CreateTime><MsgType>event</MsgType><Event>subscribe_msg_popup_event</Event>\
             <SubscribeMsgPopupEvent>{lists}</SubscribeMsgPopupEvent></xml>"
        );
        let from_json = push::decode(json.to_string().as_bytes());
        prop_assert!(from_json.is_ok());
        prop_assert_eq!(from_json, push::decode(xml.as_bytes()));
    }
}
