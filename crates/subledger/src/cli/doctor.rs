//! `subledger doctor`, as `--help` shows it.

use clap::Args;

use super::{Common, Lang};

pub(crate) const EXAMPLES: &str = "\
Examples:
  subledger doctor
  subledger doctor --channel wechatmp123
  subledger doctor --json | jq '.findings[] | select(.state == \"fail\")'

It reads only, beside a running service too. Exit code: 0 all is well, 1 warnings, 2 something does not work.";

/// What is wrong, and what to do about it.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Only this channel, besides the deployment
    #[arg(long)]
    pub(crate) channel: Option<String>,
    /// The language [default: from LC_ALL, LC_MESSAGES or LANG, else en]
    #[arg(long, value_name = "zh|en")]
    pub(crate) lang: Option<Lang>,
    #[command(flatten)]
    pub(crate) common: Common,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
