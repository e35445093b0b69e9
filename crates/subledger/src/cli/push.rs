//! The part of the command line that is about WeChat's pushes.

use clap::{Args, Subcommand};

use super::Common;

pub(super) const CALLBACK_EXAMPLES: &str = "Examples:
  subledger channel callback wechatmp123 --url-base https://push.example.com
      secure mode; token and key are made up and printed once, with everything to enter in WeChat's console
  SUBLEDGER_PUSH_TOKEN=… SUBLEDGER_PUSH_KEY=… subledger channel callback wechatmp123
      those that stand in WeChat's console already
  subledger channel callback wechatmp123 --new-key
      another EncodingAESKey; the one before it goes on opening what comes late

Without anything to change it shows what is set. Token and key come from SUBLEDGER_PUSH_TOKEN and SUBLEDGER_PUSH_KEY and never
from a flag, which would stand in the process list. With SQLite, use the API while `serve` runs.";

/// How WeChat is to push to a channel.
#[derive(Debug, Args)]
pub(crate) struct Callback {
    /// The channel
    pub(crate) code: String,
    /// How pushes are protected [default: what is set, else secure]
    #[arg(long, value_parser = ["plaintext", "compatible", "secure"])]
    pub(crate) mode: Option<String>,
    /// How they are spelled; either is read [default: what is set, else json]
    #[arg(long, value_parser = ["json", "xml"])]
    pub(crate) format: Option<String>,
    /// Make up another token
    #[arg(long)]
    pub(crate) new_token: bool,
    /// Make up another EncodingAESKey
    #[arg(long)]
    pub(crate) new_key: bool,
    /// The Mini Program's original id, gh_… [default: learned from the first push]
    #[arg(long, value_name = "GH_ID")]
    pub(crate) original_id: Option<String>,
    /// Where WeChat reaches this service
    #[arg(long, value_name = "URL", default_value = "https://YOUR-DOMAIN")]
    pub(crate) url_base: String,
    #[command(flatten)]
    pub(crate) common: Common,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What WeChat pushed.
#[derive(Debug, Subcommand)]
pub(crate) enum Pushes {
    /// List them, the newest first
    #[command(after_help = "Example:\n  subledger channel pushes list wechatmp123 --state undecodable")]
    List {
        /// The channel
        code: String,
        /// Only of this kind
        #[arg(long, value_parser = ["popup", "change", "sent", "other", "undecodable"])]
        kind: Option<String>,
        /// Only in this state
        #[arg(long, value_parser = ["pending", "acted", "ignored", "undecodable", "failed"])]
        state: Option<String>,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        #[command(flatten)]
        common: Common,
        /// Print JSON, one line each
        #[arg(long)]
        json: bool,
    },
    /// Show one and what it says
    #[command(after_help = "Example:\n  subledger channel pushes show wechatmp123 0f3c… --raw")]
    Show {
        /// The channel
        code: String,
        /// What it is known by, as the list and the evidence of events show it
        key: String,
        /// The body as it came, too; it names a user
        #[arg(long)]
        raw: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Read and act on those again that could not be: after another key was entered, or after an upgrade
    #[command(after_help = "Example:\n  subledger channel pushes redo wechatmp123")]
    Redo {
        /// The channel
        code: String,
        /// Only this one
        #[arg(long, value_name = "KEY")]
        id: Option<String>,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}
