//! One round's Mini Program at the simulated WeChat and its channel in the service.

use std::{collections::HashMap, sync::Mutex};

use serde_json::{Value, json};

use super::plan::{Round, TEMPLATES};
use crate::support::{Client, SECRET, Wechat};

/// A word that WeChat refuses (45168).
pub const BAD_WORD: &str = "禁词";

/// A tap that was made, and what the Mini Program has told of it.
#[derive(Debug, Clone)]
pub struct Tapped {
    pub user: usize,
    pub at: String,
    /// What the client's call came back with; none when the tap did not happen.
    pub result: Value,
    /// "Always keep" was ticked.
    pub keep: bool,
    /// The service has answered a report of it.
    pub told: bool,
}

/// A message that was asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    pub template: String,
    pub openids: Vec<String>,
    pub msgid: String,
    pub skipped: u64,
}

/// What those know who ask.
#[derive(Default)]
pub struct Known {
    /// By the number of the operation.
    pub taps: HashMap<usize, Tapped>,
    /// By page.
    pub asked: HashMap<String, Asked>,
    /// Pages by the number of the operation.
    pub pages: HashMap<usize, Vec<String>>,
}

pub struct World {
    pub round: Round,
    pub channel: String,
    pub appid: String,
    pub policy: Value,
    pub templates: Vec<String>,
    pub openids: Vec<String>,
    pub client: Client,
    pub wechat: Wechat,
    pub known: Mutex<Known>,
}

impl World {
    pub async fn set_up(round: Round, client: &Client, wechat: &Wechat) -> Self {
        let wechat = wechat.another();
        let channel = format!("oracle{}", round.number);
        let appid = format!("wx00oracle{:08}", round.number);
        let app = json!({
            "appid": appid, "secret": SECRET, "sensitive_words": [BAD_WORD],
            "reality": { "profile": round.profile },
        });
        wechat.post("/sandbox/apps", &app).await;
        let mut templates = Vec::new();
        for number in 0..TEMPLATES {
            let content = "商品:{{thing1.DATA}}\n时间:{{date2.DATA}}\n状态:{{phrase3.DATA}}\n";
            let kind = if round.is_long_term(number) { 3 } else { 2 };
            let template = json!({ "title": format!("取餐提醒{number}"), "content": content, "type": kind });
            let made = wechat.post(&format!("/sandbox/apps/{appid}/templates"), &template).await;
            templates.push(made["priTmplId"].as_str().unwrap().to_owned());
        }
        let policy = round.policy();
        let body =
            json!({ "code": channel, "name": "Oracle", "appid": appid, "secret": SECRET, "policy": policy });
        client.post("/channels", &body).await.expect_status(201);
        let refresh = format!("/channels/{channel}/templates/refresh");
        client.post(&refresh, &json!({})).await.expect_status(200);
        let mut openids = Vec::new();
        for number in 0..round.users {
            let openid = wechat.user_of(&appid).await;
            if number % 2 == 0 {
                let user = json!({ "userid": format!("user{number}"), "openid": openid });
                let bound = client.post(&format!("/channels/{channel}/users"), &user).await;
                assert!(matches!(bound.status, 200 | 201), "{}", bound.body);
            }
            openids.push(openid);
        }
        let (client, known) = (client.clone(), Mutex::default());
        let world = Self { round, channel, appid, policy, templates, openids, client, wechat, known };
        world.set_pushes_up(0).await;
        world
    }

    /// How a caller names this user: every other one has a userid.
    pub fn person(&self, user: usize) -> Value {
        match user % 2 {
            0 => json!({ "userid": format!("user{user}") }),
            _ => json!({ "openid": self.openids[user] }),
        }
    }

    /// Whether it is a long-term one.
    pub fn is_long_term(&self, template: &str) -> bool {
        let number = self.templates.iter().position(|id| id == template);
        number.is_some_and(|number| self.round.is_long_term(number))
    }

    pub fn path(&self, rest: &str) -> String {
        format!("/channels/{}{rest}", self.channel)
    }

    pub fn control(&self, rest: &str) -> String {
        format!("/sandbox/apps/{}{rest}", self.appid)
    }
}
