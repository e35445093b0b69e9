//! XML to tree.
//!
//! Elements and text, nothing else: attributes are not looked at, comments and processing instructions are passed over. A
//! document type declaration ends it, and so does any entity but XML's own five, so nothing is ever read from elsewhere
//! and nothing grows when it is read.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

use super::error::Undecodable;
use super::tree::{Budget, Node};

pub(super) fn parse(text: &str) -> Result<Node, Undecodable> {
    let mut reader = Reader::from_str(text);
    let mut budget = Budget::new();
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        let at = reader.buffer_position();
        let broken = Undecodable::BrokenXml { at };
        let event =
            reader.read_event().map_err(|_| Undecodable::BrokenXml { at: reader.error_position() })?;
        match event {
            Event::Start(_) | Event::Empty(_) if root.is_some() => return Err(broken),
            Event::Start(start) => {
                budget.take(open.len() + 1)?;
                open.push(Element::new(start.name().as_ref()));
            }
            Event::Empty(start) => {
                budget.take(open.len() + 1)?;
                let element = Element::new(start.name().as_ref());
                close(element, &mut open, &mut root);
            }
            Event::End(_) => {
                let element = open.pop().ok_or(broken)?;
                close(element, &mut open, &mut root);
            }
            Event::Text(text) => add(&text, &mut open).ok_or(broken)?,
            Event::CData(text) => add(&text, &mut open).ok_or(broken)?,
            Event::GeneralRef(reference) => {
                let character = resolve(&reference).ok_or(Undecodable::Entity { at })?;
                add(character.encode_utf8(&mut [0; 4]), &mut open).ok_or(broken)?;
            }
            Event::DocType(_) => return Err(Undecodable::Doctype),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) => {}
            Event::Eof if open.is_empty() => return root.ok_or(broken),
            Event::Eof => return Err(broken),
        }
    }
}

/// An element whose end has not been seen.
struct Element {
    name: String,
    text: String,
    inside: Vec<(String, Node)>,
}

impl Element {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), text: String::new(), inside: Vec::new() }
    }
}

/// Puts a finished element into the one around it. Text between elements is layout and goes.
fn close(element: Element, open: &mut [Element], root: &mut Option<Node>) {
    let Element { name, text, inside } = element;
    let node = if inside.is_empty() { Node::Text(text.trim().to_owned()) } else { Node::Map(inside) };
    match open.last_mut() {
        Some(around) => around.inside.push((name, node)),
        None => *root = Some(node),
    }
}

/// Adds text to the innermost element; outside of all there may be white space only.
fn add(text: &str, open: &mut [Element]) -> Option<()> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return None,
    }
    Some(())
}

/// A numeric reference to a character that XML allows, or one of the five entities that need no declaration.
fn resolve(reference: &BytesRef<'_>) -> Option<char> {
    if reference.is_char_ref() {
        let character = reference.resolve_char_ref().ok().flatten()?;
        let allowed = matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..);
        return allowed.then_some(character);
    }
    match &**reference {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Node, Undecodable> {
        Ok(Node::Map(vec![("a".to_owned(), Node::Text(text.to_owned()))]))
    }

    #[test]
    fn text_comes_in_many_ways() {
        for xml in [
            "<xml><a>x&lt;y</a></xml>",
            "<xml><a><![CDATA[x<y]]></a></xml>",
            "<xml>\n <a>\n <![CDATA[x<]]>y </a>\r\n</xml>\n",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><!-- c --><xml><a k='v'>x&#60;<!-- c -->y</a></xml>",
            "<xml><?pi x?><a>x&#x3c;y</a></xml><!-- c -->",
        ] {
            assert_eq!(parse(xml), one("x<y"), "{xml}");
        }
        assert_eq!(parse("<xml><a/></xml>"), one(""));
        assert_eq!(parse("<xml><a>&#20013;&#x10FFFF;</a></xml>"), one("中\u{10ffff}"));
        assert_eq!(parse("<xml/>"), Ok(Node::Text(String::new())));
    }

    #[test]
    fn broken_xml_is_refused() {
        for xml in [
            "<",
            "<xml",
            "<xml>",
            "<xml><a></xml>",
            "<xml></a></xml>",
            "</xml>",
            "<xml/><xml/>",
            "<xml></xml>x",
            "<xml/><![CDATA[x]]>",
            "<xml><![CDATA[x</xml>",
            "<!-- only -->",
            "<xml>&amp</xml>",
            "<xml>&</xml>",
            "<xml/>&amp;",
        ] {
            assert!(matches!(parse(xml), Err(Undecodable::BrokenXml { .. })), "{xml}: {:?}", parse(xml));
        }
    }

    #[test]
    fn nothing_is_declared_and_nothing_expanded() {
        for xml in [
            "<!DOCTYPE xml><xml/>",
            "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><xml><a>&e;</a></xml>",
            "<!DOCTYPE x SYSTEM \"http://127.0.0.1/x.dtd\"><xml/>",
            "<!doctype x><xml/>",
            "<xml/><!DOCTYPE x>",
        ] {
            assert_eq!(parse(xml), Err(Undecodable::Doctype), "{xml}");
        }
        for xml in [
            "<xml>&e;</xml>",
            "<xml>&nbsp;</xml>",
            "<xml>&#0;</xml>",
            "<xml>&#xD800;</xml>",
            "<xml>&#xFFFF;</xml>",
            "<xml>&#x;</xml>",
        ] {
            assert!(matches!(parse(xml), Err(Undecodable::Entity { .. })), "{xml}: {:?}", parse(xml));
        }
    }
}
