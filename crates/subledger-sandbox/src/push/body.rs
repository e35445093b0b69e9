//! From what happened to the body that is posted: fields, shapes (wechat-api §7.3, §11.6), envelope.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Map, Value};

use super::node::{Node, render};
use super::{Info, PushFormat, PushMode, PushRequest, Target, crypt};
use crate::clock::{Millis, SECOND};
use crate::error::ControlError;
use crate::reality::{ListShape, Reality, Scalar, Scene};

/// What a push tells.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// `subscribe_msg_popup_event`: one push for all ids of a call.
    Popup(Vec<Item>),
    /// `subscribe_msg_change_event`.
    Change(Vec<Item>),
    /// `subscribe_msg_sent_event`.
    Sent { template_id: String, msgid: u64, code: i64, status: &'static str },
    /// Fields given by hand.
    Fields(Vec<(String, Node)>),
    /// A body given by hand.
    Raw(String),
}

/// A template and the word for it.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) template_id: String,
    pub(crate) word: &'static str,
}

/// What a push belongs to in the other journals.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin {
    /// An act, by its `seq`.
    Act(u64),
    /// A message.
    Message(u64),
    /// The control API.
    Request,
}

impl Origin {
    pub(crate) fn act(self) -> Option<u64> {
        match self {
            Self::Act(seq) => Some(seq),
            _ => None,
        }
    }

    pub(crate) fn msgid(self) -> Option<u64> {
        match self {
            Self::Message(msgid) => Some(msgid),
            _ => None,
        }
    }
}

impl Event {
    /// Reads what is asked for by hand; `msgid` becomes the `MsgId` of a chat message.
    pub(crate) fn requested(request: &PushRequest, msgid: u64) -> Result<Self, ControlError> {
        if request.openid.is_empty() {
            return Err(ControlError::invalid("openid", "must not be empty"));
        }
        match (&request.text, &request.fields, &request.raw) {
            (Some(text), None, None) => Ok(Self::Fields(vec![
                ("MsgType".to_owned(), Node::text("text")),
                ("Content".to_owned(), Node::text(text)),
                ("MsgId".to_owned(), Node::number(msgid)),
            ])),
            (None, Some(fields), None) => fields_of(fields),
            (None, None, Some(raw)) => Ok(Self::Raw(raw.clone())),
            _ => Err(ControlError::invalid("text", "or fields or raw: exactly one is required")),
        }
    }

    /// True if WeChat has nothing to tell.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Popup(items) | Self::Change(items) if items.is_empty())
    }

    pub(crate) fn template_ids(&self) -> Vec<String> {
        match self {
            Self::Popup(items) | Self::Change(items) => items.iter().map(|i| i.template_id.clone()).collect(),
            Self::Sent { template_id, .. } => vec![template_id.clone()],
            Self::Fields(_) | Self::Raw(_) => Vec::new(),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Popup(_) => "subscribe_msg_popup_event".to_owned(),
            Self::Change(_) => "subscribe_msg_change_event".to_owned(),
            Self::Sent { .. } => "subscribe_msg_sent_event".to_owned(),
            Self::Raw(_) => "raw".to_owned(),
            Self::Fields(fields) => {
                let text = |wanted: &str| {
                    fields.iter().find_map(|(name, node)| match node {
                        Node::Text(text) if name == wanted => Some(text.clone()),
                        _ => None,
                    })
                };
                text("Event").or_else(|| text("MsgType")).unwrap_or_else(|| "other".to_owned())
            }
        }
    }
}

fn fields_of(fields: &Map<String, Value>) -> Result<Event, ControlError> {
    let reason = "names must be letters, digits and _, and there must be one at least";
    match Node::from_fields(fields) {
        Some(nodes) if !nodes.is_empty() => Ok(Event::Fields(nodes)),
        _ => Err(ControlError::invalid("fields", reason)),
    }
}

/// A push, written.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) event: String,
    /// Before encryption.
    pub(crate) clear: String,
    /// As posted.
    pub(crate) body: String,
    /// What `msg_signature` covers.
    pub(crate) encrypt: Option<String>,
}

