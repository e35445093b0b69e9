//! A person in a request: by userid or by openid, never both.

use subledger_domain::{IdError, Openid, UserId};
use subledger_engine::{EngineError, FieldError, corrections::Whose, grants::Tapper};

use crate::problem::ApiError;

/// Someone named in a request.
#[derive(Clone)]
pub(super) enum Person {
    Userid(UserId),
    Openid(Openid),
}

impl Person {
    /// The person named by exactly one of the two fields of the object at `pointer`.
    pub(super) fn of(userid: Option<&str>, openid: Option<&str>, pointer: &str) -> Result<Self, FieldError> {
        let wrong = |name: &str, rule: &str, detail: String| FieldError {
            pointer: format!("{pointer}/{name}"),
            rule: rule.to_owned(),
            detail,
        };
        let bad = |name: &str, error: IdError| wrong(name, &format!("bad_{name}"), error.to_string());
        match (userid, openid) {
            (Some(userid), None) => userid.parse().map(Self::Userid).map_err(|error| bad("userid", error)),
            (None, Some(openid)) => openid.parse().map(Self::Openid).map_err(|error| bad("openid", error)),
            (Some(_), Some(_)) => {
                Err(wrong("openid", "one_of", "give a userid or an openid, not both".to_owned()))
            }
            (None, None) => Err(wrong("userid", "one_of", "give a userid or an openid".to_owned())),
        }
    }
}

impl From<Person> for Tapper {
    fn from(person: Person) -> Self {
        match person {
            Person::Userid(userid) => Self::Userid(userid),
            Person::Openid(openid) => Self::Openid(openid),
        }
    }
}

impl From<Person> for Whose {
    fn from(person: Person) -> Self {
        match person {
            Person::Userid(userid) => Self::Userid(userid),
            Person::Openid(openid) => Self::Openid(openid),
        }
    }
}

/// The refusal of a request about one person.
pub(super) fn wrong_person(field: FieldError) -> ApiError {
    let code = match field.rule.as_str() {
        "bad_userid" => "bad_userid",
        "bad_openid" => "bad_openid",
        _ => "invalid_body",
    };
    let detail = field.detail.clone();
    EngineError { fields: vec![field], ..EngineError::invalid(code, detail) }.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(userid: Option<&str>, openid: Option<&str>, pointer: &str, rule: &str) {
        let field = Person::of(userid, openid, "/recipients/3").err().unwrap();
        assert_eq!((field.pointer.as_str(), field.rule.as_str()), (pointer, rule));
    }

    #[test]
    fn exactly_one_of_userid_and_openid_names_a_person() {
        assert!(matches!(Person::of(Some("zhangsan"), None, ""), Ok(Person::Userid(_))));
        assert!(matches!(Person::of(None, Some("oDemo0000000000000001"), ""), Ok(Person::Openid(_))));
        check(None, None, "/recipients/3/userid", "one_of");
        check(Some("a"), Some("oDemo0000000000000001"), "/recipients/3/openid", "one_of");
    }

    #[test]
    fn a_malformed_one_is_named_and_not_repeated() {
        check(Some(""), None, "/recipients/3/userid", "bad_userid");
        check(Some("line\nbreak"), None, "/recipients/3/userid", "bad_userid");
        check(None, Some("short"), "/recipients/3/openid", "bad_openid");
        let field = Person::of(None, Some("openid with spaces in it"), "").err().unwrap();
        assert!(!field.detail.contains("with spaces"), "{}", field.detail);
    }
}
