//! A world with a third-party platform: calls as a platform makes them, and its pushes opened by the tests' own code.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use subledger_sandbox::{AuthorizeSpec, Authorized, PlatformSpec, Reality, SandboxConfig};

use crate::pushes::settled;
use crate::receiver::{Got, Receiver, open, read, signature};
use crate::support::{APP, World, code, config, text};

pub(crate) const COMPONENT: &str = "wx00000000comp0001";
pub(crate) const COMPONENT_SECRET: &str = "comp-secret";
pub(crate) const TOKEN: &str = "demoToken01";
pub(crate) const KEY: &str = "Qm9vdHN0cmFwRGVtb0tleUZvckxvY2FsU2FuZGJveDc";

/// The choices under which nothing is left to chance.
pub(crate) fn plain() -> Reality {
    use subledger_sandbox::Habit;
    Reality { ticket_repeats: Habit::Never, list_hides_unqueried: false, ..Reality::default() }
}

pub(crate) struct Open {
    pub(crate) world: World,
    pub(crate) receiver: Receiver,
}

impl Open {
    /// A platform whose pushes are received, under [`plain`] choices.
    pub(crate) async fn new() -> Self {
        Self::under(plain()).await
    }

    pub(crate) async fn under(reality: Reality) -> Self {
        let world = World::with(SandboxConfig { reality, ..config() }).await;
        let receiver = Receiver::start().await;
        world.wechat.create_platform(spec(&receiver, COMPONENT)).unwrap();
        Self { world, receiver }
    }

    /// A call with the platform's token; `component_appid` is put in when it is left out.
    pub(crate) async fn call(&self, name: &str, token: &str, mut body: Value) -> Value {
        if body.get("component_appid").is_none() {
            body["component_appid"] = json!(COMPONENT);
        }
        self.world.post(&format!("/cgi-bin/component/{name}?component_access_token={token}"), &body).await
    }

    pub(crate) fn ticket(&self) -> String {
        self.world.wechat.platform(COMPONENT).unwrap().ticket.unwrap()
    }

    pub(crate) async fn token_for(&self, ticket: &str) -> Value {
        let body = json!({
            "component_appid": COMPONENT,
            "component_appsecret": COMPONENT_SECRET,
            "component_verify_ticket": ticket,
        });
        self.world.post("/cgi-bin/component/api_component_token", &body).await
    }

    /// The platform's token for its newest ticket.
    pub(crate) async fn token(&self) -> String {
        text(&self.token_for(&self.ticket()).await, "component_access_token")
    }

    pub(crate) fn scan(&self, sets: &[u32]) -> Authorized {
        let spec = AuthorizeSpec {
            appid: APP.to_owned(),
            permission_sets: Some(sets.iter().copied().collect()),
            ..AuthorizeSpec::default()
        };
        self.world.wechat.authorize(COMPONENT, &spec).unwrap()
    }

    pub(crate) async fn query(&self, token: &str, auth_code: &str) -> Value {
        self.call("api_query_auth", token, json!({ "authorization_code": auth_code })).await
    }

    pub(crate) async fn refresh(&self, token: &str, refresh_token: &str) -> Value {
        let body = json!({ "authorizer_appid": APP, "authorizer_refresh_token": refresh_token });
        self.call("api_authorizer_token", token, body).await
    }

    pub(crate) async fn list(&self, token: &str) -> Value {
        self.call("api_get_authorizer_list", token, json!({ "offset": 0, "count": 500 })).await
    }

    /// The platform's token, and the app's token and refresh token after scanning and trading the code.
    pub(crate) async fn connected(&self) -> (String, String, String) {
        let token = self.token().await;
        let info = self.query(&token, &self.scan(&[17, 18]).auth_code).await;
        assert_eq!(code(&info), 0, "{info}");
        let info = &info["authorization_info"];
        (token, text(info, "authorizer_access_token"), text(info, "authorizer_refresh_token"))
    }

    /// What was pushed so far, opened.
    pub(crate) async fn told(&self) -> Vec<BTreeMap<String, String>> {
        settled(&self.world).await;
        self.receiver.got().iter().map(|got| opened(got, COMPONENT)).collect()
    }

    /// The `InfoType` or `Event` of each push so far.
    pub(crate) async fn words(&self) -> Vec<String> {
        let word = |fields: &BTreeMap<String, String>| {
            fields.get("InfoType").or(fields.get("Event")).cloned().unwrap_or_default()
        };
        self.told().await.iter().map(word).collect()
    }
}

pub(crate) fn spec(receiver: &Receiver, component: &str) -> PlatformSpec {
    let mut spec = PlatformSpec::new(component, COMPONENT_SECRET);
    spec.settings.authorization_url = format!("{}/open", receiver.url);
    spec.settings.message_url = format!("{}/open/$APPID$", receiver.url);
    spec.settings.token = TOKEN.to_owned();
    spec.settings.encoding_aes_key = KEY.to_owned();
    spec.settings.retry_ms = 1;
    spec
}

/// Checks the signature of a push to a platform, its envelope and its tail, and gives its fields.
pub(crate) fn opened(got: &Got, component: &str) -> BTreeMap<String, String> {
    let part = |name: &str| got.query[name].as_str();
    let outer = read(&got.body).fields;
    assert!(got.body.starts_with("<xml>") && outer.len() == 2, "{}", got.body);
    let signed = signature(&[TOKEN, part("timestamp"), part("nonce"), &outer["Encrypt"]]);
    assert_eq!((part("encrypt_type"), part("msg_signature")), ("aes", signed.as_str()));
    let (message, tail) = open(KEY, &outer["Encrypt"]).unwrap();
    assert_eq!(tail, component);
    let fields = read(&message).fields;
    let (named, openid) = (outer.get("AppId"), got.query.get("openid"));
    if fields.contains_key("InfoType") {
        assert_eq!((named, openid), (Some(&fields["AppId"]), None));
        assert_eq!(fields["AppId"], component);
    } else {
        assert_eq!((outer.get("ToUserName"), openid), (fields.get("ToUserName"), fields.get("FromUserName")));
    }
    fields
}
