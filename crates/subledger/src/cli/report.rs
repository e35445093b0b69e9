//! `subledger report …`, as `--help` shows it.

use clap::{Args, Subcommand, ValueEnum};

use super::Common;

/// Which days.
#[derive(Debug, Clone, Args)]
pub(crate) struct Period {
    /// The first day, such as 2026-03-01 [default: 30 days up to the last one]
    #[arg(long, value_name = "DATE")]
    pub(crate) from: Option<String>,
    /// The last day, included [default: today]
    #[arg(long, value_name = "DATE")]
    pub(crate) to: Option<String>,
    /// The time zone of the days, by its IANA name
    #[arg(long, default_value = "Asia/Shanghai")]
    pub(crate) zone: String,
}

/// How to print.
#[derive(Debug, Clone, Copy, Args)]
#[group(multiple = false)]
pub(crate) struct Output {
    /// Print JSON, one page of templates a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Print CSV with every column
    #[arg(long)]
    pub(crate) csv: bool,
}

/// What most likely explains drift.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum DriftCauseWord {
    SettingsChanged,
    Stranger,
    NotTapped,
    WrongVerdict,
    OldGrant,
    Unexplained,
}

/// What hid an answer.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum DoubtCauseWord {
    Timeout,
    ConnectionBroken,
    Unintelligible,
    NodeLost,
}

/// Whether a doubt has ended, and how.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum DoubtStateWord {
    Open,
    Ended,
    SentEvent,
    LateAnswer,
    ByHand,
    Deadline,
    Corrected,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Report {
    /// What happened, by template and day: taps, grants, sends by outcome, doubts, drift
    #[command(
        after_help = "Examples:\n  subledger report activity --channel wechatmp123\n  subledger report activity --channel wechatmp123 --from 2026-03-01 --to 2026-03-31 --csv > march.csv"
    )]
    Activity {
        /// The channel
        #[arg(long)]
        channel: String,
        /// Only this template
        #[arg(long)]
        template: Option<String>,
        #[command(flatten)]
        period: Period,
        /// One line per template instead of one per day
        #[arg(long)]
        total: bool,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        output: Output,
    },
    /// The stock of open grants at the end of each day, and now
    #[command(after_help = "Example:\n  subledger report stock --channel wechatmp123 --from 2026-03-01")]
    Stock {
        /// The channel
        #[arg(long)]
        channel: String,
        /// Only this template
        #[arg(long)]
        template: Option<String>,
        #[command(flatten)]
        period: Period,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        output: Output,
    },
    /// How many bound users hold a grant, by the age of their last tap
    #[command(after_help = "Example:\n  subledger report reach --channel wechatmp123 --template TPL_…")]
    Reach {
        /// The channel
        #[arg(long)]
        channel: String,
        /// The template
        #[arg(long)]
        template: String,
        /// The time zone in which today begins, by its IANA name
        #[arg(long, default_value = "Asia/Shanghai")]
        zone: String,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        output: Output,
    },
    /// Where the recipients of a message were lost: targeted, bound, with a grant, handed over, accepted, confirmed
    #[command(after_help = "Example:\n  subledger report loss --channel wechatmp123 019ab…")]
    Loss {
        /// The channel
        #[arg(long)]
        channel: String,
        /// Its msgid
        msgid: String,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        output: Output,
    },
    /// Where WeChat had nothing left although we believed in grants: by template, age of the grant and cause
    ///
    /// Prints counts and the newest findings. With --csv all findings, or the counts alone.
    #[command(
        after_help = "Examples:\n  subledger report drift --channel wechatmp123\n  subledger report drift --channel wechatmp123 --from 2026-03-01 --cause stranger --csv > strangers.csv"
    )]
    Drift {
        /// The channel
        #[arg(long)]
        channel: String,
        /// Only this template
        #[arg(long)]
        template: Option<String>,
        /// Only what this explains
        #[arg(long)]
        cause: Option<DriftCauseWord>,
        /// Only the counts
        #[arg(long)]
        counts: bool,
        #[command(flatten)]
        period: Period,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        output: Output,
    },
    /// Deliveries whose answer was hidden: by template, time in doubt, cause, and how it ended
    ///
    /// Prints counts and the newest doubts. With --csv all doubts, or the counts alone.
    #[command(
        after_help = "Examples:\n  subledger report doubts --channel wechatmp123 --state open\n  subledger report doubts --channel wechatmp123 --from 2026-03-01 --counts --csv"
    )]
    Doubts {
        /// The channel
        #[arg(long)]
        channel: String,
        /// Only this template
        #[arg(long)]
        template: Option<String>,
        /// Only those with this cause
        #[arg(long)]
        cause: Option<DoubtCauseWord>,
        /// Only those still open, ended, ended in one way, or corrected
        #[arg(long)]
        state: Option<DoubtStateWord>,
        /// Only the counts
        #[arg(long)]
        counts: bool,
        #[command(flatten)]
        period: Period,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        output: Output,
    },
}
