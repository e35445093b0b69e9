//! Permission sets: what an administrator ticked.

use serde_json::Value;

use crate::answer::{exact_text, whole_number};

/// The set for development and data analysis of Mini Programs. Sending, templates and login need it. Only one platform at
/// a time can hold it for an account, and while one does, the account cannot publish through WeChat's own console (§9.7).
pub const DEVELOPMENT_SET: i64 = 18;

/// One permission set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionSet {
    /// WeChat's number of it.
    pub id: i64,
    /// WeChat's name for it, if the answer had one.
    pub name: Option<String>,
}

/// The permission sets an account gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PermissionSets {
    /// Those that could be read, in WeChat's order.
    pub sets: Vec<PermissionSet>,
    /// How many entries could not be read. Unless 0, absence from `sets` does not prove that a set was not given.
    pub undecodable: usize,
}

impl PermissionSets {
    /// The numbers, ascending, each once.
    #[must_use]
    pub fn ids(&self) -> Vec<i64> {
        let mut ids: Vec<i64> = self.sets.iter().map(|set| set.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Whether a set was given.
    #[must_use]
    pub fn has(&self, id: i64) -> bool {
        self.sets.iter().any(|set| set.id == id)
    }

    /// Reads `func_info`. Absent is empty: an account may give nothing.
    pub(super) fn read(value: Option<&Value>) -> Option<Self> {
        let entries: &[Value] = match value {
            None | Some(Value::Null) => &[],
            Some(Value::Array(entries)) => entries,
            Some(_) => return None,
        };
        let sets: Vec<PermissionSet> = entries.iter().filter_map(read_set).collect();
        let undecodable = entries.len() - sets.len();
        Some(Self { sets, undecodable })
    }
}

fn read_set(entry: &Value) -> Option<PermissionSet> {
    let set = entry.get("funcscope_category")?;
    let id = set.get("id").and_then(whole_number)?;
    Some(PermissionSet { id, name: set.get("name").and_then(exact_text) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn sets_are_read_and_what_cannot_be_read_is_counted() {
        let info = json!([
            {"funcscope_category":{"id":18,"type":2,"name":"开发与数据分析","desc":""}},
            {"funcscope_category":{"id":"17"},"confirm_info":{"need_confirm":0}},
            {"funcscope_category":{"id":17}}, {"funcscope_category":{}}, {"id":18}, null
        ]);
        let sets = PermissionSets::read(Some(&info)).unwrap();
        assert_eq!((sets.ids(), sets.undecodable), (vec![17, 18], 3));
        assert!(sets.has(DEVELOPMENT_SET) && !sets.has(171));
        assert_eq!(sets.sets[0].name.as_deref(), Some("开发与数据分析"));
    }

    #[test]
    fn no_list_is_an_empty_list_and_another_shape_is_not() {
        for nothing in [None, Some(&json!(null)), Some(&json!([]))] {
            assert_eq!(PermissionSets::read(nothing), Some(PermissionSets::default()));
        }
        assert_eq!(PermissionSets::read(Some(&json!({"id": 18}))), None);
    }
}
