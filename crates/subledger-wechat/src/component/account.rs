//! Who an account is.

use std::fmt;

use secrecy::SecretString;
use serde_json::Value;

use super::authorizer::read_secret;
use super::sets::PermissionSets;
use super::{ComponentClient, Field};
use crate::answer::{exact_text, whole_number};
use crate::client::Api;
use crate::outcome::CallError;

/// A category of a Mini Program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// First level.
    pub first: String,
    /// Second level; may be empty.
    pub second: String,
}

/// Who an account is. `Debug` names it by its ids alone: the owner of an account may be a person.
#[derive(Clone)]
pub struct AuthorizerInfo {
    /// The original id (`gh_…`), by which user events name the account.
    pub original_id: Option<String>,
    /// Its name.
    pub nick_name: Option<String>,
    /// Who owns it.
    pub principal_name: Option<String>,
    /// Whether it is a Mini Program: other accounts lack the part that describes one (§9.3).
    pub is_mini_program: bool,
    /// The categories of a Mini Program.
    pub categories: Vec<Category>,
    /// WeChat's number for whether it is verified; -1 is not.
    pub verify_type: Option<i64>,
    /// WeChat's number for its state; 1 is normal.
    pub account_status: Option<i64>,
    /// What was ticked, as it stands now.
    pub permission_sets: PermissionSets,
    /// Its refresh token, if the answer had one.
    pub refresh_token: Option<SecretString>,
}

impl fmt::Debug for AuthorizerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizerInfo")
            .field("original_id", &self.original_id)
            .field("is_mini_program", &self.is_mini_program)
            .field("account_status", &self.account_status)
            .field("permission_sets", &self.permission_sets.ids())
            .finish_non_exhaustive()
    }
}

impl ComponentClient {
    /// `POST /cgi-bin/component/api_get_authorizer_info`: who an account is and what it gave. No access token comes with it.
    ///
    /// # Errors
    /// [`CallError`]; an account that has not authorized the platform is a refusal of class `NotAuthorized`.
    pub async fn authorizer_info(
        &self,
        token: &SecretString,
        appid: &str,
    ) -> Result<AuthorizerInfo, CallError> {
        let fields = [("authorizer_appid", Field::Text(appid))];
        self.post(Api::AuthorizerInfo, Some(token), &fields, read_info).await
    }
}

fn read_info(body: &Value) -> Option<AuthorizerInfo> {
    let info = body.get("authorizer_info")?.as_object()?;
    let grant = body.get("authorization_info")?;
    let text = |name: &str| info.get(name).and_then(exact_text);
    let program = info.get("MiniProgramInfo").and_then(Value::as_object);
    let categories = program.and_then(|program| program.get("categories")).and_then(Value::as_array);
    Some(AuthorizerInfo {
        original_id: text("user_name"),
        nick_name: text("nick_name"),
        principal_name: text("principal_name"),
        is_mini_program: program.is_some(),
        categories: categories.into_iter().flatten().filter_map(read_category).collect(),
        verify_type: info.get("verify_type_info").and_then(|info| info.get("id")).and_then(whole_number),
        account_status: info.get("account_status").and_then(whole_number),
        permission_sets: PermissionSets::read(grant.get("func_info"))?,
        refresh_token: read_secret(grant, "authorizer_refresh_token"),
    })
}

fn read_category(entry: &Value) -> Option<Category> {
    let first = entry.get("first").and_then(exact_text)?;
    Some(Category { first, second: entry.get("second").and_then(exact_text).unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn an_account_without_the_part_of_a_mini_program_is_none() {
        let mut body = json!({"authorizer_info":{"nick_name":"示例","principal_name":"张三","user_name":"gh_1"},
            "authorization_info":{"func_info":[]}});
        let other = read_info(&body).unwrap();
        assert!(!other.is_mini_program && other.categories.is_empty() && other.refresh_token.is_none());
        assert!(!format!("{other:?}").contains("张三"), "an owner may be a person");
        body["authorizer_info"]["MiniProgramInfo"] = json!({"categories":[{"first":"生活"}, {}, 5]});
        let program = read_info(&body).unwrap();
        assert!(program.is_mini_program);
        assert_eq!(program.categories, [Category { first: "生活".to_owned(), second: String::new() }]);
    }

    #[test]
    fn half_an_answer_is_none() {
        assert!(read_info(&json!({"authorizer_info": {}})).is_none());
        assert!(read_info(&json!({"authorization_info": {}})).is_none());
        assert!(
            read_info(&json!({"authorizer_info": {}, "authorization_info": {"func_info": 18}})).is_none()
        );
    }
}
