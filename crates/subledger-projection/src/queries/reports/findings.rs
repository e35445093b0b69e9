//! What the reports of drift and of doubt have in common: which entries are wanted, how they are counted, how they are paged.

use std::{collections::BTreeMap, ops::AddAssign};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use subledger_domain::{TemplateId, Timestamp};
use subledger_store::Position;

use super::MAX_REPORT_TEMPLATES;
use crate::{
    MAX_PAGE, PageRequest, QueryError,
    database::{Param, int},
    queries::{surplus, unreadable},
    rows::codes::Coded,
};

/// How much of one group there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group<C> {
    /// What they have in common: a template, an age, a cause, an end.
    pub of: String,
    /// How much.
    #[serde(flatten)]
    pub count: C,
}

/// A page of entries, newest first, and what the report knows beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries<T, C> {
    /// Whether anything was ever recorded about the template asked for.
    pub recorded: bool,
    /// Counts of everything that was asked for; only with the first page.
    pub counts: Option<C>,
    /// The entries.
    pub entries: Vec<T>,
    /// The cursor of the next page; none after the last entry.
    pub next: Option<String>,
}

/// A place in the order of entries: when, then where.
pub(super) type Place = (Timestamp, Position);

/// As the database tells it.
#[derive(Deserialize)]
pub(super) struct Found<G, E> {
    #[serde(deserialize_with = "crate::rows::flag")]
    pub(super) known: bool,
    pub(super) groups: Vec<G>,
    pub(super) entries: Vec<E>,
}

impl<G, E> Default for Found<G, E> {
    fn default() -> Self {
        Self { known: false, groups: Vec::new(), entries: Vec::new() }
    }
}

/// The parameters that both questions begin with: since, until, place to go on before, limit, whether to count, template.
pub(super) fn params(
    (since, until): (Timestamp, Timestamp),
    template: Option<&TemplateId>,
    page: &PageRequest,
    query: &str,
) -> Result<Vec<Param>, QueryError> {
    if !(1..=MAX_PAGE).contains(&page.limit) {
        return Err(QueryError::Limit);
    }
    let before: Option<Place> = page.key(query)?;
    let (at, position) = before.map_or((i64::MAX, i64::MAX), |(at, position)| (at.micros(), int(position.0)));
    // Nothing is counted after the first page, so the period may end where it goes on: what was listed is not read again.
    let until = before.map_or(until, |(at, _)| until.min(at.plus_micros(1)));
    Ok(vec![
        since.micros().into(),
        until.micros().into(),
        at.into(),
        position.into(),
        surplus(page.limit),
        Param::Int(before.is_none().into()),
        Param::MaybeText(template.map(TemplateId::to_string)),
    ])
}

/// Cuts the surplus entry off that only tells that there are more; gives the cursor to go on with.
pub(super) fn cut<T>(
    entries: &mut Vec<T>,
    limit: u32,
    query: &str,
    place: impl Fn(&T) -> Place,
) -> Result<Option<String>, QueryError> {
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    match entries.last() {
        Some(last) if more => {
            let bytes = serde_json::to_vec(&(query, place(last))).map_err(|_| QueryError::Cursor)?;
            Ok(Some(URL_SAFE_NO_PAD.encode(bytes)))
        }
        _ => Ok(None),
    }
}

/// A word that stands in an answer as its number.
pub(super) fn coded<T: Coded>(code: i64) -> Result<T, QueryError> {
    T::from_code(code).ok_or_else(|| unreadable(&"a number stands for no word"))
}

pub(super) fn maybe_coded<T: Coded>(code: Option<i64>) -> Result<Option<T>, QueryError> {
    code.map(coded).transpose()
}

/// Counts by words of a closed set: each has its group, in the order of the set.
pub(super) struct ByWord<C> {
    groups: Vec<Group<C>>,
}

impl<C: Default + AddAssign + Copy> ByWord<C> {
    pub(super) fn new(words: impl IntoIterator<Item = &'static str>) -> Self {
        let group = |word: &str| Group { of: word.to_owned(), count: C::default() };
        Self { groups: words.into_iter().map(group).collect() }
    }

    pub(super) fn add(&mut self, word: &str, count: C) {
        if let Some(group) = self.groups.iter_mut().find(|group| group.of == word) {
            group.count += count;
        }
    }

    pub(super) fn groups(self) -> Vec<Group<C>> {
        self.groups
    }
}

/// Counts by template: those with the most come first, and no more than a page of templates.
pub(super) struct ByTemplate<C> {
    groups: BTreeMap<String, C>,
}

impl<C: Default + AddAssign + Copy> ByTemplate<C> {
    pub(super) const fn new() -> Self {
        Self { groups: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, template: String, count: C) {
        *self.groups.entry(template).or_default() += count;
    }

    pub(super) fn groups(self, amount: impl Fn(&C) -> u64) -> Vec<Group<C>> {
        let mut groups: Vec<_> = self.groups.into_iter().map(|(of, count)| Group { of, count }).collect();
        groups.sort_by_key(|group| std::cmp::Reverse(amount(&group.count)));
        groups.truncate(MAX_REPORT_TEMPLATES as usize);
        groups
    }
}

/// Entries as told by the database, each made a row.
pub(super) fn rows<E, T>(
    entries: Vec<E>,
    row: impl Fn(E) -> Result<T, QueryError>,
) -> Result<Vec<T>, QueryError>
where
    E: DeserializeOwned,
{
    entries.into_iter().map(row).collect()
}
