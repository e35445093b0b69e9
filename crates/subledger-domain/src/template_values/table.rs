//! The table of value types: what WeChat documents for each, on one line each.
//!
//! From the page of `subscribeMessage.send` (both editions agree); the undocumented types are those of WeChat's own samples
//! and of templates in the wild. A new type is a new line here, never a new branch elsewhere.

use super::{alphabet::Alphabet, length::Limit, shape::Shape};

/// What is known about one type.
pub(super) struct TypeRule {
    /// The key without its trailing digits.
    name: &'static str,
    /// How long a value may be.
    pub(super) limit: Limit,
    /// Which characters it may have.
    pub(super) alphabet: Alphabet,
    /// How it has to be written, beyond its characters.
    pub(super) shape: Option<Shape>,
    /// Whether the template lists the allowed values.
    pub(super) listed: bool,
    /// Whether WeChat documents the type; only a documented limit may block.
    pub(super) documented: bool,
    /// Whether a shortened value still makes sense: free text does, a number does not.
    pub(super) may_be_cut: bool,
}

impl TypeRule {
    const fn new(name: &'static str, limit: Limit, alphabet: Alphabet) -> Self {
        Self { name, limit, alphabet, shape: None, listed: false, documented: true, may_be_cut: false }
    }

    const fn shaped(self, shape: Shape) -> Self {
        Self { shape: Some(shape), ..self }
    }

    const fn listed(self) -> Self {
        Self { listed: true, ..self }
    }

    const fn free_text(self) -> Self {
        Self { may_be_cut: true, ..self }
    }

    const fn undocumented(self) -> Self {
        Self { documented: false, ..self }
    }
}

/// What is asked of a type that nobody documents.
pub(super) const UNKNOWN: TypeRule = TypeRule::new("", Limit::Characters(20), Alphabet::Any).undocumented();

const TYPES: &[TypeRule] = &[
    TypeRule::new("thing", Limit::Characters(20), Alphabet::Any).free_text(),
    TypeRule::new("number", Limit::Digits(32), Alphabet::Number).shaped(Shape::Number),
    TypeRule::new("letter", Limit::Characters(32), Alphabet::Letters),
    TypeRule::new("symbol", Limit::Characters(5), Alphabet::Symbols),
    TypeRule::new("character_string", Limit::Characters(32), Alphabet::NoHan),
    TypeRule::new("time", Limit::None, Alphabet::Any).shaped(Shape::Time),
    TypeRule::new("date", Limit::None, Alphabet::Any).shaped(Shape::Date),
    TypeRule::new("amount", Limit::WholeDigits(10), Alphabet::Any).shaped(Shape::Amount),
    TypeRule::new("phone_number", Limit::Characters(17), Alphabet::DigitsAndSymbols),
    TypeRule::new("car_number", Limit::Characters(8), Alphabet::Any).shaped(Shape::CarNumber),
    TypeRule::new("name", Limit::HanOrElse { han: 10, other: 20 }, Alphabet::HanLettersSymbols),
    TypeRule::new("phrase", Limit::Characters(5), Alphabet::Han),
    TypeRule::new("enum", Limit::None, Alphabet::Any).listed(),
    TypeRule::new("enum_string", Limit::None, Alphabet::Any).listed(),
    TypeRule::new("short_thing", Limit::Characters(20), Alphabet::Any).undocumented(),
    TypeRule::new("const", Limit::Characters(20), Alphabet::Any).undocumented(),
    TypeRule::new("site", Limit::Characters(20), Alphabet::Any).undocumented(),
];

/// The rule of a type, if the type is known.
pub(super) fn rule_of(name: &str) -> Option<&'static TypeRule> {
    TYPES.iter().find(|rule| rule.name == name)
}