/// Writes the push. Every shape is drawn whether it is needed or not, so that pushes draw alike.
pub(crate) fn draft(
    event: &Event,
    openid: &str,
    target: &Target,
    now: Millis,
    reality: &Reality,
    dice: &mut StdRng,
) -> Draft {
    let shape = Shape::draw(reality, target.view.format, dice);
    let (random, previous) = (dice.random::<[u8; 16]>(), reality.previous_key.draw(dice));
    let format = target.view.format;
    let mut fields = vec![
        ("ToUserName".to_owned(), Node::text(target.view.gh_id.clone())),
        ("FromUserName".to_owned(), Node::text(openid)),
        ("CreateTime".to_owned(), scalar(now.div_euclid(SECOND), shape.create_time_text)),
    ];
    for (name, node) in own_fields(event, &shape) {
        match fields.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = node,
            None => fields.push((name, node)),
        }
    }
    let clear = match event {
        Event::Raw(body) => body.clone(),
        _ => render(&fields, format, shape.lines),
    };
    let (body, encrypt) = match target.view.mode {
        PushMode::Plaintext => (clear.clone(), None),
        mode => {
            let key = target.previous.as_ref().filter(|_| previous).unwrap_or(&target.key);
            let encrypt = crypt::seal(key, ascii(random), clear.as_bytes(), &target.tail);
            let sealed = ("Encrypt".to_owned(), Node::text(encrypt.clone()));
            let mut outer = match (mode, event) {
                (PushMode::Compatible, Event::Raw(_)) | (PushMode::Secure, _) => vec![fields.swap_remove(0)],
                _ => fields,
            };
            outer.push(sealed);
            (render(&outer, format, shape.lines), Some(encrypt))
        }
    };
    Draft { event: event.name(), clear, body, encrypt }
}

/// Writes what a platform is told about itself.
pub(super) fn draft_info(
    info: &Info,
    target: &Target,
    now: Millis,
    reality: &Reality,
    dice: &mut StdRng,
) -> Draft {
    let shape = Shape::draw(reality, target.view.format, dice);
    let (random, previous) = (dice.random::<[u8; 16]>(), reality.previous_key.draw(dice));
    let field = |name: &str, node: Node| (name.to_owned(), node);
    let account = ("AppId".to_owned(), Node::text(target.tail.clone()));
    let mut fields = vec![
        account.clone(),
        field("CreateTime", scalar(now.div_euclid(SECOND), shape.create_time_text)),
        field("InfoType", Node::text(info.name())),
    ];
    match info {
        Info::Ticket { ticket } => fields.push(field("ComponentVerifyTicket", Node::text(ticket))),
        Info::Authorized { appid, code, expires, pre_auth_code, .. } => fields.extend([
            field("AuthorizerAppid", Node::text(appid)),
            field("AuthorizationCode", Node::text(code)),
            field("AuthorizationCodeExpiredTime", scalar(*expires, shape.create_time_text)),
            field("PreAuthCode", Node::text(pre_auth_code)),
        ]),
        Info::Unauthorized { appid } => fields.push(field("AuthorizerAppid", Node::text(appid))),
    }
    let clear = render(&fields, target.view.format, shape.lines);
    let key = target.previous.as_ref().filter(|_| previous).unwrap_or(&target.key);
    let encrypt = crypt::seal(key, ascii(random), clear.as_bytes(), &target.tail);
    let outer = [account, field("Encrypt", Node::text(encrypt.clone()))];
    let body = render(&outer, target.view.format, shape.lines);
    Draft { event: info.name().to_owned(), clear, body, encrypt: Some(encrypt) }
}

/// WeChat's sixteen random bytes are printable; so are ours.
fn ascii(random: [u8; 16]) -> [u8; 16] {
    random.map(|byte| b"0123456789abcdef"[usize::from(byte % 16)])
}

/// The choices made for one push.
struct Shape {
    list: ListShape,
    wrapped: bool,
    lines: bool,
    xml: bool,
    create_time_text: bool,
    msgid_text: bool,
    codes_text: bool,
    scene: i64,
}

