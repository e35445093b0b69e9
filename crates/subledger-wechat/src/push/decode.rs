//! From tree to meaning.
//!
//! Lenient about form, strict about meaning. WeChat's documents, samples and traffic disagree about wrappers, arrays, strings and
//! numbers (§7.3), so all forms that were ever seen are read, in any mixture. But a field that a ledger would act on must be
//! there once and be of a possible shape, in every item: half a push is not acted on, it is kept and shown.

use super::error::Undecodable;
use super::event::{ChangeItem, Decoded, PopupItem, Push, PushEvent, SentItem, is_check};
use super::tree::{Node, parse};

/// Longest id (openid, template id, message id). WeChat's have 28, 43 and 19 characters and no promised shape.
const MAX_ID_BYTES: usize = 128;

/// Longest word (a kind of event, a status).
const MAX_WORD_BYTES: usize = 64;

/// Latest time that is believed: the last second of the year 9999.
const MAX_TIME: i64 = 253_402_300_799;

/// Decodes the clear content of a push, XML or JSON.
///
/// # Errors
/// [`Undecodable`]
pub fn decode(content: &[u8]) -> Result<Decoded, Undecodable> {
    let root = parse(content)?;
    if is_check(&root) {
        return Ok(Decoded::ContainerCheck);
    }
    let fields = Fields(root.fields().unwrap_or_default());
    let to_user = id(fields.needed("ToUserName")?, "ToUserName")?;
    let from_user = id(fields.needed("FromUserName")?, "FromUserName")?;
    let created_at = time(fields.needed("CreateTime")?)?;
    let msg_type = word(fields.needed("MsgType")?, "MsgType")?;
    let event = fields.text("Event")?.map(|text| word(text, "Event")).transpose()?;
    let what = match event.as_deref().filter(|_| msg_type == "event") {
        Some("subscribe_msg_popup_event") => {
            PushEvent::Popup(items(fields, "SubscribeMsgPopupEvent", popup_item)?)
        }
        Some("subscribe_msg_change_event") => {
            PushEvent::Change(items(fields, "SubscribeMsgChangeEvent", change_item)?)
        }
        Some("subscribe_msg_sent_event") => {
            PushEvent::Sent(items(fields, "SubscribeMsgSentEvent", sent_item)?)
        }
        _ => PushEvent::Other { msg_type, event },
    };
    Ok(Decoded::Push(Push { to_user, from_user, created_at, what }))
}

fn popup_item(item: Fields<'_>) -> Result<PopupItem, Undecodable> {
    let ChangeItem { template_id, status } = change_item(item)?;
    let scene = item.lenient("PopupScene").and_then(|text| text.parse().ok());
    Ok(PopupItem { template_id, status, scene })
}

fn change_item(item: Fields<'_>) -> Result<ChangeItem, Undecodable> {
    let template_id = id(item.needed("TemplateId")?, "TemplateId")?;
    let status = word(item.needed("SubscribeStatusString")?, "SubscribeStatusString")?;
    Ok(ChangeItem { template_id, status })
}

fn sent_item(item: Fields<'_>) -> Result<SentItem, Undecodable> {
    let template_id = id(item.needed("TemplateId")?, "TemplateId")?;
    // Zero is no id: all messages without one would share it.
    let msgid = item.text("MsgID")?.filter(|text| *text != "0").map(|text| id(text, "MsgID")).transpose()?;
    let error_code_text = item.text("ErrorCode")?.map(str::to_owned);
    let error_code = error_code_text.as_ref().and_then(|text| text.parse().ok());
    let error_status = item.text("ErrorStatus")?.map(str::to_owned);
    Ok(SentItem { template_id, msgid, error_code, error_code_text, error_status })
}

/// The items of an event, wherever they are: under `List`, under the wrapper, or under `List` in the wrapper; one or many.
fn items<T>(
    root: Fields<'_>,
    wrapper: &'static str,
    read: impl Fn(Fields<'_>) -> Result<T, Undecodable>,
) -> Result<Vec<T>, Undecodable> {
    let mut bare = Vec::new();
    let mut wrapped = Vec::new();
    for (name, node) in root.0 {
        if name == "List" {
            collect(node, &mut bare)?;
        } else if name == wrapper {
            collect(node, &mut wrapped)?;
        }
    }
    let found = match (bare.is_empty(), wrapped.is_empty()) {
        (true, true) => return Err(Undecodable::Missing("List")),
        (false, false) => return Err(Undecodable::Repeated("List")),
        (false, true) => bare,
        (true, false) => wrapped,
    };
    found.into_iter().map(read).collect()
}

/// Gathers the items of a node: those of each element of an array, of each `List` of an object, or else the object itself.
/// The depth of the tree bounds the recursion.
fn collect<'a>(node: &'a Node, found: &mut Vec<Fields<'a>>) -> Result<(), Undecodable> {
    match node {
        Node::Null => Ok(()),
        Node::Text(text) if text.is_empty() => Ok(()),
        Node::Text(_) | Node::Inexact => Err(Undecodable::Odd("List")),
        Node::List(nodes) => nodes.iter().try_for_each(|node| collect(node, found)),
        Node::Map(fields) => {
            let mut lists = fields.iter().filter(|(name, _)| name == "List").peekable();
            if lists.peek().is_none() {
                found.push(Fields(fields));
            }
            lists.try_for_each(|(_, node)| collect(node, found))
        }
    }
}

/// The fields of an object or element.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [(String, Node)]);

impl<'a> Fields<'a> {
    /// A text that may be absent. Empty is absent, and so is a number that has lost digits.
    pub(super) fn text(self, name: &'static str) -> Result<Option<&'a str>, Undecodable> {
        let mut found = self.0.iter().filter(|(given, _)| given == name).map(|(_, node)| node);
        let node = found.next();
        if found.next().is_some() {
            return Err(Undecodable::Repeated(name));
        }
        match node {
            Some(Node::Text(text)) if !text.is_empty() => Ok(Some(text)),
            None | Some(Node::Text(_) | Node::Null | Node::Inexact) => Ok(None),
            Some(Node::Map(_) | Node::List(_)) => Err(Undecodable::Odd(name)),
        }
    }

    pub(super) fn needed(self, name: &'static str) -> Result<&'a str, Undecodable> {
        let inexact = |(given, node): &(String, Node)| given == name && *node == Node::Inexact;
        let why = |inexact| if inexact { Undecodable::Odd(name) } else { Undecodable::Missing(name) };
        self.text(name)?.ok_or_else(|| why(self.0.iter().any(inexact)))
    }

    /// A text that nothing hangs on: whatever is odd about it, it is absent.
    pub(super) fn lenient(self, name: &'static str) -> Option<&'a str> {
        self.text(name).ok().flatten()
    }
}

pub(super) fn id(text: &str, name: &'static str) -> Result<String, Undecodable> {
    let fits = text.len() <= MAX_ID_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err(Undecodable::Odd(name)) }
}

pub(super) fn word(text: &str, name: &'static str) -> Result<String, Undecodable> {
    let fits = text.len() <= MAX_WORD_BYTES
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte));
    if fits { Ok(text.to_owned()) } else { Err(Undecodable::Odd(name)) }
}

pub(super) fn time(text: &str) -> Result<i64, Undecodable> {
    let time = text.parse().ok().filter(|time| (0..=MAX_TIME).contains(time));
    time.ok_or(Undecodable::Odd("CreateTime"))
}
