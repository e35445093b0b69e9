//! Erasing a person: identity and contents go, the books stay whole.
//!
//! The person is found in every channel asked for ([`find`]); in each, one command takes back what waits (if that is
//! wanted), unbinds, and deletes openids, contents and pushes in the same commit ([`forget`]), so that nothing can be sent in
//! between and a user who is bound again a moment later is a new person. Then one command in the log `main` deletes the
//! userid and records that it was done ([`record`]). A node that dies in between leaves a person half erased: asking again
//! does the rest. Last, the database's files are made to forget what was deleted.
//!
//! An openid that several users share (a family's phone) stays while another user is bound to it; only what was sent to the
//! user who is erased goes.

mod find;
mod forget;
mod record;

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};
use subledger_domain::{
    ChannelCode, Evidence, EvidenceSource, LogName, Openid, StreamName, SubjectId, Timestamp, UserId,
    UserRef,
    binding::Binding,
    channel::Channel,
    person::{Erased, Person},
};
use subledger_store::{Done, Effect};

use self::{
    find::Found,
    forget::Forget,
    record::{Keep, Record},
};
use crate::{
    Caller, Engine, EngineError, ErrorKind, limits, metric_definitions, submit::receipt, text::check_text,
};

/// How long an erasure waits for the read models, in which it looks the person up.
const READ_MODELS_WAIT: Duration = Duration::from_secs(30);
/// How often a channel is gone through until nothing of the person is found in it. Every pass deletes a bounded number of
/// contents, so this bounds an erasure to two hundred thousand of them; asking again goes on.
const MAX_PASSES: u32 = 100;

/// Who is to be erased.
#[derive(Clone)]
pub enum Whom {
    /// A user, with the openids it is or was bound to.
    Userid(UserId),
    /// An openid. Users bound to it are unbound; their userids stay, as they may be known elsewhere.
    Openid(Openid),
}

/// From where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// One channel. A userid stays known while the user is bound in another one.
    Channel(ChannelCode),
    /// Every channel.
    Everywhere,
}

/// A wish to be forgotten.
#[derive(Clone)]
pub struct Erasure {
    /// Who.
    pub whom: Whom,
    /// From where.
    pub from: Where,
    /// Why, for the books. Must not name the person.
    pub reason: String,
    /// Take deliveries back that wait; without it they refuse the erasure. Those that WeChat may have always do.
    pub force: bool,
    /// Write the vaults anew, not only empty the write-ahead log (SQLite) or vacuum (PostgreSQL).
    pub vacuum: bool,
    /// Makes a repetition harmless.
    pub idempotency_key: Option<String>,
}

/// What an erasure came to. Names nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureAnswer {
    /// Nothing was left: the person had been erased before, and this tells of that erasure.
    pub already: bool,
    /// The channels the person was erased from.
    pub channels: BTreeSet<ChannelCode>,
    /// Whether the userid went.
    pub userid: bool,
    /// Openids that went.
    pub openids: u32,
    /// Contents that went.
    pub contents: u32,
    /// Pushes of WeChat that went, which the person had caused.
    #[serde(default)]
    pub pushes: u32,
    /// Deliveries that waited and were taken back.
    pub retracted: u32,
    /// Openids that stay because another user is bound to them.
    pub shared_openids: u32,
    /// When.
    pub at: Timestamp,
    /// At whose word: `operator:<name>` or `app:<id>`.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What was done in all channels so far.
#[derive(Default)]
struct Progress {
    known: bool,
    /// Every openid that was looked for.
    asked: BTreeSet<SubjectId>,
    openids: BTreeSet<(ChannelCode, SubjectId)>,
    /// The openids that went, to give one back if somebody was bound to it meanwhile.
    values: Vec<(ChannelCode, SubjectId, Openid)>,
    subjects: BTreeSet<SubjectId>,
    shared: BTreeSet<(ChannelCode, SubjectId)>,
    contents: u32,
    pushes: u32,
    retracted: u32,
}

