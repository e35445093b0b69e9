//! `subledger import`: what other systems counted.
//!
//! The file is read once, in pieces, and never held whole. A row is known by what it says (under the keyed ids of the
//! books, not by name) and by how often the file has said it before, so an import that broke off is finished by running it
//! again.

use std::{
    collections::HashMap,
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use csv::{StringRecord, Trim};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use subledger_domain::{
    ChannelCode, LogName, StreamName, TemplateId, TemplateKind, binding::Binding, channel::Channel,
};
use subledger_engine::{
    Engine,
    corrections::{OpenedRow, OpeningRow, Whose},
    limits,
};
use subledger_store::Store;

use super::{channel_code, engine, no_channel, operator, settings};
use crate::{
    cli::{Import, ImportBalances},
    exit::{self, SettingsError},
    node, output,
};

pub(super) async fn run(import: Import) -> anyhow::Result<ExitCode> {
    match import {
        Import::Balances(import) => balances(import).await,
    }
}

async fn balances(import: ImportBalances) -> anyhow::Result<ExitCode> {
    let channel = channel_code(&import.channel)?;
    let name = import.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let id = import.import_id.clone().unwrap_or(name);
    let mut rows = Rows::open(&import.file)?;
    let errors = errors_beside(&import.file);
    let summary = if import.dry_run {
        let store = node::open_store(&settings(&import.common)?.store()?).await?;
        let summary = check(&store, &channel, &mut rows, Faults::new(&errors)).await;
        store.close().await;
        summary?
    } else {
        let engine = engine(&import.common).await?;
        let summary = count(&engine, &channel, &id, &mut rows, Faults::new(&errors)).await;
        engine.shutdown().await;
        summary.with_context(|| format!("import {id} broke off; run the same command again to finish it"))?
    };
    let faulty = (summary.refused > 0).then(|| errors.display().to_string());
    if import.json {
        output::json(&json!({
            "import_id": id, "dry_run": import.dry_run, "rows": summary.rows(), "counted": summary.counted,
            "repeated": summary.repeated, "refused": summary.refused, "grants": summary.grants, "errors": faulty,
        }))?;
    } else if import.dry_run {
        println!(
            "{} rows could be counted, {} grants. Nothing was changed.",
            summary.counted, summary.grants
        );
    } else {
        println!(
            "Import {id}: {} rows counted, {} grants; {} had been counted before.",
            summary.counted, summary.grants, summary.repeated
        );
    }
    let Some(faulty) = faulty else { return Ok(ExitCode::SUCCESS) };
    if !import.json {
        println!("{} rows cannot be counted; see {faulty}", summary.refused);
    }
    Ok(ExitCode::from(exit::FAILED))
}

/// `balances.csv` → `balances.errors.csv`.
fn errors_beside(file: &Path) -> PathBuf {
    file.with_extension("errors.csv")
}

#[derive(Default)]
struct Summary {
    counted: u64,
    repeated: u64,
    refused: u64,
    grants: u64,
}

impl Summary {
    const fn rows(&self) -> u64 {
        self.counted + self.repeated + self.refused
    }
}

/// A row as the file has it.
struct Row {
    /// Its line, from 1.
    line: u64,
    who: Whose,
    template: TemplateId,
    count: u32,
}

/// Where a row cannot be counted: line, stable word, sentence. The file's values are not repeated.
struct Fault {
    line: u64,
    code: String,
    detail: String,
}

/// The rows that cannot be counted, beside the file that has them. The file is made anew with the first fault.
struct Faults<'a> {
    path: &'a Path,
    writer: Option<csv::Writer<File>>,
}

impl<'a> Faults<'a> {
    const fn new(path: &'a Path) -> Self {
        Self { path, writer: None }
    }

    fn add(&mut self, fault: &Fault) -> anyhow::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let mut writer =
                    csv::Writer::from_path(self.path).with_context(|| format!("{}", self.path.display()))?;
                writer.write_record(["line", "code", "detail"])?;
                none.insert(writer)
            }
        };
        Ok(writer.write_record([&fault.line.to_string(), &fault.code, &fault.detail])?)
    }

    fn end(self) -> anyhow::Result<()> {
        Ok(self.writer.map_or(Ok(()), |mut writer| writer.flush())?)
    }
}

