//! `subledger channel …`, as `--help` shows it.

use clap::{Args, Subcommand};

use super::{Authorize, Callback, Common, Pushes, Relay, push, remote};

#[derive(Debug, Subcommand)]
pub(crate) enum Channel {
    /// List channels
    #[command(after_help = "Example:\n  subledger channel list")]
    List {
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Set a channel up; the AppSecret is read from SUBLEDGER_APP_SECRET
    #[command(
        after_help = "Example:\n  SUBLEDGER_APP_SECRET=… subledger channel add wechatmp123 --appid wx0123456789abcdef --name \"Bakery\""
    )]
    Add {
        /// Its code: letters and digits
        code: String,
        /// The Mini Program's AppID
        #[arg(long)]
        appid: String,
        /// A name for people [default: the code]
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have a Mini Program's administrator authorize your third-party platform by scanning a QR code; no AppSecret is needed
    #[command(after_help = remote::AUTHORIZE_EXAMPLES)]
    Authorize(Authorize),
    /// What is known of a channel's access token; with --force-refresh, replace it although it lives
    #[command(
        after_help = "Examples:\n  subledger channel token wechatmp123\n  subledger channel token wechatmp123 --force-refresh"
    )]
    Token {
        /// The channel
        code: String,
        /// Have WeChat make a new token: at most 20 a day, 30 s apart; every other system that shares it loses it
        #[arg(long)]
        force_refresh: bool,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say where a channel's access tokens come from
    ///
    /// The AppSecret is read from SUBLEDGER_APP_SECRET, the credential for a token server from
    /// SUBLEDGER_TOKEN_SERVER_CREDENTIAL; neither is needed if the channel has one of that sort.
    #[command(
        after_help = "Examples:\n  subledger channel token-source wechatmp123 --mode stable\n  SUBLEDGER_TOKEN_SERVER_CREDENTIAL=… subledger channel token-source wechatmp123 --mode external --url https://tokens.example.com/wechatmp123"
    )]
    TokenSource {
        /// The channel
        code: String,
        /// WeChat's stable call, its older call, or the company's own token server
        #[arg(long, value_parser = ["stable", "normal", "external"])]
        mode: String,
        /// The token server, in external mode: https, without user name, password or query
        #[arg(long)]
        url: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Read the template list from WeChat
    #[command(after_help = "Example:\n  subledger channel refresh wechatmp123")]
    Refresh {
        /// The channel
        code: String,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the policies of a channel, or change those that are named
    #[command(
        after_help = "Example:\n  subledger channel policy wechatmp123 --taps push_only --tap-window-s 120"
    )]
    Policy {
        /// The channel
        code: String,
        #[command(flatten)]
        change: Box<PolicyFlags>,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// How WeChat pushes to a channel: set it, or show it and what to enter in WeChat's console
    #[command(after_help = push::CALLBACK_EXAMPLES)]
    Callback(Box<Callback>),
    /// What WeChat pushed: list, show, try again
    #[command(subcommand)]
    Pushes(Pushes),
    /// How a channel's pushes fare, with hints
    #[command(after_help = "Example:\n  subledger channel push-health wechatmp123")]
    PushHealth {
        /// The channel
        code: String,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Which secrets a channel uses: a fingerprint and a date for each, never a value
    #[command(after_help = "Example:\n  subledger channel secrets wechatmp123")]
    Secrets {
        /// The channel
        code: String,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Forward pushes from WeChat to a back end of yours
    #[command(subcommand)]
    Relay(Relay),
    /// How much of WeChat's daily quota is used up, and how long it lasts
    #[command(after_help = "Example:\n  subledger channel quota wechatmp123")]
    Quota {
        /// The channel
        code: String,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have WeChat set the day's counts of all calls back: ten times a month
    #[command(
        after_help = "Example:\n  subledger channel clear-quota wechatmp123 --reason \"a loop in our back end used the day up\"\n\nWhile the service runs on SQLite: POST /api/v1/channels/{code}/quota/clear"
    )]
    ClearQuota {
        /// The channel
        code: String,
        /// Why; kept in the books
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        common: Common,
    },
    /// Stop sending; what waits keeps waiting
    #[command(
        after_help = "Example:\n  subledger channel pause wechatmp123 --reason \"wrong prices in the template\""
    )]
    Pause {
        /// The channel
        code: String,
        /// Why; kept in the books
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        common: Common,
    },
    /// Go on sending
    #[command(
        after_help = "Example:\n  subledger channel resume wechatmp123 --reason \"template corrected\""
    )]
    Resume {
        /// The channel
        code: String,
        /// Why; kept in the books
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        common: Common,
    },
}

/// Policies to change; see docs/ledger.md.
#[derive(Debug, Args)]
pub(crate) struct PolicyFlags {
    /// Sends to users without a grant on the books
    #[arg(long, value_parser = ["refuse", "attempt"])]
    pub(crate) unknown_balance: Option<String>,
    /// Whose word for a tap is a grant
    #[arg(long, value_parser = ["both", "client_only", "push_only"])]
    pub(crate) taps: Option<String>,
    /// How far apart in seconds a report and a push of one tap may be: 1 to 86400
    #[arg(long)]
    pub(crate) tap_window_s: Option<u32>,
    /// How long in seconds a doubt stays open that nobody settles: 60 to 2592000
    #[arg(long)]
    pub(crate) doubt_deadline_s: Option<u32>,
    /// How it is closed then
    #[arg(long, value_parser = ["assume_sent", "release"])]
    pub(crate) doubt_verdict: Option<String>,
    /// Whether a refused send uses up a grant
    #[arg(long, value_parser = ["release", "consume"])]
    pub(crate) refused_send: Option<String>,
    /// What becomes of the grants of a user who switches messages off
    #[arg(long, value_parser = ["keep", "clear"])]
    pub(crate) settings_off: Option<String>,
    /// How much of WeChat's daily quota is kept for single sends, in per cent: 0 to 50
    #[arg(long)]
    pub(crate) bulk_reserve: Option<u8>,
}
