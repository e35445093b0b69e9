//! A simulated WeChat: what it accepted is kept in a journal, the oracle of every end-to-end test.
//!
//! It shares nothing with the rest of the workspace. An oracle that used our rules, our types or our error tables would
//! share our mistakes. Everything lives in memory; a seed and a clock that is handed in make runs repeatable.
//!
//! Two surfaces on one port:
//! * WeChat's own paths (`/cgi-bin/token`, `/cgi-bin/stable_token`, `/cgi-bin/message/subscribe/send`,
//!   `/wxaapi/newtmpl/gettemplate`, `/sns/jscode2session`, and for third-party platforms `/cgi-bin/component/…`), which answer
//!   HTTP 200 with `errcode` and `errmsg`;
//! * the control API under `/sandbox` (`GET /sandbox` lists it), which sets up apps, templates and users, taps for
//!   users or plays a whole day of them, injects faults, moves the clock, and reads the journals and the true counts.
//!
//! And it calls out: events are pushed to the URL that an app has configured ([`PushSpec`]), or to the platform that the app
//! authorized ([`PlatformSpec`]), as WeChat does.
//! What WeChat's documents leave open is decided by a [`Profile`] or switch by switch ([`Reality`]).
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use subledger_sandbox::{AppSpec, Choice, Sandbox, SandboxConfig, TapSpec, Template};
//!
//! let wechat = Sandbox::new(SandboxConfig::default());
//! wechat.create_app(AppSpec::new("wx00000000demo0001", "secret"))?;
//! let template = Template::one_time("", "取餐提醒", "商品:{{thing1.DATA}}\n");
//! let template = wechat.create_template("wx00000000demo0001", template)?;
//! let openid = wechat.create_user("wx00000000demo0001", None)?;
//! wechat.tap("wx00000000demo0001", &TapSpec::new(&openid, &[&template], Choice::Accept))?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! tokio::spawn(wechat.clone().serve(listener, std::future::pending()));
//! # Ok(()) }
//! ```

mod act;
mod app;
mod books;
mod check;
mod clock;
mod config;
mod control;
mod day;
mod errcode;
mod error;
mod fault;
mod ids;
mod journal;
mod platform;
mod push;
mod quota;
mod reality;
mod sandbox;
mod serve;
mod state;
mod stats;
mod tap;
mod template;
mod token;
mod user;
mod values;
mod wechat;

pub use act::{Act, ActEntry, SettingPlace};
pub use app::{Account, AppSettings, AppSpec, AppView, Permissions};
pub use books::{BookSums, Books};
pub use check::{DEFAULT_CHECK_ORDER, SendCheck};
pub use clock::{Clock, FixedClock, SystemClock};
pub use config::{JOURNAL_LIMIT, SandboxConfig};
pub use day::{Day, DayLine, DaySpec};
pub use error::ControlError;
pub use fault::{CallPath, FaultKind, FaultSpec, FaultView, LONGEST_DELAY_MS};
pub use journal::{JournalEntry, JournalPage, JournalQuery, Page};
pub use platform::{
    AuthorizeSpec, Authorized, AuthorizerView, ComponentCall, ComponentCheck, DEFAULT_COMPONENT_ORDER,
    DEVELOPMENT_SET, PlatformDeed, PlatformEntry, PlatformQuery, PlatformSettings, PlatformSpec,
    PlatformView, Revoked,
};
pub use push::{
    Delivery, DeliveryVerdict, PushEntry, PushFaultKind, PushFaultSpec, PushFaultView, PushFormat, PushMode,
    PushQuery, PushRequest, PushSealer, PushSetup, PushSpec, PushState, PushSums, PushView, SealedPush,
    SettleSpec, Settled, UrlCheck,
};
pub use reality::{Habit, ListShape, Profile, ProfileName, Reality, RealityView, Scalar, Scene};
pub use sandbox::{LONGEST_ADVANCE_SECONDS, Sandbox};
pub use stats::{Stats, TokenCalls};
pub use tap::{TapAnswer, TapSpec, Version};
pub use template::{KeywordEnum, LONG_TERM, ONE_TIME, Template};
pub use token::OthersRefresh;
pub use user::{Choice, SettingState, TemplateCount, UserCounts};

impl Sandbox {
    /// Both surfaces as one router, for embedding.
    ///
    /// Faults that break the connection work behind any `axum::serve`; `reset` is a true TCP reset only behind
    /// [`Sandbox::serve`], which also ends hanging calls at shutdown.
    pub fn router(&self) -> axum::Router {
        axum::Router::new()
            .merge(wechat::router())
            .merge(control::router())
            .fallback(wechat::unknown_path)
            .with_state(self.clone())
    }
}