/// The columns of a file.
struct Columns {
    userid: Option<usize>,
    openid: Option<usize>,
    template: usize,
    count: usize,
}

impl Columns {
    fn of(headings: &StringRecord) -> Result<Self, SettingsError> {
        let known = ["userid", "openid", "template", "template_id", "count"];
        if let Some(odd) = headings.iter().find(|heading| !known.contains(heading)) {
            return Err(SettingsError(format!(
                "the column {odd:?} is not known; the first line must name userid or openid, template, count"
            )));
        }
        let find = |name: &str| headings.iter().position(|heading| heading == name);
        let need = |found: Option<usize>, name: &str| {
            found.ok_or_else(|| SettingsError(format!("the first line names no column {name}")))
        };
        let (userid, openid) = (find("userid"), find("openid"));
        need(userid.or(openid), "userid or openid")?;
        let template = need(find("template").or_else(|| find("template_id")), "template")?;
        Ok(Self { userid, openid, template, count: need(find("count"), "count")? })
    }

    fn row(&self, line: u64, record: &StringRecord) -> Result<Row, Fault> {
        let wrong = |code: &str, detail: String| Fault { line, code: code.to_owned(), detail };
        let at = |column: Option<usize>| {
            column.and_then(|column| record.get(column)).filter(|value| !value.is_empty())
        };
        let who = match (at(self.userid), at(self.openid)) {
            (Some(userid), None) => {
                Whose::Userid(userid.parse().map_err(|error| wrong("bad_userid", format!("{error}")))?)
            }
            (None, Some(openid)) => {
                Whose::Openid(openid.parse().map_err(|error| wrong("bad_openid", format!("{error}")))?)
            }
            _ => return Err(wrong("one_of", "give a userid or an openid".to_owned())),
        };
        let template = at(Some(self.template)).unwrap_or_default();
        let template = template.parse().map_err(|error| wrong("bad_template_id", format!("{error}")))?;
        let count = at(Some(self.count)).and_then(|text| text.parse::<u32>().ok()).filter(|count| *count > 0);
        let count = count.ok_or_else(|| wrong("bad_count", "must be a whole number from 1".to_owned()))?;
        Ok(Row { line, who, template, count })
    }
}

/// The rows of a file, one after the other.
struct Rows {
    reader: csv::Reader<File>,
    columns: Columns,
    bar: ProgressBar,
}

impl Rows {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let named = || SettingsError(format!("{} cannot be read", path.display()));
        let file = File::open(path).with_context(named)?;
        let length = file.metadata().with_context(named)?.len();
        let mut reader = csv::ReaderBuilder::new().trim(Trim::All).from_reader(file);
        let columns = Columns::of(reader.headers().with_context(named)?)?;
        // Draws nothing where nobody looks on.
        let bar = ProgressBar::new(length);
        let style = ProgressStyle::with_template("{wide_bar} {percent}% {msg} {eta}")?;
        bar.set_style(style);
        Ok(Self { reader, columns, bar })
    }

    /// The next row, or why it is none; nothing at the end.
    fn next(&mut self) -> Option<Result<Row, Fault>> {
        let mut record = StringRecord::new();
        let line = self.reader.position().line();
        match self.reader.read_record(&mut record) {
            Ok(false) => {
                self.bar.finish_and_clear();
                None
            }
            Ok(true) => {
                let line = record.position().map_or(line, csv::Position::line);
                self.bar.set_position(self.reader.position().byte());
                Some(self.columns.row(line, &record))
            }
            Err(error) => {
                let line = error.position().map_or(line, csv::Position::line);
                let detail = match error.kind() {
                    csv::ErrorKind::Utf8 { .. } => "is not UTF-8".to_owned(),
                    csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                        format!("has {len} columns where {expected_len} are named")
                    }
                    _ => error.to_string(),
                };
                Some(Err(Fault { line, code: "bad_row".to_owned(), detail }))
            }
        }
    }
}

/// The id of a row: what it says under the keyed ids of the books, and how often the file has said it before. Only a hash is
/// kept of what was said; two that fall together get numbers that differ, which does no harm.
struct Ids<'a> {
    store: &'a Store,
    channel: &'a ChannelCode,
    said: HashMap<u64, u32>,
}

