//! Says what is wrong with a value without repeating it.

use super::alphabet::{Alphabet, is_control};

/// How many offending characters are shown; enough to find them, too few to leak a value.
const SHOWN: usize = 5;

/// The first control character and its place, from 1.
pub(super) fn control_character(value: &str) -> Option<String> {
    let (at, c) = value.chars().enumerate().find(|(_, c)| is_control(*c))?;
    let what = match c {
        '\n' | '\r' | '\u{2028}' | '\u{2029}' => "a line break".to_owned(),
        '\t' => "a tab".to_owned(),
        other => format!("the control character U+{:04X}", u32::from(other)),
    };
    Some(format!("{what} at character {}", at + 1))
}

/// The characters of `value` outside `alphabet`, a few of them and each once.
pub(super) fn outside(value: &str, alphabet: Alphabet) -> Option<String> {
    let mut odd: Vec<char> = Vec::new();
    let mut more = false;
    for c in value.chars().filter(|c| !alphabet.allows(*c)) {
        if odd.contains(&c) {
            continue;
        }
        if odd.len() == SHOWN {
            more = true;
            break;
        }
        odd.push(c);
    }
    let shown: Vec<String> = odd.iter().map(|c| format!("{c:?}")).collect();
    let tail = if more { " and more" } else { "" };
    (!odd.is_empty()).then(|| format!("{}{tail}", shown.join(", ")))
}
