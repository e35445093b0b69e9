//! Which characters a type allows, in WeChat's own four classes: Han, letters, digits, symbols.
//!
//! WeChat names the classes and does not define them. Here Han is the Unicode script (so 々 and 〇 count), a letter is
//! any other alphabetic character, a digit is ASCII, and a symbol is the rest without control characters.

use unicode_script::{Script, UnicodeScript};

/// A set of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// Everything; control characters have a rule of their own.
    Any,
    /// Han only.
    Han,
    /// Letters only.
    Letters,
    /// Symbols only.
    Symbols,
    /// ASCII digits and the decimal point.
    Number,
    /// Digits and symbols.
    DigitsAndSymbols,
    /// Han, letters and symbols.
    HanLettersSymbols,
    /// Digits, letters and symbols.
    NoHan,
}

impl Alphabet {
    /// Whether `c` belongs to it. Control characters always do: they are reported once, by their own rule.
    pub(super) fn allows(self, c: char) -> bool {
        if is_control(c) {
            return true;
        }
        match self {
            Self::Any => true,
            Self::Han => is_han(c),
            Self::Letters => is_letter(c),
            Self::Symbols => is_symbol(c),
            Self::Number => c.is_ascii_digit() || c == '.',
            Self::DigitsAndSymbols => c.is_ascii_digit() || is_symbol(c),
            Self::HanLettersSymbols => !c.is_numeric() || is_han(c),
            Self::NoHan => !is_han(c),
        }
    }

    /// The set in words, to follow "use".
    pub(super) const fn wanted(self) -> &'static str {
        match self {
            Self::Any => "ordinary characters",
            Self::Han => "Chinese characters",
            Self::Letters => "letters",
            Self::Symbols => "symbols",
            Self::Number => "the digits 0 to 9 and a decimal point",
            Self::DigitsAndSymbols => "digits and symbols",
            Self::HanLettersSymbols => "Chinese characters, letters and symbols",
            Self::NoHan => "digits, letters and symbols",
        }
    }
}

/// Whether `c` is written in the Han script.
pub(super) fn is_han(c: char) -> bool {
    c.script() == Script::Han
}

/// Whether `c` breaks a line or does not print. The Unicode line and paragraph separators break lines too.
pub(super) fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

fn is_letter(c: char) -> bool {
    c.is_alphabetic() && !is_han(c)
}

fn is_symbol(c: char) -> bool {
    !c.is_alphanumeric() && !is_han(c)
}
