//! Does the operations, many at once, over HTTP.
//!
//! Operations start in the order of the list and overlap as they like. Whatever is asked of the service gets an answer here: what
//! is lost is lost between the Mini Program and its back end, or between the service and WeChat.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};

use super::{
    plan::{Answer, Op, Report},
    world::{Asked, BAD_WORD, Tapped, World},
};
use crate::support::Answered;

/// Operations under way at once.
const HANDS: usize = 16;

/// Does all of them.
pub async fn run(world: &Arc<World>, operations: Vec<(usize, Op)>) {
    let (operations, next) = (Arc::new(operations), Arc::new(AtomicUsize::new(0)));
    let hands: Vec<_> = (0..HANDS)
        .map(|_| {
            let (world, operations, next) = (Arc::clone(world), Arc::clone(&operations), Arc::clone(&next));
            tokio::spawn(async move {
                while let Some((number, op)) = operations.get(next.fetch_add(1, Ordering::Relaxed)) {
                    world.act(*number, op).await;
                }
            })
        })
        .collect();
    for hand in hands {
        hand.await.unwrap();
    }
}

impl World {
    async fn act(&self, number: usize, op: &Op) {
        match op {
            Op::Tap { user, templates, answer, report } => {
                self.tap(number, *user, templates, *answer).await;
                if let Report::Now { times, dated } = report {
                    for _ in 0..*times {
                        self.report(number, *dated).await;
                    }
                }
            }
            Op::LateReport { tap, dated } => self.report(*tap, *dated).await,
            Op::Setting { user, template, body } => {
                let mut body = body.clone();
                body["openid"] = json!(self.openids[*user]);
                if body.get("state").is_some() {
                    body["template_id"] = json!(self.templates[*template]);
                }
                self.wechat.post(&self.control("/settings"), &body).await;
            }
            Op::Send { users, templates, refused, repeated } => {
                for template in templates {
                    self.send(number, users, *template, *refused, *repeated).await;
                }
            }
            Op::Retract { send } => self.retract(*send).await,
            Op::SendFault { user, template, fault } => {
                let mut fault = fault.clone();
                fault["path"] = json!("send");
                fault["appid"] = json!(self.appid);
                fault["openid"] = json!(self.openids[*user]);
                fault["template_id"] = json!(self.templates[*template]);
                self.wechat.fault(&fault).await;
            }
            Op::PushFault { user, fault } => {
                let mut fault = fault.clone();
                fault["appid"] = json!(self.appid);
                fault["openid"] = json!(self.openids[*user]);
                self.wechat.post("/sandbox/push-faults", &fault).await;
            }
            Op::Revoke => drop(self.wechat.post(&self.control("/tokens/revoke"), &json!({})).await),
            Op::NewKey => self.set_pushes_up(1).await,
            Op::Settle { sent } => {
                let mut dice = SmallRng::seed_from_u64(number as u64);
                let doubts = self.doubts().await;
                if !doubts.is_empty() {
                    self.settle(&doubts[dice.random_range(0..doubts.len())], *sent).await;
                }
            }
            Op::Adjust { user, template, by } => {
                let mut body = self.person(*user);
                body["template_id"] = json!(self.templates[*template]);
                body[if *by > 0 { "add" } else { "remove" }] = json!(by.abs());
                body["reason"] = json!("a guess");
                let answer = self.ask("/ledgers/adjustments", "", &body).await;
                // So many are not open.
                assert!(answer.status == 200 || answer.status == 409, "{}", answer.body);
            }
            Op::Open { user, template, count } => {
                let mut row = self.person(*user);
                row["row_id"] = json!("1");
                row["template_id"] = json!(self.templates[*template]);
                row["count"] = json!(count);
                let body = json!({ "import_id": format!("import-{number}"), "rows": [row] });
                let answer = self.ask("/opening-balances", "", &body).await;
                let counted = if self.round.is_long_term(*template) { 0 } else { 1 };
                assert_eq!(answer.expect_status(200)["counted"], counted, "{}", answer.body);
            }
            Op::Stranger { user, template } => self.stranger(*user, *template).await,
        }
    }

    async fn tap(&self, number: usize, user: usize, templates: &[usize], answer: Answer) {
        // WeChat takes no two kinds in one popup.
        let kind = self.round.is_long_term(templates[0]);
        let alike = templates.iter().filter(|template| self.round.is_long_term(**template) == kind);
        let ids: Vec<&String> = alike.map(|template| &self.templates[*template]).collect();
        let mut tap = json!({ "openid": self.openids[user], "template_ids": ids, "id": report_id(number) });
        let path = self.control("/taps");
        let mut keep = false;
        let silent = if answer.silent { self.wechat.try_post(&path, &tap).await } else { None };
        let at = jiff::Timestamp::now().to_string();
        // Nothing kept to be silent with: the popup is shown.
        let result = match silent {
            Some(result) => result,
            None => {
                tap["choice"] = json!(answer.word);
                tap["keep"] = json!(answer.keep);
                keep = answer.keep;
                self.wechat.post(&path, &tap).await
            }
        };
        let tapped = Tapped { user, at, result, keep, told: false };
        self.known.lock().unwrap().taps.insert(number, tapped);
    }

