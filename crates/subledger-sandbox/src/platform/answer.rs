//! What a platform's calls answer once every check has passed (wechat-api §9.3, §11.8).

use serde_json::{Value, json};

use super::{Authorization, Request};
use crate::clock::{Millis, SECOND};
use crate::errcode::WxError;
use crate::state::State;

/// Most authorizers in one page of the list.
const LIST_MOST: u64 = 500;

impl State {
    /// Trades a code, once.
    pub(super) fn query_auth(&mut self, component: &str, code: &str, now: Millis) -> Result<Value, WxError> {
        let ruling = self.platform_ruling(component);
        let overlap = ruling.reality.replaced_token_seconds * SECOND;
        let named = ruling.reality.named_sets.draw(&mut self.ids.nature());
        let platform = self.known_platform(component)?;
        let code = platform.codes.get_mut(code).ok_or_else(|| WxError::new(61009))?;
        code.used = true;
        let appid = code.appid.clone();
        let authorization = platform.authorizers.get_mut(&appid).ok_or_else(|| WxError::new(61003))?;
        authorization.queried = true;
        let (refresh, sets) = (authorization.refresh.clone(), func_info(authorization, named));
        let granted = self.tokens.authorizer(component, &appid, overlap, &mut self.ids, now);
        let calls = self.stats.token_calls.entry(appid.clone()).or_default();
        (calls.query_auth, calls.issued) = (calls.query_auth + 1, calls.issued + 1);
        Ok(json!({ "authorization_info": {
            "authorizer_appid": appid,
            "authorizer_access_token": granted.token,
            "expires_in": granted.expires_in,
            "authorizer_refresh_token": refresh,
            "func_info": sets,
        } }))
    }

    pub(super) fn authorizer_token(
        &mut self,
        component: &str,
        appid: &str,
        now: Millis,
    ) -> Result<Value, WxError> {
        let ruling = self.platform_ruling(component);
        let (mut dice, fresh) = (self.ids.nature(), self.ids.refresh_token());
        let platform = self.known_platform(component)?;
        let authorization = platform.authorizers.get_mut(appid).ok_or_else(|| WxError::new(61003))?;
        if ruling.reality.refresh_token_rotates.draw(&mut dice) {
            let old = std::mem::replace(&mut authorization.refresh, fresh);
            authorization.older.insert(old);
            if ruling.reality.rotated_refresh_token_ends {
                authorization.older.clear();
            }
        }
        let refresh = authorization.refresh.clone();
        let overlap = ruling.reality.replaced_token_seconds * SECOND;
        let granted = self.tokens.authorizer(component, appid, overlap, &mut self.ids, now);
        let calls = self.stats.token_calls.entry(appid.to_owned()).or_default();
        (calls.authorizer, calls.issued) = (calls.authorizer + 1, calls.issued + 1);
        Ok(json!({
            "authorizer_access_token": granted.token,
            "expires_in": granted.expires_in,
            "authorizer_refresh_token": refresh,
        }))
    }

    pub(super) fn authorizer_info(&mut self, component: &str, appid: &str) -> Result<Value, WxError> {
        let user_name = self.gh_id(appid);
        let named = self.platform_ruling(component).reality.named_sets.draw(&mut self.ids.nature());
        let account = &self.apps.get(appid).ok_or_else(|| WxError::new(40013))?.settings.account;
        let platform = self.platforms.get(component).ok_or_else(|| WxError::new(40013))?;
        let authorization = platform.authorization(appid).ok_or_else(|| WxError::new(61003))?;
        let mut info = json!({
            "nick_name": account.nick_name,
            "head_img": account.head_img,
            "service_type_info": { "id": 0 },
            "verify_type_info": { "id": if account.verified { 0 } else { -1 } },
            "user_name": user_name,
            "alias": "",
            "principal_name": account.principal_name,
            "qrcode_url": account.qrcode_url,
            "account_status": account.account_status,
        });
        if account.mini_program {
            info["MiniProgramInfo"] = json!({
                "network": {
                    "RequestDomain": account.request_domains,
                    "WsRequestDomain": [],
                    "UploadDomain": [],
                    "DownloadDomain": [],
                },
                "categories": [{ "first": "示例", "second": "餐饮" }],
            });
        }
        Ok(json!({ "authorizer_info": info, "authorization_info": {
            "authorizer_appid": appid,
            "authorizer_refresh_token": authorization.refresh,
            "func_info": func_info(authorization, named),
        } }))
    }

    /// Oldest authorization first.
    pub(super) fn authorizer_list(&self, component: &str, request: &Request) -> Result<Value, WxError> {
        let hides = self.platform_ruling(component).reality.list_hides_unqueried;
        let platform = self.platforms.get(component).ok_or_else(|| WxError::new(40013))?;
        let mut all: Vec<(Millis, &String, &Authorization)> = platform
            .authorizers
            .iter()
            .filter(|(_, a)| a.in_force)
            .map(|(appid, a)| (a.since, appid, a))
            .collect();
        all.sort_by_key(|(since, appid, _)| (*since, *appid));
        let (offset, count) = page(request).ok_or_else(|| WxError::new(40170))?;
        let shown = all.iter().skip(offset).take(count).map(|(since, appid, a)| {
            let refresh = if hides && !a.queried { "" } else { a.refresh.as_str() };
            json!({ "authorizer_appid": appid, "refresh_token": refresh, "auth_time": since / SECOND })
        });
        Ok(json!({ "total_count": all.len(), "list": shown.collect::<Vec<_>>() }))
    }
}

/// Offset and count of a list call, if they may be so.
pub(super) fn page(request: &Request) -> Option<(usize, usize)> {
    let body = request.body.as_ref().ok()?;
    let number = |field: &str| body.get(field).and_then(Value::as_u64);
    let count = number("count").filter(|count| (1..=LIST_MOST).contains(count))?;
    Some((usize::try_from(number("offset")?).ok()?, usize::try_from(count).ok()?))
}

fn func_info(authorization: &Authorization, named: bool) -> Value {
    let category = |id: &u32| {
        let mut category = json!({ "id": id });
        if named {
            category["type"] = json!(0);
            category["name"] = json!(format!("权限集{id}"));
            category["desc"] = json!("");
        }
        json!({ "funcscope_category": category })
    };
    authorization.sets.iter().map(category).collect()
}
