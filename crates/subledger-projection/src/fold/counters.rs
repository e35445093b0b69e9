//! Counters per template and quarter of an hour, and the stock of grants: what ledgers and messages tell analysts.
//!
//! Two folds count here, each into rows of its own generation: the one of ledgers what ledger events say, the one of
//! messages what message events say. No measure is told by both, so their rows add up.
//!
//! The stock at the end of a bucket is written with the bucket. The stock at any moment is then one row and no sum over
//! history.

use std::borrow::Cow;

use subledger_domain::{TemplateId, Timestamp};

use super::Stamp;
use crate::{
    Holdings, Measure, ReportTemplateRow,
    cache::{Held, Rows},
    rows::{ReportClosing, ReportCount, bucket_of},
    table::{Need, Table},
    tuples::{Naming, Tuples, Unreadable},
};

type Class = Cow<'static, str>;

/// What the events of a batch add to a template in one bucket.
struct Added {
    /// Few: looking through them is quicker than a map.
    counts: Vec<(Measure, Class, u64)>,
    since: Timestamp,
    changed_at: Timestamp,
    /// What moved: holdings that were left, and those that were come to.
    moved: Option<(Holdings, Holdings)>,
}

#[derive(Default)]
pub(super) struct Counters {
    templates: Rows<ReportTemplateRow>,
    closings: Rows<ReportClosing>,
    counts: Rows<ReportCount>,
    /// By template (few), then by bucket in order of time.
    added: Vec<(TemplateId, Vec<(Timestamp, Added)>)>,
    /// Whether the rows that are added to were asked for.
    asked: bool,
}

impl Counters {
    fn added(&mut self, stamp: Stamp, template: &TemplateId) -> &mut Added {
        let bucket = bucket_of(stamp.at);
        let at = self.added.iter().position(|(of, _)| of == template).unwrap_or_else(|| {
            self.templates.want(template);
            self.added.push((template.clone(), Vec::new()));
            self.added.len() - 1
        });
        let buckets = &mut self.added[at].1;
        if buckets.last().is_none_or(|(last, _)| *last != bucket) {
            let (counts, moved) = (Vec::new(), None);
            buckets.push((bucket, Added { counts, since: stamp.at, changed_at: stamp.at, moved }));
        }
        let last = buckets.len() - 1;
        &mut buckets[last].1
    }

    /// Notes an event about a template, and what it counts.
    pub(super) fn count(
        &mut self,
        stamp: Stamp,
        template: &TemplateId,
        counted: impl IntoIterator<Item = (Measure, Class, u64)>,
    ) {
        let added = self.added(stamp, template);
        added.changed_at = stamp.at;
        for (measure, class, amount) in counted {
            if amount == 0 {
                continue;
            }
            let same = |one: &&mut (Measure, Class, u64)| one.0 == measure && one.1 == class;
            match added.counts.iter_mut().find(same) {
                Some(one) => one.2 = one.2.saturating_add(amount),
                None => added.counts.push((measure, class, amount)),
            }
        }
    }

    /// Notes what the event just counted did to the holdings of one ledger.
    pub(super) fn moved(&mut self, stamp: Stamp, template: &TemplateId, before: &Holdings, after: &Holdings) {
        let added = self.added(stamp, template);
        let (left, come) = added.moved.get_or_insert_default();
        left.add(before);
        come.add(after);
    }

    /// The rows that what was noted adds to.
    pub(super) fn need(&mut self, naming: &mut Naming<'_>) -> Option<Need> {
        // Once: what does not exist is not wanted again.
        let asked = std::mem::replace(&mut self.asked, true);
        for (template, buckets) in self.added.iter().filter(|_| !asked) {
            for (bucket, added) in buckets {
                if added.moved.is_some() {
                    self.closings.want(&(template.clone(), *bucket));
                }
                for (measure, class, _) in &added.counts {
                    self.counts.want(&(template.clone(), *bucket, *measure, class.clone()));
                }
            }
        }
        self.templates
            .need(naming)
            .or_else(|| self.closings.need(naming))
            .or_else(|| self.counts.need(naming))
    }

    pub(super) fn load(&mut self, table: Table, rows: &Tuples) -> Result<(), Unreadable> {
        match table {
            Table::ReportTemplates => self.templates.load(rows),
            Table::ReportClosings => self.closings.load(rows),
            _ => self.counts.load(rows),
        }
    }

    /// Adds what was noted.
    pub(super) fn fold(&mut self) {
        self.asked = false;
        for (template, buckets) in self.added.drain(..) {
            let (templates, closings, counts) = (&mut self.templates, &mut self.closings, &mut self.counts);
            for (bucket, added) in buckets {
                let row = templates.edit_or_make(&template, || ReportTemplateRow {
                    template: template.clone(),
                    holdings: Holdings::default(),
                    since: added.since,
                    changed_at: added.since,
                });
                row.changed_at = added.changed_at;
                if let Some((left, come)) = added.moved {
                    row.holdings = row.holdings.with(&left, &come);
                    let holdings = row.holdings;
                    closings.put(ReportClosing { template: template.clone(), bucket, holdings });
                }
                for (measure, class, amount) in added.counts {
                    let key = (template.clone(), bucket, measure, class);
                    let row = counts.edit_or_make(&key, || ReportCount {
                        template: template.clone(),
                        bucket,
                        measure,
                        class: key.3.clone(),
                        amount: 0,
                    });
                    row.amount = row.amount.saturating_add(amount);
                }
            }
        }
    }

    pub(super) fn tables(&mut self) -> [&mut dyn Held; 3] {
        [&mut self.templates, &mut self.closings, &mut self.counts]
    }
}
