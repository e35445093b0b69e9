//! The body of a push as a tree with ordered fields, written as JSON or as XML.
//!
//! Both spellings of one push come from one tree, as they do at WeChat: in XML a list is an element that is repeated,
//! text is CDATA, and numbers stand bare.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

use super::PushFormat;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Text(String),
    Number(Number),
    Object(Vec<(String, Node)>),
    List(Vec<Node>),
}

impl Node {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn number(number: impl Into<Number>) -> Self {
        Self::Number(number.into())
    }

    /// A field name that both formats can carry.
    pub(crate) fn is_name(name: &str) -> bool {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    /// Fields given by hand; `None` if a name at any depth is not one.
    pub(crate) fn from_fields(fields: &Map<String, Value>) -> Option<Vec<(String, Self)>> {
        let named = |(name, value): (&String, &Value)| {
            Self::is_name(name).then_some(())?;
            Some((name.clone(), Self::from_value(value)?))
        };
        fields.iter().map(named).collect()
    }

    fn from_value(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => Self::text(""),
            Value::Bool(flag) => Self::text(flag.to_string()),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::text(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::from_value).collect::<Option<_>>()?),
            Value::Object(fields) => Self::Object(Self::from_fields(fields)?),
        })
    }
}

/// Writes `fields` as the body of a push; `lines` puts line ends between XML elements.
pub(crate) fn render(fields: &[(String, Node)], format: PushFormat, lines: bool) -> String {
    let mut out = String::new();
    match format {
        PushFormat::Json => json_object(&mut out, fields),
        PushFormat::Xml => {
            let end = if lines { "\n" } else { "" };
            let _ = write!(out, "<xml>{end}");
            xml_fields(&mut out, fields, end);
            out.push_str("</xml>");
        }
    }
    out
}

fn json(out: &mut String, node: &Node) {
    match node {
        Node::Text(text) => out.push_str(&Value::from(text.as_str()).to_string()),
        Node::Number(number) => {
            let _ = write!(out, "{number}");
        }
        Node::Object(fields) => json_object(out, fields),
        Node::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                json(out, item);
            }
            out.push(']');
        }
    }
}

fn json_object(out: &mut String, fields: &[(String, Node)]) {
    out.push('{');
    for (index, (name, node)) in fields.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(out, "{comma}\"{name}\":");
        json(out, node);
    }
    out.push('}');
}

fn xml_fields(out: &mut String, fields: &[(String, Node)], end: &str) {
    for (name, node) in fields {
        match node {
            Node::List(items) => items.iter().for_each(|item| xml_element(out, name, item, end)),
            one => xml_element(out, name, one, end),
        }
    }
}

fn xml_element(out: &mut String, name: &str, node: &Node, end: &str) {
    let _ = write!(out, "<{name}>");
    match node {
        // The only sequence that CDATA cannot hold is cut in two.
        Node::Text(text) => {
            let _ = write!(out, "<![CDATA[{}]]>", text.replace("]]>", "]]]]><![CDATA[>"));
        }
        Node::Number(number) => {
            let _ = write!(out, "{number}");
        }
        Node::Object(fields) => {
            out.push_str(end);
            xml_fields(out, fields, end);
        }
        Node::List(items) => items.iter().for_each(|item| xml_element(out, "item", item, end)),
    }
    let _ = write!(out, "</{name}>{end}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn one_tree_two_spellings() {
        let fields = json!({ "A": "x\"]]>y", "B": [{ "C": 1 }, { "C": "2" }], "D": { "E": null } });
        let fields = Node::from_fields(fields.as_object().unwrap()).unwrap();
        assert_eq!(
            render(&fields, PushFormat::Json, false),
            r#"{"A":"x\"]]>y","B":[{"C":1},{"C":"2"}],"D":{"E":""}}"#
        );
        assert_eq!(
            render(&fields, PushFormat::Xml, false),
            "<xml><A><![CDATA[x\"]]]]><![CDATA[>y]]></A><B><C>1</C></B><B><C><![CDATA[2]]></C></B>\
             <D><E><![CDATA[]]></E></D></xml>"
        );
        let spread = render(&fields[1..2], PushFormat::Xml, true);
        assert_eq!(spread, "<xml>\n<B>\n<C>1</C>\n</B>\n<B>\n<C><![CDATA[2]]></C>\n</B>\n</xml>");
        assert!(Node::from_fields(json!({ "a b": 1 }).as_object().unwrap()).is_none());
    }
}