impl Shape {
    fn draw(reality: &Reality, format: PushFormat, dice: &mut StdRng) -> Self {
        let xml = format == PushFormat::Xml;
        let shapes = [ListShape::ByCount, ListShape::Array, ListShape::WrapperArray, ListShape::WrapperList];
        let drawn = shapes[dice.random_range(0..shapes.len())];
        let list = if reality.list == ListShape::Mixed { drawn } else { reality.list };
        let scene = if dice.random::<bool>() { 2 } else { 0 };
        let mut text = |scalar: Scalar| {
            let coin = dice.random::<bool>();
            match scalar {
                Scalar::Mixed => coin,
                // XML has no quotes to put; see the doc of `Scalar`.
                Scalar::Text => !xml,
                Scalar::Number => false,
            }
        };
        let (create_time_text, msgid_text, codes_text) =
            (text(reality.create_time), text(reality.push_msgid), text(reality.push_codes));
        Self {
            list,
            wrapped: !reality.xml_bare_list.draw(dice),
            lines: reality.xml_lines.draw(dice),
            xml,
            create_time_text,
            msgid_text,
            codes_text,
            scene: match reality.popup_scene {
                Scene::Zero => 0,
                Scene::Two => 2,
                Scene::Mixed => scene,
            },
        }
    }
}

fn scalar(number: impl Into<serde_json::Number>, text: bool) -> Node {
    let number = number.into();
    if text { Node::text(number.to_string()) } else { Node::Number(number) }
}

fn own_fields(event: &Event, shape: &Shape) -> Vec<(String, Node)> {
    let (wrapper, items) = match event {
        Event::Popup(items) => {
            let scene = || ("PopupScene".to_owned(), scalar(shape.scene, shape.codes_text));
            let item = |item: &Item| Node::Object(words(item).into_iter().chain([scene()]).collect());
            ("SubscribeMsgPopupEvent", items.iter().map(item).collect::<Vec<_>>())
        }
        Event::Change(items) => {
            ("SubscribeMsgChangeEvent", items.iter().map(|i| Node::Object(words(i))).collect())
        }
        Event::Sent { template_id, msgid, code, status } => {
            let item = vec![
                ("TemplateId".to_owned(), Node::text(template_id.clone())),
                ("MsgID".to_owned(), scalar(*msgid, shape.msgid_text)),
                ("ErrorCode".to_owned(), scalar(*code, shape.codes_text)),
                ("ErrorStatus".to_owned(), Node::text(*status)),
            ];
            ("SubscribeMsgSentEvent", vec![Node::Object(item)])
        }
        Event::Fields(fields) => return fields.clone(),
        Event::Raw(_) => return Vec::new(),
    };
    vec![
        ("MsgType".to_owned(), Node::text("event")),
        ("Event".to_owned(), Node::text(event.name())),
        listed(wrapper, items, shape),
    ]
}

fn words(item: &Item) -> Vec<(String, Node)> {
    vec![
        ("TemplateId".to_owned(), Node::text(item.template_id.clone())),
        ("SubscribeStatusString".to_owned(), Node::text(item.word)),
    ]
}

/// The items under the name and in the shape that the push has them.
fn listed(wrapper: &str, items: Vec<Node>, shape: &Shape) -> (String, Node) {
    let list = "List".to_owned();
    let by_count = |mut items: Vec<Node>| match items.len() {
        1 => items.remove(0),
        _ => Node::List(items),
    };
    if shape.xml {
        let items = Node::List(items);
        return match shape.wrapped {
            true => (wrapper.to_owned(), Node::Object(vec![(list, items)])),
            false => (list, items),
        };
    }
    match shape.list {
        ListShape::Array => (list, Node::List(items)),
        ListShape::WrapperArray => (wrapper.to_owned(), Node::List(items)),
        ListShape::WrapperList => (wrapper.to_owned(), Node::Object(vec![(list, by_count(items))])),
        ListShape::ByCount | ListShape::Mixed => (list, by_count(items)),
    }
}