    /// Reports a tap, unless the tap itself is still under way; [`Self::report_the_rest`] makes up for that.
    async fn report(&self, number: usize, dated: bool) {
        let tapped = self.known.lock().unwrap().taps.get(&number).cloned();
        let Some(Tapped { user, at, result, .. }) = tapped else { return };
        let mut report = self.person(user);
        report["report_id"] = json!(report_id(number));
        report["result"] = result;
        if dated {
            report["tapped_at"] = json!(at);
        }
        let answer = self.ask("/client-reports", "", &report).await;
        // Another date makes it another content under one id; the first one stands.
        if answer.status != 200 {
            answer.expect_status(409);
        }
        if let Some(tapped) = self.known.lock().unwrap().taps.get_mut(&number) {
            tapped.told = true;
        }
    }

    /// Brings the late reports whose time came while their taps were still under way, or never came.
    pub async fn report_the_rest(&self, operations: &[(usize, Op)]) {
        for (number, op) in operations {
            let late = matches!(op, Op::Tap { report: Report::Late, .. });
            let told = self.known.lock().unwrap().taps.get(number).is_some_and(|tapped| tapped.told);
            if late && !told {
                self.report(*number, false).await;
            }
        }
    }

    async fn send(&self, number: usize, users: &[usize], template: usize, refused: bool, repeated: bool) {
        let page = format!("pages/o?n={number}-{template}");
        let recipients: Vec<Value> = users.iter().map(|user| self.person(*user)).collect();
        let name = if refused { BAD_WORD } else { "牛角面包" };
        let body = json!({
            "template_id": self.templates[template],
            "recipients": recipients,
            "data": { "thing1": name, "date2": "2026-11-23 09:30", "phrase3": "待取餐" },
            "page": page,
        });
        let key = format!("{}-{page}", self.channel);
        if repeated {
            // The caller went away before the answer came, or it came and was lost.
            let hasty = self.ask("/messages", &key, &body);
            let _ = tokio::time::timeout(Duration::from_millis(number as u64 % 8), hasty).await;
        }
        let answer = self.ask("/messages", &key, &body).await;
        let sent = answer.expect_status(202);
        let asked = Asked {
            template: self.templates[template].clone(),
            openids: users.iter().map(|user| self.openids[*user].clone()).collect(),
            msgid: sent["msgid"].as_str().unwrap().to_owned(),
            skipped: sent["skipped"].as_u64().unwrap(),
        };
        let mut known = self.known.lock().unwrap();
        known.pages.entry(number).or_default().push(page.clone());
        known.asked.insert(page, asked);
    }

    async fn retract(&self, send: usize) {
        let msgids: Vec<String> = {
            let known = self.known.lock().unwrap();
            let pages = known.pages.get(&send).cloned().unwrap_or_default();
            pages.iter().map(|page| known.asked[page].msgid.clone()).collect()
        };
        for msgid in msgids {
            let answer = self.ask(&format!("/messages/{msgid}/retract"), "", &Value::Null).await;
            answer.expect_status(200);
        }
    }

    /// Doubts that are open, at most a page of them.
    pub async fn doubts(&self) -> Vec<Value> {
        let answer = self.client.get(&self.path("/in-doubt?limit=200")).await;
        answer.expect_status(200)["items"].as_array().unwrap().clone()
    }

    /// Settles a doubt; somebody or something else may have been quicker.
    pub async fn settle(&self, doubt: &Value, sent: bool) {
        let (msgid, index) = (doubt["msgid"].as_str().unwrap(), &doubt["index"]);
        let verdict = json!({ "verdict": if sent { "sent" } else { "not_sent" }, "reason": "a guess" });
        let answer = self.ask(&format!("/messages/{msgid}/deliveries/{index}/settle"), "", &verdict).await;
        assert!(answer.status == 200 || answer.body["code"] == "not_in_doubt", "{}", answer.body);
    }

    /// A send that the service knows nothing of.
    async fn stranger(&self, user: usize, template: usize) {
        let token = json!({ "grant_type": "client_credential", "appid": self.appid, "secret": crate::support::SECRET });
        let token = self.wechat.post("/cgi-bin/stable_token", &token).await;
        let Some(token) = token["access_token"].as_str() else { return };
        let value = |text: &str| json!({ "value": text });
        let body = json!({
            "touser": self.openids[user],
            "template_id": self.templates[template],
            "page": "pages/stranger",
            "data": { "thing1": value("x"), "date2": value("2026-11-23 09:30"), "phrase3": value("待取餐") },
        });
        // A fault that waits for a send of ours may hit this one; the journal has the truth either way.
        let path = format!("/cgi-bin/message/subscribe/send?access_token={token}");
        let hasty = self.wechat.try_post(&path, &body);
        let _ = tokio::time::timeout(Duration::from_secs(1), hasty).await;
    }

    async fn ask(&self, path: &str, key: &str, body: &Value) -> Answered {
        self.client.post_with_key(&self.path(path), key, body).await
    }
}

/// The id of the report of a tap, and of the tap at the simulated WeChat.
pub fn report_id(number: usize) -> String {
    format!("tap-of-{number}")
}