impl Ids<'_> {
    fn of(&mut self, row: &Row) -> String {
        let who = match &row.who {
            Whose::Userid(userid) => format!("u{}", self.store.user_ref_of(userid)),
            Whose::Openid(openid) => format!("o{}", self.store.subject_of(self.channel, openid)),
        };
        let says = format!("{who}.{}.{}", row.template, row.count);
        let mut hasher = DefaultHasher::new();
        says.hash(&mut hasher);
        let times = self.said.entry(hasher.finish()).or_default();
        *times += 1;
        format!("{says}.{times}")
    }
}

async fn count(
    engine: &Engine,
    channel: &ChannelCode,
    import: &str,
    rows: &mut Rows,
    mut faults: Faults<'_>,
) -> anyhow::Result<Summary> {
    engine.registered(channel).await?;
    let caller = operator()?;
    let mut ids = Ids { store: engine.store(), channel, said: HashMap::new() };
    let (mut summary, mut more) = (Summary::default(), true);
    while more {
        let (mut lines, mut batch) = (Vec::new(), Vec::new());
        while batch.len() < limits::MAX_OPENING_ROWS {
            match rows.next() {
                Some(Ok(row)) => {
                    let id = ids.of(&row);
                    lines.push(row.line);
                    batch.push(OpeningRow {
                        row: id,
                        who: row.who,
                        template: row.template,
                        count: row.count,
                    });
                }
                Some(Err(fault)) => {
                    summary.refused += 1;
                    faults.add(&fault)?;
                }
                None => {
                    more = false;
                    break;
                }
            }
        }
        if batch.is_empty() {
            continue;
        }
        let done = engine.import_balances(&caller, channel, import, batch).await?;
        for (line, OpenedRow { result, .. }) in lines.into_iter().zip(done.answer) {
            match result {
                Ok(done) if done.replayed => summary.repeated += 1,
                Ok(done) => {
                    summary.counted += 1;
                    summary.grants += done.answer.added.len() as u64;
                }
                Err(error) => {
                    summary.refused += 1;
                    faults.add(&Fault { line, code: error.code.to_owned(), detail: error.detail })?;
                }
            }
        }
        rows.bar.set_message(format!("{} rows", summary.rows()));
    }
    faults.end()?;
    Ok(summary)
}

/// What an import would count, as far as a look at the books can tell.
async fn check(
    store: &Store,
    channel: &ChannelCode,
    rows: &mut Rows,
    mut faults: Faults<'_>,
) -> anyhow::Result<Summary> {
    let log = LogName::channel(channel);
    let (state, _) = store.load::<Channel>(&log, &StreamName::channel()).await?;
    if state.registered().is_none() {
        return Err(no_channel(channel));
    }
    let mut summary = Summary::default();
    while let Some(row) = rows.next() {
        let checked = match row {
            Ok(row) => {
                let wrong = |code: &str, detail: &str| {
                    Err(Fault { line: row.line, code: code.to_owned(), detail: detail.to_owned() })
                };
                let bound = match &row.who {
                    Whose::Userid(userid) => {
                        let stream = StreamName::binding(store.user_ref_of(userid));
                        store.load::<Binding>(&log, &stream).await?.0.subject().is_some()
                    }
                    Whose::Openid(_) => true,
                };
                match state.template(&row.template).map(|known| known.template.kind) {
                    None => wrong("unknown_template", "the channel has no template with this id"),
                    Some(TemplateKind::LongTerm) => {
                        wrong("long_term_template", "a long-term template has no balance")
                    }
                    Some(TemplateKind::OneTime) if bound => Ok(row.count),
                    Some(TemplateKind::OneTime) => {
                        wrong("unknown_user", "no user with this userid is bound in this channel")
                    }
                }
            }
            Err(fault) => Err(fault),
        };
        match checked {
            Ok(count) => {
                summary.counted += 1;
                summary.grants += u64::from(count);
            }
            Err(fault) => {
                summary.refused += 1;
                faults.add(&fault)?;
            }
        }
    }
    faults.end()?;
    Ok(summary)
}
