//! Whether a database still holds what was exported from it.
//!
//! Somebody who can write to a database can cut a log off and set its head back, or compute a whole chain anew; the
//! database alone cannot show that. A signed export that is kept elsewhere can: at every exported position the link must
//! still be the exported one. That the events in between fit their links is what [`super::verify`] checks.

use std::{collections::VecDeque, io::BufRead};

use subledger_domain::LogName;
use subledger_store::{Inspector, Link, RawEvent, SigningKey};

use super::{
    PAGE, VerifyError,
    file::{File, FileReport, Section, Step},
    finding::{Check, Finding},
};

/// One log of the database, read in step with the file.
struct Reader<'a> {
    inspector: &'a Inspector,
    number: i64,
    page: VecDeque<RawEvent>,
    /// A difference was found; what follows differs, too.
    differs: bool,
}

/// Checks a file, and that the database still holds every event of it. Gives the report of the file and what the database
/// lacks: the first difference of each section.
pub async fn compare_with_file(
    inspector: &Inspector,
    reader: impl BufRead + Send,
    key: Option<SigningKey>,
) -> Result<(FileReport, Vec<Finding>), VerifyError> {
    let logs = inspector.logs().await?;
    let number_of = |log: &LogName| logs.iter().find(|(_, name, _)| name == log).map(|(number, ..)| *number);
    let mut file = File::new(reader, key);
    let mut differences = Vec::new();
    let mut open: Option<(LogName, Reader<'_>)> = None;
    while let Some(step) = file.next()? {
        let (log, position, link, ends) = match step {
            Step::Event { log, position, link } => (log, position, link, false),
            Step::End(Section { log, position, link, .. }) => {
                let Ok(link) = super::format::digits(&link) else { continue };
                (log, position, Link(link), true)
            }
        };
        if open.as_ref().is_none_or(|(name, _)| *name != log) {
            let Some(number) = number_of(&log) else {
                if ends {
                    let finding = Finding::new(
                        Check::Exported,
                        Some(&log),
                        format!("log {log}, as exported"),
                        "no such log",
                    );
                    differences.push(finding.at(1));
                }
                continue;
            };
            open = Some((log.clone(), Reader { inspector, number, page: VecDeque::new(), differs: false }));
        }
        if let Some((log, reader)) = &mut open {
            differences.extend(reader.compare(log, position, link).await?);
        }
        if ends {
            open = None;
        }
    }
    Ok((file.report(), differences))
}

impl Reader<'_> {
    async fn compare(
        &mut self,
        log: &LogName,
        position: u64,
        link: Link,
    ) -> Result<Option<Finding>, VerifyError> {
        let at = i64::try_from(position).unwrap_or(i64::MAX);
        if self.differs || at == 0 {
            return Ok(None);
        }
        let read = |page: &VecDeque<RawEvent>| {
            page.front().is_some_and(|event| event.position <= at)
                && page.back().is_some_and(|event| event.position >= at)
        };
        if !read(&self.page) {
            self.page = self.inspector.events(self.number, at - 1, PAGE).await?.into();
        }
        while self.page.front().is_some_and(|event| event.position < at) {
            self.page.pop_front();
        }
        let found = match self.page.front() {
            Some(event) if event.position == at && event.link[..] == link.0[..] => return Ok(None),
            Some(event) if event.position == at => format!("the link {}", hex::encode(&event.link)),
            _ => "no event".to_owned(),
        };
        self.differs = true;
        let expected = format!("the exported event with the link {}", hex::encode(link.0));
        Ok(Some(Finding::new(Check::Exported, Some(log), expected, found).at(at)))
    }
}
