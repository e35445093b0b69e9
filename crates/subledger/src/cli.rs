//! The command line, as `--help` shows it.

mod books;
mod channel;
mod doctor;
mod push;
mod relay;
mod remote;
mod report;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use books::{Adjust, Doubts, Import, ImportBalances, Verdict, WhichDoubts};
pub(crate) use channel::{Channel, PolicyFlags};
pub(crate) use doctor::Doctor;
pub(crate) use push::{Callback, Pushes};
pub(crate) use relay::Relay;
pub(crate) use remote::{Authorize, Platform, PlatformSet, Remote};
pub(crate) use report::{DoubtCauseWord, DoubtStateWord, DriftCauseWord, Output, Period, Report};

/// Sends WeChat Mini Program subscription messages and keeps the books for them.
#[derive(Debug, Parser)]
#[command(name = "subledger", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  subledger demo --once                the whole job by itself, told as a story
  subledger demo --authorize --once    a Mini Program connected by a QR code, told as well
  subledger demo                       a service to play with, WeChat simulated
  subledger serve --database sqlite://subledger.db

Exit codes: 0 done, 1 failed, 2 wrong use or settings, 3 the database. `audit verify`, `channel authorize` and `doctor` have more.";

/// Settings every command shares that opens a database.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE (or SUBLEDGER_DATABASE)
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// A TOML file with settings; `subledger admin settings` prints all of them
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything in one process: embedded database, simulated WeChat, a channel, templates and users
    #[command(
        after_help = "Examples:\n  subledger demo --once\n  subledger demo --authorize --once\n  subledger demo --listen 127.0.0.1:8080 --data ./play"
    )]
    Demo(Demo),
    /// The service
    #[command(
        after_help = "Example:\n  export SUBLEDGER_MASTER_KEY=$(subledger admin master-key)\n  subledger serve --database sqlite://subledger.db --listen 0.0.0.0:8080"
    )]
    Serve(Serve),
    /// The simulated WeChat alone, for your own tests
    #[command(
        after_help = "Example:\n  subledger sandbox --listen 127.0.0.1:9090 &\n  SUBLEDGER_WECHAT_BASE_URL=http://127.0.0.1:9090 subledger serve\n\n\
                      A Mini Program whose events are pushed to your service, as WeChat's console would set it up:\n  \
                      curl http://127.0.0.1:9090/sandbox/apps -d '{\"appid\":\"wx1\",\"secret\":\"s1\"}'\n  \
                      curl -X PUT http://127.0.0.1:9090/sandbox/apps/wx1/push \\\n    \
                      -d '{\"url\":\"http://127.0.0.1:8080/callbacks/wechat/wechatmp123\",\"token\":\"demoToken01\",\n         \
                      \"mode\":\"secure\",\"format\":\"json\"}'\n\n\
                      The answer has the EncodingAESKey, and says whether the URL passed its check. Every route: GET /sandbox"
    )]
    Sandbox(Sandbox),
    /// Bring the database's schema up to date (serve does it by itself)
    #[command(
        after_help = "Example:\n  subledger migrate --database postgres://subledger@localhost/subledger"
    )]
    Migrate(Migrate),
    /// Sender apps and their API keys
    #[command(subcommand)]
    App(App),
    /// Channels: list, authorize, refresh templates, policies, WeChat's pushes, pause, resume
    #[command(subcommand)]
    Channel(Channel),
    /// Third-party platforms that Mini Programs can be authorized to, of a running service
    #[command(subcommand)]
    Platform(Platform),
    /// Why did a user (not) get a message: timelines from the events
    #[command(subcommand)]
    Audit(Audit),
    /// Bring in what other systems counted
    #[command(subcommand)]
    Import(Import),
    /// The event log
    #[command(subcommand)]
    Events(Events),
    /// Read models: state, rebuild, verify
    #[command(subcommand)]
    Projections(Projections),
    /// Sums for analysts: activity, stock, reach, loss
    #[command(subcommand)]
    Report(Report),
    /// What is wrong, and what to do about it
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(Doctor),
    /// Settings and keys
    #[command(subcommand)]
    Admin(Admin),
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Run the whole main job, print what happened, and exit
    #[arg(long)]
    pub(crate) once: bool,
    /// With --once: connect the Mini Program by scanning a QR code, with a third-party platform, and what comes after
    #[arg(long, requires = "once")]
    pub(crate) authorize: bool,
    /// Where the HTTP API listens; the simulated WeChat takes a free port beside it [default: 127.0.0.1:8080, with --once a free port]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// Where the database file and its key are kept
    #[arg(long, value_name = "DIR", default_value = "subledger-demo")]
    pub(crate) data: PathBuf,
    /// With --once: print the story as JSON
    #[arg(long, requires = "once")]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where the HTTP API listens (or SUBLEDGER_LISTEN)
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Sandbox {
    /// Where it listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090")]
    pub(crate) listen: String,
    /// What it makes of the points WeChat leaves open: documented, observed or hostile; each app can have its own
    #[arg(long, value_name = "NAME", default_value = "observed")]
    pub(crate) profile: subledger_sandbox::Profile,
    /// Seed of everything it makes up: ids, keys, and what a profile leaves to chance
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum App {
    /// Create a sender app and print its first API key, once
    #[command(
        after_help = "Example:\n  subledger app create shop --name \"Web shop\" --rights send,grant,bind,read --channels wechatmp123"
    )]
    Create {
        /// Its id: letters, digits, - and _
        id: String,
        /// A name for people [default: the id]
        #[arg(long)]
        name: Option<String>,
        /// What it may do, of manage, bind, grant, send, read, settle, and token (to be lent access tokens), which is never a default
        #[arg(long, value_delimiter = ',', default_value = "manage,bind,grant,send,read,settle")]
        rights: Vec<String>,
        /// The channels it may use [default: all]
        #[arg(long, value_delimiter = ',')]
        channels: Option<Vec<String>>,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add one more API key and print it, once
    #[command(after_help = "Example:\n  subledger app add-key shop")]
    AddKey {
        /// The app
        id: String,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke an API key by its public part
    #[command(after_help = "Example:\n  subledger app revoke-key shop 0f3c…")]
    RevokeKey {
        /// The app
        id: String,
        /// The key, or its public part
        key: String,
        #[command(flatten)]
        common: Common,
    },
    /// List sender apps
    #[command(after_help = "Example:\n  subledger app list --json")]
    List {
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Who is to be erased, and from where.
#[derive(Debug, Args)]
#[command(
    group(clap::ArgGroup::new("whom").required(true).args(["userid", "openid"])),
    group(clap::ArgGroup::new("from").required(true).args(["channel", "all"]))
)]
pub(crate) struct EraseUser {
    /// Only from this channel
    #[arg(long)]
    pub(crate) channel: Option<String>,
    /// From every channel
    #[arg(long)]
    pub(crate) all: bool,
    /// The user's id in your system, with every openid it is or was bound to
    #[arg(long)]
    pub(crate) userid: Option<String>,
    /// The openid; users bound to it are unbound, their userids stay
    #[arg(long)]
    pub(crate) openid: Option<String>,
    /// Why; kept in the books for ever, so it must not name the person
    #[arg(long)]
    pub(crate) reason: String,
    /// Take deliveries back that wait; without it they refuse the erasure
    #[arg(long)]
    pub(crate) force: bool,
    /// Write the database file (SQLite) or the vaults' tables (PostgreSQL) anew afterwards
    #[arg(long)]
    pub(crate) vacuum: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) common: Common,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Whose ledger or history.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Who {
    /// The user's id in your system
    #[arg(long)]
    pub(crate) userid: Option<String>,
    /// The openid
    #[arg(long)]
    pub(crate) openid: Option<String>,
    /// The subject id, as answers and events show it
    #[arg(long)]
    pub(crate) subject: Option<String>,
}

/// When, and told how.
#[derive(Debug, Clone, Args)]
pub(crate) struct Past {
    /// What was known then: a position (42), a time (2026-03-01T16:00:00+08:00, or without an offset in --zone), or a
    /// date (its first moment) [default: now]
    #[arg(long, value_name = "POSITION|TIME", allow_hyphen_values = true)]
    pub(crate) at: Option<String>,
    /// The time zone of times without an offset and of times shown; an IANA name or an offset such as +08:00
    #[arg(long, value_name = "ZONE", default_value = subledger_audit::history::DEFAULT_ZONE, allow_hyphen_values = true)]
    pub(crate) zone: String,
    /// The language of what is told to people [default: from LC_ALL, LC_MESSAGES or LANG, else en]
    #[arg(long, value_name = "zh|en")]
    pub(crate) lang: Option<Lang>,
}

/// A language of answers for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lang {
    /// 中文
    Zh,
    /// English
    En,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// One ledger: where every grant is, and every event that led there
    #[command(
        after_help = "Examples:\n  subledger audit ledger --channel wechatmp123 --userid zhangsan --template TPL_…\n  subledger audit ledger … --at 2026-03-01T16:00 --explain --lang zh"
    )]
    Ledger {
        /// The channel
        #[arg(long)]
        channel: String,
        #[command(flatten)]
        who: Who,
        /// The template
        #[arg(long)]
        template: String,
        /// Every number with the events behind it; which tap paid for which delivery; what does not agree
        #[arg(long)]
        explain: bool,
        #[command(flatten)]
        past: Past,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One message: what was asked, who was skipped and why, what became of each delivery
    #[command(after_help = "Example:\n  subledger audit message --channel wechatmp123 019ab…")]
    Message {
        /// The channel
        #[arg(long)]
        channel: String,
        /// Its msgid
        msgid: String,
        #[command(flatten)]
        past: Past,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Prove that the database, or an exported file, is what was written; names the first bad event
    #[command(
        after_help = "Examples:\n  subledger audit verify --database sqlite://subledger.db\n  subledger audit verify --file events.ndjson --key $KEY\n  subledger audit verify --against events.ndjson --key $KEY\n\nExit codes: 0 clean, 1 broken, 2 could not look. No master key is needed and nothing is changed."
    )]
    Verify(Verify),
    /// Erase a person: identity and contents go, the books stay whole
    #[command(
        after_help = "Example:\n  subledger audit erase-user --all --userid zhangsan --reason \"asked for it by letter\""
    )]
    EraseUser(EraseUser),
    /// One user: bindings, and every ledger of the openid
    #[command(
        after_help = "Example:\n  subledger audit user --channel wechatmp123 --userid zhangsan --at 2026-03-01"
    )]
    User {
        /// The channel
        #[arg(long)]
        channel: String,
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        past: Past,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// What is in doubt; settle it on a person's word
    #[command(subcommand)]
    Doubts(Doubts),
    /// Correct the number of open grants of a ledger, with a reason
    #[command(
        after_help = "Example:\n  subledger audit adjust --channel wechatmp123 --userid zhangsan --template TPL_… --remove 2 --reason \"reported twice\""
    )]
    Adjust(Adjust),
    /// A channel's templates, and when its list was read from WeChat
    #[command(
        after_help = "Example:\n  subledger audit templates --channel wechatmp123 --at 2026-03-01T16:00"
    )]
    Templates {
        /// The channel
        #[arg(long)]
        channel: String,
        #[command(flatten)]
        past: Past,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Only this log [default: all]
    #[arg(long, conflicts_with = "file")]
    pub(crate) log: Option<String>,
    /// Check this exported file instead, offline; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "against")]
    pub(crate) file: Option<PathBuf>,
    /// Prove besides that the database still holds everything in this exported file; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Option<PathBuf>,
    /// The public key the file must be signed with, as `subledger admin signing-key` printed it
    #[arg(long, value_name = "HEX")]
    pub(crate) key: Option<String>,
    /// Leave out the comparison of the read models with a rebuild
    #[arg(long)]
    pub(crate) skip_projections: bool,
    #[command(flatten)]
    pub(crate) common: Common,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Events {
    /// Events of a log, oldest first
    #[command(
        after_help = "Example:\n  subledger events list --log wechatmp123 --after 100 --limit 20 --json"
    )]
    List {
        /// The log: a channel's code, or main
        #[arg(long)]
        log: String,
        /// Only events after this position
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// How many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// Only this stream, such as message/019ab…
        #[arg(long)]
        stream: Option<String>,
        #[command(flatten)]
        common: Common,
        /// Print JSON, one event a line
        #[arg(long)]
        json: bool,
    },
    /// Write a log as lines of JSON with the hash chain and a signed end
    #[command(
        after_help = "Examples:\n  subledger events export --log wechatmp123 --out events.ndjson\n  subledger events export --all | subledger audit verify --file -"
    )]
    Export {
        /// The log: a channel's code, or main
        #[arg(long, required_unless_present = "all", conflicts_with = "all")]
        log: Option<String>,
        /// Every log, one after the other
        #[arg(long)]
        all: bool,
        /// Where to; the file appears when it is whole. - writes standard output
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
        /// Only events after this position
        #[arg(long, default_value_t = 0, conflicts_with = "all")]
        after: u64,
        #[command(flatten)]
        common: Common,
    },
    /// Follow a log as events are recorded; end with Ctrl-C
    #[command(after_help = "Example:\n  subledger events tail --log wechatmp123")]
    Tail {
        /// The log: a channel's code, or main
        #[arg(long)]
        log: String,
        /// Begin after this position [default: the end of the log]
        #[arg(long)]
        after: Option<u64>,
        #[command(flatten)]
        common: Common,
        /// Print JSON, one event a line
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Projections {
    /// Where each read model stands
    #[command(after_help = "Example:\n  subledger projections status")]
    Status {
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Build the read models anew from the events, beside the live ones, and swap
    #[command(after_help = "Example:\n  subledger projections rebuild --log wechatmp123")]
    Rebuild {
        /// Only this log [default: all]
        #[arg(long)]
        log: Option<String>,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Compare the live read models with a fresh build; exit code 1 if one differs
    #[command(after_help = "Example:\n  subledger projections verify --json")]
    Verify {
        /// Only this log [default: all]
        #[arg(long)]
        log: Option<String>,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    /// Print a new master key for SUBLEDGER_MASTER_KEY
    #[command(after_help = "Example:\n  export SUBLEDGER_MASTER_KEY=$(subledger admin master-key)")]
    MasterKey,
    /// The keys: which master keys unlock the database, which data keys seal, which nodes run with them
    #[command(after_help = "Example:\n  subledger admin keys")]
    Keys {
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Replace the master key while the service runs, in two steps; see docs/secrets.md
    #[command(
        after_help = "Example:\n  export SUBLEDGER_NEW_MASTER_KEY=$(subledger admin master-key)\n  subledger admin rotate-master-key\n  (restart every node with the new key as SUBLEDGER_MASTER_KEY)\n  subledger admin rotate-master-key --finish\n  subledger admin rotate-data-key\n\nWorks beside the running service, on SQLite too. Each step may be repeated."
    )]
    RotateMasterKey {
        /// Drop every master key but the new one: SUBLEDGER_NEW_MASTER_KEY if it is set, else SUBLEDGER_MASTER_KEY
        #[arg(long)]
        finish: bool,
        /// Do so although nodes run that were started with another: they could not start again
        #[arg(long, requires = "finish")]
        anyway: bool,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Seal everything under a new data key while the service runs; goes on where it was stopped
    #[command(
        after_help = "Example:\n  subledger admin rotate-data-key\n\nWorks beside the running service, on SQLite too. Stopped or killed, run it again. Exit code 1 if anything is left under older keys."
    )]
    RotateDataKey {
        /// Values at once
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        batch: u32,
        /// The least rest between two batches, in milliseconds
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1_000))]
        pause_ms: u64,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the public key that exports of this deployment are signed with
    #[command(after_help = "Example:\n  subledger admin signing-key > subledger.pub")]
    SigningKey {
        #[command(flatten)]
        common: Common,
    },
    /// Print every setting with its default, as a TOML file to start from
    #[command(after_help = "Example:\n  subledger admin settings > subledger.toml")]
    Settings,
    /// Delete what was kept long enough (serve does it by itself, hourly): contents of ended messages, receipts, pushes
    #[command(after_help = "Example:\n  subledger admin retention --dry-run")]
    Retention {
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        common: Common,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the OpenAPI document of the native API
    #[command(after_help = "Example:\n  subledger admin openapi > openapi.json")]
    Openapi,
}
