//! Commands that talk to a running service, as `--help` shows them: platforms and authorizations.
//!
//! They go through the service's API, not to its database: with SQLite one process writes, and the answers of WeChat come to
//! the process that listens.

use std::{convert::Infallible, time::Duration};

use clap::{Args, Subcommand};
use secrecy::SecretString;

/// The running service and the right to ask it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Remote {
    /// Where the service listens
    #[arg(long, env = "SUBLEDGER_URL", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) url: String,
    /// An API key with the right manage; better given in the environment, since flags stand in the process list
    #[arg(long, env = "SUBLEDGER_API_KEY", hide_env_values = true, value_name = "KEY", value_parser = hidden)]
    pub(crate) key: Option<SecretString>,
}

fn hidden(text: &str) -> Result<SecretString, Infallible> {
    Ok(SecretString::from(text))
}

const SET_EXAMPLES: &str = "Examples:
  export SUBLEDGER_API_KEY=slk_…
  subledger platform set wx0123456789abcdef --public-url https://push.example.com
      asks for the platform's AppSecret, Token and EncodingAESKey, and prints what to enter in the open platform's console
  SUBLEDGER_PLATFORM_SECRET=… SUBLEDGER_PLATFORM_TOKEN=… SUBLEDGER_PLATFORM_KEY=… subledger platform set wx0123456789abcdef
  subledger platform set wx0123456789abcdef --stdin < secrets.json
      {\"secret\": \"…\", \"token\": \"…\", \"encoding_aes_key\": \"…\"}, or some of them

Secrets come from the environment, standard input or a prompt and never from a flag. What is not given stays as it was; a key
that is replaced goes on opening what comes late.";

/// Third-party platforms of the open platform.
#[derive(Debug, Subcommand)]
pub(crate) enum Platform {
    /// Set a platform up, or change how it is set up
    #[command(after_help = SET_EXAMPLES)]
    Set(PlatformSet),
    /// Show a platform: settings, fingerprints of its secrets, and how old its ticket is
    #[command(after_help = "Example:\n  subledger platform show wx0123456789abcdef")]
    Show {
        /// Its AppID
        component_appid: String,
        #[command(flatten)]
        remote: Remote,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask WeChat to push tickets again; it stops when the push URL fails for long
    #[command(after_help = "Example:\n  subledger platform start-ticket wx0123456789abcdef")]
    StartTicket {
        /// Its AppID
        component_appid: String,
        #[command(flatten)]
        remote: Remote,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// How a platform is set up.
#[derive(Debug, Args)]
pub(crate) struct PlatformSet {
    /// Its AppID, as the open platform's console shows it
    pub(crate) component_appid: String,
    /// A name for people [default: what is set, else the AppID]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where browsers and WeChat reach this service, without a path; its host is the domain registered for the platform
    /// [default: what is set]
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// Ask for all three secrets, although the platform has some
    #[arg(long, conflicts_with = "stdin")]
    pub(crate) ask: bool,
    /// Read secrets from standard input, as a JSON object
    #[arg(long)]
    pub(crate) stdin: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) const AUTHORIZE_EXAMPLES: &str = "Examples:
  subledger channel authorize wechatmp123
      prints a link for computers, a link and a QR code for phones, and waits until the administrator has decided
  subledger channel authorize wechatmp123 --no-wait --json

Exit codes: 0 authorized, 1 refused or failed, 2 wrong use, 4 nobody scanned in time, 5 authorized without a permission set
that sending needs (18).";

/// Have an administrator authorize a platform for a channel.
#[derive(Debug, Args)]
pub(crate) struct Authorize {
    /// The channel; it is set up by the authorization if it does not exist yet
    pub(crate) code: String,
    /// The platform's AppID [default: the only one there is]
    #[arg(long, value_name = "COMPONENT_APPID")]
    pub(crate) platform: Option<String>,
    /// Only print the links; the service finishes by itself whatever comes of them
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How long to wait at most, in seconds [default: as long as the link is good]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "no_wait")]
    pub(crate) wait: Option<Duration>,
    #[command(flatten)]
    pub(crate) remote: Remote,
    /// Print JSON: a line with the links, then a line with how it ended
    #[arg(long)]
    pub(crate) json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("must be 1 to 86400".to_owned()),
    }
}
