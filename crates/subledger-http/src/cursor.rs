//! Cursors of lists that are cut here rather than in the database: small ones, and those read from the log.
//!
//! A cursor names the list it belongs to, so that it cannot be handed to another one, and the last key shown.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use subledger_engine::EngineError;

/// The cursor after `key` of `list`.
pub(crate) fn encode<K: Serialize>(list: &str, key: &K) -> Result<String, EngineError> {
    let bytes = serde_json::to_vec(&(list, key)).map_err(|error| EngineError::internal(error.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The key to go on after.
pub(crate) fn decode<K: DeserializeOwned>(
    list: &str,
    cursor: Option<&str>,
) -> Result<Option<K>, EngineError> {
    let Some(cursor) = cursor else { return Ok(None) };
    let wrong = || {
        EngineError::field("bad_cursor", "/cursor", "bad_cursor", "the cursor does not belong to this list")
    };
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| wrong())?;
    let (made_for, key): (String, K) = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    if made_for == list { Ok(Some(key)) } else { Err(wrong()) }
}

/// The page after the cursor of a whole list that is sorted by `key`, and the cursor of the next one.
pub(crate) fn cut<T, K: Serialize + DeserializeOwned + Ord>(
    list: &str,
    mut items: Vec<T>,
    key: impl Fn(&T) -> K,
    cursor: Option<&str>,
    limit: usize,
) -> Result<(Vec<T>, Option<String>), EngineError> {
    if let Some(after) = decode::<K>(list, cursor)? {
        items.retain(|item| key(item) > after);
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let next = match items.last() {
        Some(last) if more => Some(encode(list, &key(last))?),
        _ => None,
    };
    Ok((items, next))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_up_to_the_whole_list() {
        let all: Vec<u32> = (0..10).collect();
        for limit in 1..=11 {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let (items, next) = cut("numbers", all.clone(), |n| *n, cursor.as_deref(), limit).unwrap();
                assert!(items.len() <= limit);
                seen.extend(items);
                cursor = next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, all, "limit {limit}");
        }
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let cursor = encode("apples", &3_u32).unwrap();
        assert_eq!(decode::<u32>("apples", Some(&cursor)).unwrap(), Some(3));
        for (list, text) in [("pears", cursor.as_str()), ("apples", "%%%"), ("apples", "")] {
            let error = decode::<u32>(list, Some(text)).unwrap_err();
            assert_eq!(error.code, "bad_cursor");
            assert_eq!(error.fields[0].pointer, "/cursor");
        }
    }
}
