//! One key for all deliveries of one push.
//!
//! WeChat repeats a push that was not answered in time, and after a change of settings the repetition may come in another
//! format or under another key, and always in other random bytes. So the key is made of what was decoded, not of what was
//! sent.
//!
//! What goes in, and why (§7.1):
//! * WeChat's advice for events, `FromUserName` and `CreateTime`, is not enough: the time is in seconds, and two answers or two
//!   results for one user within a second are two pushes. Systems that followed it have lost events. So the kind and every
//!   item go in as well.
//! * A result of a send is told apart by the message's id. Two messages of one template to one user can end in one second with
//!   the same code, and a late repetition need not carry the same time; template, id and code are enough and exact.
//! * Items are sorted, so that their order in a repetition does not matter.
//! * What is not decoded, or acted on by nobody, has the hash of its bytes.
//!
//! One case stays open: two taps within one second that ended alike look like one push and its repetition. WeChat gives
//! nothing to tell them apart; they count once here, and the client's own reports make up for it.

use std::fmt;

use super::event::{Push, PushEvent, SentItem};

/// Names the encoding; another encoding gets another name.
const CONTEXT: &[u8] = b"subledger push 1";

/// 32 bytes that are equal for every delivery of the same push, and (but for the case that stays open, above) for no other. It
/// is made from an openid without a secret: whoever knows everything about a push can confirm it. Hash it with a secret
/// before it goes where no personal data may be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentKey([u8; 32]);

impl ContentKey {
    /// The key of a push. `content` is what it was decoded from, `appid` the Mini Program it is about.
    #[must_use]
    pub fn of_push(appid: &str, push: &Push, content: &[u8]) -> Self {
        let (kind, items) = match &push.what {
            PushEvent::Popup(items) => (
                "popup",
                sorted(items, |item| {
                    let scene = item.scene.map(|scene| scene.to_string());
                    join(&[Some(&item.template_id), Some(&item.status), scene.as_deref()])
                }),
            ),
            PushEvent::Change(items) => {
                ("change", sorted(items, |item| join(&[Some(&item.template_id), Some(&item.status)])))
            }
            PushEvent::Sent(items) => {
                return Self::of_sent(appid, push, items);
            }
            PushEvent::Other { .. } => return Self::of_bytes(appid, content),
        };
        Self::of_parts(kind, appid, push, Some(push.created_at), &items)
    }

    /// The key of a content that was not decoded, or of a body that could not be opened.
    #[must_use]
    pub fn of_bytes(appid: &str, bytes: &[u8]) -> Self {
        let mut hash = Hash::new("bytes");
        hash.part(appid.as_bytes());
        hash.part(bytes);
        hash.end()
    }

    /// The key as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn of_sent(appid: &str, push: &Push, items: &[SentItem]) -> Self {
        let code = |item: &SentItem| {
            item.error_code.map(|code| code.to_string()).or_else(|| item.error_code_text.clone())
        };
        if items.iter().all(|item| item.msgid.is_some()) {
            let items = sorted(items, |item| {
                join(&[Some(&item.template_id), item.msgid.as_deref(), code(item).as_deref()])
            });
            return Self::of_parts("sent by id", appid, push, None, &items);
        }
        let items = sorted(items, |item| {
            let status = item.error_status.as_deref();
            join(&[Some(&item.template_id), item.msgid.as_deref(), code(item).as_deref(), status])
        });
        Self::of_parts("sent", appid, push, Some(push.created_at), &items)
    }

    fn of_parts(kind: &str, appid: &str, push: &Push, at: Option<i64>, items: &[Vec<u8>]) -> Self {
        let mut hash = Hash::new(kind);
        hash.part(appid.as_bytes());
        hash.part(push.to_user.as_bytes());
        hash.part(push.from_user.as_bytes());
        if let Some(at) = at {
            hash.part(&at.to_le_bytes());
        }
        for item in items {
            hash.part(item);
        }
        hash.end()
    }
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentKey({})", hex::encode(self.0))
    }
}

/// A hash of parts, each with its length before it, so that no two lists of parts read alike.
struct Hash(blake3::Hasher);

impl Hash {
    fn new(kind: &str) -> Self {
        let mut hash = Self(blake3::Hasher::new());
        hash.part(CONTEXT);
        hash.part(kind.as_bytes());
        hash
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.update(&length(bytes)).update(bytes);
    }

    fn end(self) -> ContentKey {
        ContentKey(*self.0.finalize().as_bytes())
    }
}

fn length(bytes: &[u8]) -> [u8; 8] {
    (bytes.len() as u64).to_le_bytes()
}

fn sorted<T>(items: &[T], encode: impl Fn(&T) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut encoded: Vec<Vec<u8>> = items.iter().map(encode).collect();
    encoded.sort_unstable();
    encoded
}

/// Fields of an item: present or not, length, bytes.
fn join(fields: &[Option<&str>]) -> Vec<u8> {
    let mut joined = Vec::new();
    for field in fields {
        joined.push(u8::from(field.is_some()));
        let bytes = field.unwrap_or_default().as_bytes();
        joined.extend(length(bytes));
        joined.extend(bytes);
    }
    joined
}