impl Engine {
    /// Erases a person. Refused while deliveries to the person are under way or in doubt; deliveries that wait are taken
    /// back if [`Erasure::force`] says so. Repeating it is harmless.
    pub async fn erase_user(
        &self,
        caller: &Caller,
        erasure: Erasure,
    ) -> Result<Done<ErasureAnswer>, EngineError> {
        check_text("bad_reason", "/reason", &erasure.reason, limits::MAX_REASON_CHARS)?;
        check_silence(&erasure)?;
        let main = LogName::main();
        let key = self.erasure_receipt(caller, &erasure)?;
        if let Some(done) = self.answered(&main, key.as_ref()).await? {
            return Ok(done);
        }
        let channels = self.channels_of(&erasure.from).await?;
        let user = match &erasure.whom {
            Whom::Userid(userid) => Some(self.store().user_ref_of(userid)),
            Whom::Openid(_) => None,
        };
        // Looked at as a whole first, so that a refusal in the last channel does not come after the first was erased. Each
        // channel's command decides anew.
        for code in &channels {
            self.find_person(code, &erasure, user).await?.check(&erasure)?;
        }
        let mut progress = Progress::default();
        for code in &channels {
            self.erase_from(caller, code, &erasure, user, &mut progress).await?;
        }
        let done = self.record_erasure(caller, &erasure, user, channels, &progress, key).await?;
        self.give_back(caller, &erasure, user, &progress).await?;
        let scrubbed = self.store().scrub(erasure.vacuum).await;
        if let Err(error) = &scrubbed {
            tracing::warn!(error = %error, "a person was erased, but the database's files could not be cleaned");
        }
        let answer = &done.answer;
        tracing::info!(
            erasure.by = answer.by,
            erasure.already = answer.already,
            erasure.openids = answer.openids,
            erasure.contents = answer.contents,
            erasure.pushes = answer.pushes,
            erasure.retracted = answer.retracted,
            erasure.files_clean = matches!(scrubbed, Ok(true)),
            "a person was erased"
        );
        metrics::counter!(metric_definitions::ERASURES).increment(1);
        Ok(done)
    }

    /// What the books say of a person who was erased: the newest erasure, and how many there were.
    pub async fn person(&self, stream: &StreamName) -> Result<Person, EngineError> {
        Ok(self.store().load::<Person>(&LogName::main(), stream).await?.0)
    }

    fn erasure_receipt(
        &self,
        caller: &Caller,
        erasure: &Erasure,
    ) -> Result<Option<subledger_store::ReceiptKey>, EngineError> {
        // A reference and no identity, so that not even the fingerprint's input names somebody. The channel under which an
        // openid is hashed here only has to be the same each time.
        let whom = match (&erasure.whom, &erasure.from) {
            (Whom::Userid(userid), _) => self.store().user_ref_of(userid).to_string(),
            (Whom::Openid(openid), Where::Channel(code)) => self.store().subject_of(code, openid).to_string(),
            (Whom::Openid(openid), Where::Everywhere) => {
                let any: ChannelCode =
                    "everywhere".parse().map_err(|_| EngineError::internal("a channel code"))?;
                self.store().subject_of(&any, openid).to_string()
            }
        };
        let from = match &erasure.from {
            Where::Channel(code) => Some(code),
            Where::Everywhere => None,
        };
        let body = (whom, from, &erasure.reason, erasure.force);
        receipt("erase", caller, erasure.idempotency_key.as_deref(), &body)
    }

    async fn channels_of(&self, from: &Where) -> Result<BTreeSet<ChannelCode>, EngineError> {
        if let Where::Channel(code) = from {
            self.registered(code).await?;
            return Ok(BTreeSet::from([code.clone()]));
        }
        let mut channels = BTreeSet::new();
        for head in self.store().heads().await? {
            let Ok(code) = head.log.as_str().parse::<ChannelCode>() else { continue };
            let (channel, _) = self.store().load::<Channel>(&head.log, &StreamName::channel()).await?;
            if channel.registered().is_some() {
                channels.insert(code);
            }
        }
        Ok(channels)
    }

    /// Erases the person from one channel, pass by pass until nothing is found.
    async fn erase_from(
        &self,
        caller: &Caller,
        code: &ChannelCode,
        erasure: &Erasure,
        user: Option<UserRef>,
        progress: &mut Progress,
    ) -> Result<(), EngineError> {
        let log = LogName::channel(code);
        for _ in 0..MAX_PASSES {
            let found = self.find_person(code, erasure, user).await?;
            progress.take(code, &found);
            if found.is_clean() {
                return Ok(());
            }
            let contents = u32::try_from(found.contents.len()).unwrap_or(u32::MAX);
            let pushes = u32::try_from(found.pushes).unwrap_or(u32::MAX);
            let work = Forget::new(caller, erasure, found);
            let done = self.submit(log.clone(), caller, "erase_user", None, work).await?;
            progress.contents = progress.contents.saturating_add(contents);
            progress.pushes = progress.pushes.saturating_add(pushes);
            progress.retracted = progress.retracted.saturating_add(done.answer.retracted);
        }
        let detail = "there is more to erase than one request does; ask again to go on";
        Err(EngineError::new(ErrorKind::Unavailable, "erasure_goes_on", detail))
    }

