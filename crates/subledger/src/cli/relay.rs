//! `subledger channel relay …`, as `--help` shows it.

use clap::Subcommand;

use super::Common;

#[derive(Debug, Subcommand)]
pub(crate) enum Relay {
    /// Forward pushes to a URL, signed; prints the signing secret when it is new
    #[command(
        after_help = "Examples:\n  subledger channel relay set wechatmp123 --url https://hooks.example.com/wechat\n  subledger channel relay set wechatmp123 --url https://hooks.example.com/wechat --form raw --kind other --kind undecodable\n  subledger channel relay set wechatmp123 --url https://hooks.example.com/wechat --rotate-secret"
    )]
    Set {
        /// The channel
        code: String,
        /// Where to: https, without user name, password or query
        #[arg(long)]
        url: String,
        /// WeChat's body as it is, or JSON of one shape
        #[arg(long, default_value = "decoded", value_parser = ["raw", "decoded"])]
        form: String,
        /// Which pushes; may be repeated [default: all]
        #[arg(long = "kind", value_parser = ["popup", "change", "sent", "other", "undecodable"])]
        kinds: Vec<String>,
        /// Make a new signing secret; the one before signs, too, for a day
        #[arg(long)]
        rotate_secret: bool,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the relay and how it goes
    #[command(after_help = "Example:\n  subledger channel relay show wechatmp123")]
    Show {
        /// The channel
        code: String,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Send a signed test event and tell what came back
    #[command(after_help = "Example:\n  subledger channel relay test wechatmp123")]
    Test {
        /// The channel
        code: String,
        #[command(flatten)]
        common: Common,
    },
    /// Forward pushes no more; what waits is given up
    #[command(after_help = "Example:\n  subledger channel relay stop wechatmp123")]
    Stop {
        /// The channel
        code: String,
        #[command(flatten)]
        common: Common,
    },
    /// Have pushes wait again whose relay was given up
    #[command(after_help = "Example:\n  subledger channel relay redrive wechatmp123")]
    Redrive {
        /// The channel
        code: String,
        #[command(flatten)]
        common: Common,
    },
}
