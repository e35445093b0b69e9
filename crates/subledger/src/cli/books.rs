//! Commands by which people correct the books: doubts, adjustments, imports.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::Common;

/// How a doubt ended, in a person's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// The grant is spent
    Sent,
    /// The grant is open again
    NotSent,
}

/// Which doubts are meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct WhichDoubts {
    /// The channel
    #[arg(long)]
    pub(crate) channel: String,
    /// Only of this template
    #[arg(long)]
    pub(crate) template: Option<String>,
    /// Only those in doubt for so many seconds or longer
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) older_than_s: u32,
    /// How many at most, longest in doubt first
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Doubts {
    /// Deliveries in doubt, longest first
    #[command(
        after_help = "Example:\n  subledger audit doubts list --channel wechatmp123 --older-than-s 3600"
    )]
    List {
        #[command(flatten)]
        which: WhichDoubts,
        #[command(flatten)]
        common: Common,
        /// Print JSON, one delivery a line
        #[arg(long)]
        json: bool,
    },
    /// Settle one doubt
    #[command(
        after_help = "Example:\n  subledger audit doubts settle --channel wechatmp123 019ab… 0 --verdict sent --reason \"the user showed the card\""
    )]
    Settle {
        /// The message
        msgid: String,
        /// The recipient's place in the request, from 0
        index: u32,
        /// The channel
        #[arg(long)]
        channel: String,
        /// What happened
        #[arg(long)]
        verdict: Verdict,
        /// On what ground; kept in the books
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Settle all doubts that fit; without --yes only shows them
    #[command(
        after_help = "Example:\n  subledger audit doubts settle-all --channel wechatmp123 --older-than-s 3600 --verdict sent --reason \"outage of our line\"\n  subledger audit doubts settle-all … --yes"
    )]
    SettleAll {
        #[command(flatten)]
        which: WhichDoubts,
        /// What happened
        #[arg(long)]
        verdict: Verdict,
        /// On what ground; kept in the books with each
        #[arg(long)]
        reason: String,
        /// Do it
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// A correction of one ledger.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("whose").required(true).args(["userid", "openid"])),
    group(ArgGroup::new("change").required(true).args(["add", "remove"]))
)]
pub(crate) struct Adjust {
    /// The channel
    #[arg(long)]
    pub(crate) channel: String,
    /// The user's id in your system
    #[arg(long)]
    pub(crate) userid: Option<String>,
    /// The openid
    #[arg(long)]
    pub(crate) openid: Option<String>,
    /// The template
    #[arg(long)]
    pub(crate) template: String,
    /// How many grants more
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) add: Option<u32>,
    /// How many grants fewer, no more than are open; the newest go
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) remove: Option<u32>,
    /// Why; kept in the books for ever, so it must not name the person
    #[arg(long)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) common: Common,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// Balances that another system counted: a CSV file with the columns userid or openid, template, count
    #[command(
        after_help = "Example:\n  subledger import balances old.csv --channel wechatmp123 --dry-run\n  subledger import balances old.csv --channel wechatmp123\n\n\
                      Run it again after an interruption: a row is counted once per import id. Rows that cannot be counted are\n\
                      written to FILE.errors.csv with the reason; the exit code is 1 then."
    )]
    Balances(ImportBalances),
}

/// An import of balances.
#[derive(Debug, Args)]
pub(crate) struct ImportBalances {
    /// The file: UTF-8, a heading line, columns userid or openid, template, count
    #[arg(value_name = "FILE.csv")]
    pub(crate) file: PathBuf,
    /// The channel
    #[arg(long)]
    pub(crate) channel: String,
    /// The import's id: a row is counted once under it, also from a file that has grown [default: the file's name]
    #[arg(long, value_name = "ID")]
    pub(crate) import_id: Option<String>,
    /// Only check the file
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) common: Common,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