    async fn record_erasure(
        &self,
        caller: &Caller,
        erasure: &Erasure,
        user: Option<UserRef>,
        channels: BTreeSet<ChannelCode>,
        progress: &Progress,
        key: Option<subledger_store::ReceiptKey>,
    ) -> Result<Done<ErasureAnswer>, EngineError> {
        let mut forget_user = None;
        if let Some(user) = user
            && self.is_kept(user).await?
            && !self.is_bound_anywhere(user).await?
        {
            forget_user = Some(user);
        }
        let mut streams: Vec<StreamName> = user.map(StreamName::user).into_iter().collect();
        streams.extend(progress.subjects.iter().map(|subject| StreamName::subject(*subject)));
        if !progress.known && forget_user.is_none() {
            // Nothing is left of the person, or there never was anything.
            streams.extend(progress.asked.iter().map(|subject| StreamName::subject(*subject)));
            streams = self.erased_before(streams).await?.into_iter().collect();
        }
        if streams.is_empty() {
            return Err(unknown_person());
        }
        let source = if caller.operator { EvidenceSource::Operator } else { EvidenceSource::Integrator };
        let evidence = Evidence {
            reason: Some(erasure.reason.clone()),
            ..Evidence::new(source, caller.who(), self.now())
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let erased = Erased {
            channels,
            userid: forget_user.is_some(),
            openids: count(progress.openids.len()),
            contents: progress.contents,
            pushes: progress.pushes,
            retracted: progress.retracted,
            evidence,
        };
        let work = Record { streams, erased, forget_user, shared: count(progress.shared.len()) };
        self.submit(LogName::main(), caller, "erase_user", key, work).await
    }

    /// The first of these persons who was erased before.
    async fn erased_before(&self, streams: Vec<StreamName>) -> Result<Option<StreamName>, EngineError> {
        for stream in streams {
            if self.person(&stream).await?.erased().is_some() {
                return Ok(Some(stream));
            }
        }
        Ok(None)
    }

    async fn is_kept(&self, user: UserRef) -> Result<bool, EngineError> {
        Ok(!self.store().userids(&[user]).await?.is_empty())
    }

    async fn is_bound_anywhere(&self, user: UserRef) -> Result<bool, EngineError> {
        for head in self.store().heads().await?.into_iter().filter(|head| head.log.as_str() != LogName::MAIN)
        {
            let (binding, _) = self.store().load::<Binding>(&head.log, &StreamName::binding(user)).await?;
            if binding.subject().is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whoever was bound while the erasure ran is a new person: gives back what that binding kept and the erasure took. (A
    /// channel's openids and its bindings change in one order; but userids belong to all channels, and another user may have
    /// been bound to a shared openid that was looked up a moment before.)
    async fn give_back(
        &self,
        caller: &Caller,
        erasure: &Erasure,
        user: Option<UserRef>,
        progress: &Progress,
    ) -> Result<(), EngineError> {
        if let (Whom::Userid(userid), Some(user)) = (&erasure.whom, user)
            && !self.is_kept(user).await?
            && self.is_bound_anywhere(user).await?
        {
            let effect = Effect::KeepUserId { user, userid: userid.clone() };
            self.submit(LogName::main(), caller, "bound_meanwhile", None, Keep(effect)).await?;
        }
        for (code, subject, openid) in &progress.values {
            let log = LogName::channel(code);
            self.read_models_of(&log).await?;
            let bound = !self.queries().bindings_of_subject(code, *subject).await?.value.is_empty();
            if bound && self.store().openids(&log, &[*subject]).await?.is_empty() {
                let effect = Effect::KeepOpenid { subject: *subject, openid: openid.clone() };
                self.submit(log, caller, "bound_meanwhile", None, Keep(effect)).await?;
            }
        }
        Ok(())
    }

    /// Waits until the read models of a log show all that is recorded in it.
    async fn read_models_of(&self, log: &LogName) -> Result<(), EngineError> {
        let head = self.store().head(log).await?.position;
        let reached = self.projections().wait_for(log, head, READ_MODELS_WAIT).await;
        reached.map_err(|_| EngineError {
            retry_after: Some(Duration::from_secs(5)),
            ..EngineError::new(
                ErrorKind::Unavailable,
                "read_models_behind",
                "the read models, in which the person is looked up, do not show everything yet; try again, and see \
                 `subledger projections status` if it stays so",
            )
        })
    }
}

impl Progress {
    fn take(&mut self, code: &ChannelCode, found: &Found) {
        self.known |= found.known;
        for target in &found.targets {
            if target.shared {
                self.shared.insert((code.clone(), target.subject));
                continue;
            }
            self.asked.insert(target.subject);
            if !found.known {
                continue;
            }
            self.subjects.insert(target.subject);
            if let Some(openid) = found.openids.get(&target.subject)
                && self.openids.insert((code.clone(), target.subject))
            {
                self.values.push((code.clone(), target.subject, openid.clone()));
            }
        }
    }
}

fn unknown_person() -> EngineError {
    EngineError::not_found("unknown_user", "nothing is known of this person in the channels asked for")
}

fn names_person() -> EngineError {
    let rule = "must not name the person by userid or openid: the reason is kept in the books for ever";
    EngineError::field("bad_reason", "/reason", "names_person", rule)
}

/// Refuses a reason that names the person. A userid of one or two characters is too likely to stand there by chance.
fn check_silence(erasure: &Erasure) -> Result<(), EngineError> {
    let name = match &erasure.whom {
        Whom::Userid(userid) => userid.as_str(),
        Whom::Openid(openid) => openid.as_str(),
    };
    if name.chars().count() > 2 && erasure.reason.contains(name) { Err(names_person()) } else { Ok(()) }
}
