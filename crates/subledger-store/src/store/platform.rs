//! What is kept of third-party platforms beside the log: tickets, authorizations that were begun, codes that came, and the
//! refresh tokens of authorizers.
//!
//! All of it is replaced or used up within minutes or hours, and most of it is secret, so it is rows and not events. Each
//! statement is one that may be repeated: a node that dies in between leaves a state from which another goes on.

use secrecy::{ExposeSecret, SecretString};
use subledger_domain::{ChannelCode, Timestamp};

use super::{Store, place};
use crate::{
    StoreError,
    rows::{
        bytes,
        platform::{
            AuthorizationColumns, AuthorizationWrite, AuthorizerColumns, AuthorizerWrite, CodeColumns,
            CodeWrite, PlatformColumns,
        },
        unsigned,
    },
};

/// A platform whose tickets are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedPlatform {
    /// Its appid.
    pub component_appid: String,
    /// When its newest ticket came.
    pub received_at: Option<Timestamp>,
    /// How many came.
    pub tickets: u64,
    /// When WeChat was last asked to push them.
    pub asked_at: Option<Timestamp>,
}

/// The newest ticket of a platform. `Debug` hides the ticket.
#[derive(Debug, Clone)]
pub struct PlatformTicket {
    /// The ticket.
    pub ticket: SecretString,
    /// When it came.
    pub received_at: Timestamp,
}

/// An authorization that begins. `Debug` hides its secrets.
#[derive(Debug, Clone)]
pub struct BegunAuthorization {
    /// Its id, random.
    pub id: [u8; 16],
    /// The platform's appid.
    pub component_appid: String,
    /// The channel that is to be authorized.
    pub channel: ChannelCode,
    /// Our own state in the redirect.
    pub state: SecretString,
    /// WeChat's pre-auth code.
    pub preauth_code: SecretString,
    /// What makes a repetition harmless, scoped by whoever asks.
    pub request: Option<String>,
    /// It is of no use from then on.
    pub expires_at: Timestamp,
}

/// Where an authorization stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BegunStatus {
    /// Nobody has scanned, as far as we know. Of no use any more once its time is over.
    Waiting,
    /// The Mini Program is authorized.
    Authorized,
    /// It was scanned, and what came of it was refused here or by WeChat.
    Refused,
}

/// An authorization that was begun. `Debug` hides its secrets.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Its id.
    pub id: [u8; 16],
    /// The platform's appid.
    pub component_appid: String,
    /// The channel that is to be authorized.
    pub channel: ChannelCode,
    /// State and pre-auth code, while it waits.
    pub link: Option<(SecretString, SecretString)>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// It is of no use from then on.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub status: BegunStatus,
    /// What it came to, short JSON.
    pub outcome: Option<String>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// By what an authorization ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorizationEnd {
    /// Success.
    Authorized,
    /// Refused.
    Refused,
}

/// An authorization code that came. `Debug` hides it.
#[derive(Debug, Clone)]
pub struct NewCode {
    /// The platform's appid.
    pub component_appid: String,
    /// The code.
    pub code: SecretString,
    /// The authorization begun here that it belongs to, if one.
    pub begun: Option<[u8; 16]>,
    /// The Mini Program, if it is known.
    pub appid: Option<String>,
    /// WeChat's time of the push that told of it, or ours of the redirect, in seconds.
    pub dated: i64,
    /// It is of no use from then on.
    pub expires_at: Timestamp,
}

/// Where a code stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeStatus {
    /// To be carried out.
    Waiting,
    /// Carried out.
    Done,
    /// Refused by WeChat or here.
    Refused,
}

/// A code that is kept. `Debug` hides it.
#[derive(Debug, Clone)]
pub struct StoredCode {
    /// The platform's appid.
    pub component_appid: String,
    /// By what it is known here.
    pub key: [u8; 16],
    /// The code, while it waits.
    pub code: Option<SecretString>,
    /// The authorization begun here that it belongs to, if one.
    pub begun: Option<[u8; 16]>,
    /// The Mini Program, if it is known.
    pub appid: Option<String>,
    /// See [`NewCode::dated`].
    pub dated: i64,
    /// It is of no use from then on.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub status: CodeStatus,
    /// What it came to, short JSON.
    pub outcome: Option<String>,
    /// How often it was tried in vain.
    pub tries: u64,
    /// It is not to be tried before.
    pub due_at: Timestamp,
}

/// A Mini Program that was authorized to a platform. `Debug` hides the token.
#[derive(Debug, Clone)]
pub struct Authorizer {
    /// The platform's appid.
    pub component_appid: String,
    /// The Mini Program's appid.
    pub appid: String,
    /// The channel, once it has one.
    pub channel: Option<ChannelCode>,
    /// The refresh token; none if WeChat told of none, or once the authorization is lost.
    pub refresh_token: Option<SecretString>,
    /// Grows by one with each write; the fence for [`Store::replace_refresh_token`].
    pub version: u64,
    /// When the token was obtained.
    pub obtained_at: Timestamp,
}

impl Store {
    /// Has a platform's tickets watched from now on.
    pub async fn watch_platform(&self, component_appid: &str) -> Result<(), StoreError> {
        self.inner.database.writer().await?.session().watch(component_appid).await
    }

    /// Every platform that is watched, by appid.
    pub async fn watched_platforms(&self) -> Result<Vec<WatchedPlatform>, StoreError> {
        let rows = self.inner.database.reader().await?.session().watched().await?;
        rows.into_iter().map(|row| Ok(watched(row)?.0)).collect()
    }

    /// How the tickets of a platform come, if it is watched.
    pub async fn watched_platform(
        &self,
        component_appid: &str,
    ) -> Result<Option<WatchedPlatform>, StoreError> {
        let row = self.inner.database.reader().await?.session().ticket(component_appid).await?;
        row.map(|row| Ok(watched(row)?.0)).transpose()
    }

    /// Keeps a ticket that WeChat dated `dated` seconds since the epoch. `false`: a newer one is kept.
    pub async fn keep_ticket(
        &self,
        component_appid: &str,
        ticket: &SecretString,
        dated: i64,
    ) -> Result<bool, StoreError> {
        let sealed =
            self.inner.vault.seal(&place::ticket(component_appid), ticket.expose_secret().as_bytes())?;
        let now = self.inner.clock.now().micros();
        let mut writer = self.inner.database.writer().await?;
        writer.session().keep_ticket(component_appid, &sealed, dated, now).await
    }

    /// The newest ticket of a platform.
    pub async fn ticket(&self, component_appid: &str) -> Result<Option<PlatformTicket>, StoreError> {
        let row = self.inner.database.reader().await?.session().ticket(component_appid).await?;
        let Some((platform, Some(sealed))) = row.map(watched).transpose()? else { return Ok(None) };
        let ticket = self.opened(&place::ticket(component_appid), &sealed).await?;
        Ok(platform.received_at.map(|received_at| PlatformTicket { ticket, received_at }))
    }

    /// Notes that WeChat is asked for tickets now. `false`: somebody asked after `before`, so do not ask.
    pub async fn note_ticket_ask(
        &self,
        component_appid: &str,
        before: Timestamp,
    ) -> Result<bool, StoreError> {
        let now = self.inner.clock.now().micros();
        let mut writer = self.inner.database.writer().await?;
        writer.session().ask_tickets(component_appid, before.micros(), now).await
    }

    /// Begins an authorization. `false`: the request led to another one before.
    pub async fn begin_authorization(&self, new: &BegunAuthorization) -> Result<bool, StoreError> {
        let link = [new.state.expose_secret(), new.preauth_code.expose_secret()].join("\n");
        let sealed = self.inner.vault.seal(&place::authorization(&new.id), link.as_bytes())?;
        let write = AuthorizationWrite {
            id: new.id,
            component: &new.component_appid,
            channel: new.channel.as_str(),
            state: self.state_handle(&new.state),
            preauth: self.preauth_handle(&new.component_appid, &new.preauth_code),
            request: new.request.as_ref().map(|request| self.request_handle(request)),
            sealed: &sealed,
            expires_at: new.expires_at.micros(),
        };
        let now = self.inner.clock.now().micros();
        self.inner.database.writer().await?.session().begin(&write, now).await
    }

    /// An authorization by its id.
    pub async fn begun(&self, id: &[u8; 16]) -> Result<Option<Begun>, StoreError> {
        let found = self.begun_with(id).await?;
        Ok(found.filter(|begun| begun.id == *id))
    }

    /// The authorization that a request led to.
    pub async fn begun_by_request(&self, request: &str) -> Result<Option<Begun>, StoreError> {
        self.begun_with(&self.request_handle(request)).await
    }

    /// The authorization whose redirect carries this state.
    pub async fn begun_by_state(&self, state: &SecretString) -> Result<Option<Begun>, StoreError> {
        self.begun_with(&self.state_handle(state)).await
    }

    /// The authorization that was begun with this pre-auth code.
    pub async fn begun_by_preauth(
        &self,
        component_appid: &str,
        code: &SecretString,
    ) -> Result<Option<Begun>, StoreError> {
        self.begun_with(&self.preauth_handle(component_appid, code)).await
    }

    async fn begun_with(&self, hash: &[u8; 16]) -> Result<Option<Begun>, StoreError> {
        let row = self.inner.database.reader().await?.session().begun(hash).await?;
        match row {
            Some(row) => Ok(Some(self.begun_of(row).await?)),
            None => Ok(None),
        }
    }

    async fn begun_of(&self, row: AuthorizationColumns) -> Result<Begun, StoreError> {
        let (id, component_appid, channel, sealed, created_at, expires_at, status, outcome, ended_at) = row;
        let id = bytes(id)?;
        let link = match sealed {
            None => None,
            Some(sealed) => {
                let link = self.opened(&place::authorization(&id), &sealed).await?;
                let parts = link.expose_secret().split_once('\n');
                let (state, preauth) =
                    parts.ok_or_else(|| StoreError::Corrupt("a sealed authorization".to_owned()))?;
                Some((state.into(), preauth.into()))
            }
        };
        Ok(Begun {
            id,
            component_appid,
            channel: channel.parse().map_err(super::vaults::broken)?,
            link,
            created_at: Timestamp::from_micros(created_at),
            expires_at: Timestamp::from_micros(expires_at),
            status: match status {
                0 => BegunStatus::Waiting,
                1 => BegunStatus::Authorized,
                2 => BegunStatus::Refused,
                other => return Err(StoreError::Corrupt(format!("authorization status {other}"))),
            },
            outcome,
            ended_at: ended_at.map(Timestamp::from_micros),
        })
    }

    /// Ends an authorization that waits. `false`: it had ended before.
    pub async fn end_authorization(
        &self,
        id: &[u8; 16],
        end: AuthorizationEnd,
        outcome: &str,
    ) -> Result<bool, StoreError> {
        let status = match end {
            AuthorizationEnd::Authorized => 1,
            AuthorizationEnd::Refused => 2,
        };
        let now = self.inner.clock.now().micros();
        self.inner.database.writer().await?.session().end(id, status, outcome, now).await
    }

    /// Keeps a code. Of one that came before, only what was not known of it yet is added. Answers by what it is known.
    pub async fn keep_code(&self, new: &NewCode) -> Result<[u8; 16], StoreError> {
        let component = new.component_appid.as_str();
        let code = self
            .inner
            .vault
            .handle_of("auth_code", [component, new.code.expose_secret()].join("\n").as_bytes());
        let sealed =
            self.inner.vault.seal(&place::code(component, &code), new.code.expose_secret().as_bytes())?;
        let write = CodeWrite {
            component,
            code,
            sealed: &sealed,
            begun: new.begun,
            appid: new.appid.as_deref(),
            dated: new.dated,
            expires_at: new.expires_at.micros(),
        };
        let now = self.inner.clock.now().micros();
        self.inner.database.writer().await?.session().keep_code(&write, now).await?;
        Ok(code)
    }

    /// A code by what it is known by.
    pub async fn code(
        &self,
        component_appid: &str,
        key: &[u8; 16],
    ) -> Result<Option<StoredCode>, StoreError> {
        let row = self.inner.database.reader().await?.session().code(component_appid, key).await?;
        match row {
            Some(row) => Ok(Some(self.code_of(row).await?)),
            None => Ok(None),
        }
    }

    /// Up to `limit` codes of all platforms that wait and are due, the oldest first.
    pub async fn due_codes(&self, limit: u32) -> Result<Vec<StoredCode>, StoreError> {
        let now = self.inner.clock.now().micros();
        let rows = self.inner.database.reader().await?.session().due_codes(now, i64::from(limit)).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            found.push(self.code_of(row).await?);
        }
        Ok(found)
    }

    async fn code_of(&self, row: CodeColumns) -> Result<StoredCode, StoreError> {
        let (component_appid, key, sealed, begun, appid, dated, expires_at, status, outcome, tries, due_at) =
            row;
        let key = bytes(key)?;
        let code = match sealed {
            None => None,
            Some(sealed) => Some(self.opened(&place::code(&component_appid, &key), &sealed).await?),
        };
        Ok(StoredCode {
            component_appid,
            key,
            code,
            begun: begun.map(bytes).transpose()?,
            appid,
            dated,
            expires_at: Timestamp::from_micros(expires_at),
            status: match status {
                0 => CodeStatus::Waiting,
                1 => CodeStatus::Done,
                2 => CodeStatus::Refused,
                other => return Err(StoreError::Corrupt(format!("code status {other}"))),
            },
            outcome,
            tries: unsigned(tries)?,
            due_at: Timestamp::from_micros(due_at),
        })
    }

    /// Has a code that waits tried again, not before `due_at`.
    pub async fn postpone_code(
        &self,
        component_appid: &str,
        key: &[u8; 16],
        due_at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut writer = self.inner.database.writer().await?;
        writer.session().postpone_code(component_appid, key, due_at.micros()).await
    }

    /// Says what became of a code that waits: carried out, or refused. The code itself is deleted.
    pub async fn settle_code(
        &self,
        component_appid: &str,
        key: &[u8; 16],
        done: bool,
        outcome: &str,
    ) -> Result<(), StoreError> {
        let status = if done { 1 } else { 2 };
        let mut writer = self.inner.database.writer().await?;
        writer.session().settle_code(component_appid, key, status, outcome).await
    }

    /// Deletes authorizations and codes whose time was over before `before`. Answers how many.
    pub async fn forget_old_authorizations(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.inner.database.writer().await?.session().forget_old(before.micros()).await
    }

    /// A Mini Program that was authorized to a platform.
    pub async fn authorizer(
        &self,
        component_appid: &str,
        appid: &str,
    ) -> Result<Option<Authorizer>, StoreError> {
        let row = self.inner.database.reader().await?.session().authorizer(component_appid, appid).await?;
        match row {
            Some(row) => Ok(Some(self.authorizer_of(row).await?)),
            None => Ok(None),
        }
    }

    /// By which platform a Mini Program is called: that of its channel, if it has one; else the one it authorized last.
    pub async fn authorizer_in_use(&self, appid: &str) -> Result<Option<Authorizer>, StoreError> {
        let row = self.inner.database.reader().await?.session().authorizer_in_use(appid).await?;
        match row {
            Some(row) => Ok(Some(self.authorizer_of(row).await?)),
            None => Ok(None),
        }
    }

    /// Gives a Mini Program of a platform its channel. Whatever the channel had before, it has no more.
    pub async fn link_authorizer(
        &self,
        component_appid: &str,
        appid: &str,
        channel: &ChannelCode,
    ) -> Result<(), StoreError> {
        let mut writer = self.inner.database.writer().await?;
        writer.session().link(component_appid, appid, channel.as_str()).await
    }

    /// Up to `limit` Mini Programs of a platform after `after`, by appid.
    pub async fn authorizers(
        &self,
        component_appid: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<Authorizer>, StoreError> {
        let mut reader = self.inner.database.reader().await?;
        let rows = reader.session().authorizers(component_appid, after, i64::from(limit)).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            found.push(self.authorizer_of(row).await?);
        }
        Ok(found)
    }

    async fn authorizer_of(&self, row: AuthorizerColumns) -> Result<Authorizer, StoreError> {
        let (component_appid, appid, channel, sealed, version, obtained_at, _) = row;
        let refresh_token = match sealed {
            None => None,
            Some(sealed) => Some(self.opened(&place::authorizer(&component_appid, &appid), &sealed).await?),
        };
        Ok(Authorizer {
            channel: channel.map(|code| code.parse().map_err(super::vaults::broken)).transpose()?,
            component_appid,
            appid,
            refresh_token,
            version: unsigned(version)?,
            obtained_at: Timestamp::from_micros(obtained_at),
        })
    }

    /// Keeps the refresh token of a new authorization, whatever was there before; the channel stays where none is given.
    /// Answers with its version. `dated` is as in [`NewCode::dated`].
    pub async fn supersede_refresh_token(
        &self,
        component_appid: &str,
        appid: &str,
        token: Option<&SecretString>,
        dated: i64,
    ) -> Result<u64, StoreError> {
        let sealed = self.sealed_refresh_token(component_appid, appid, token)?;
        let write = AuthorizerWrite { component: component_appid, appid, refresh_token: sealed.as_deref() };
        let now = self.inner.clock.now().micros();
        unsigned(self.inner.database.writer().await?.session().supersede(&write, dated, now).await?)
    }

    /// Replaces the refresh token that was read as `version`. `false`: another was written since, which is newer; drop this one.
    pub async fn replace_refresh_token(
        &self,
        component_appid: &str,
        appid: &str,
        version: u64,
        token: &SecretString,
    ) -> Result<bool, StoreError> {
        let sealed = self.sealed_refresh_token(component_appid, appid, Some(token))?;
        let write = AuthorizerWrite { component: component_appid, appid, refresh_token: sealed.as_deref() };
        let now = self.inner.clock.now().micros();
        let version = i64::try_from(version).unwrap_or(i64::MAX);
        self.inner.database.writer().await?.session().replace(&write, version, now).await
    }

    /// Deletes the refresh token of an authorization that was lost at `dated` by WeChat's clock, in seconds. `false`: there is
    /// no such authorization, or it was given again after that.
    pub async fn lose_refresh_token(
        &self,
        component_appid: &str,
        appid: &str,
        dated: i64,
    ) -> Result<bool, StoreError> {
        self.inner.database.writer().await?.session().lose(component_appid, appid, dated).await
    }

    fn sealed_refresh_token(
        &self,
        component_appid: &str,
        appid: &str,
        token: Option<&SecretString>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let place = place::authorizer(component_appid, appid);
        let seal = |token: &SecretString| self.inner.vault.seal(&place, token.expose_secret().as_bytes());
        token.map(seal).transpose()
    }

    async fn opened(&self, place: &[&[u8]], sealed: &[u8]) -> Result<SecretString, StoreError> {
        Ok(super::vaults::text(self.unseal(place, sealed).await?, "a sealed row")?.into())
    }

    fn state_handle(&self, state: &SecretString) -> [u8; 16] {
        self.inner.vault.handle_of("state", state.expose_secret().as_bytes())
    }

    fn preauth_handle(&self, component_appid: &str, code: &SecretString) -> [u8; 16] {
        let text = [component_appid, code.expose_secret()].join("\n");
        self.inner.vault.handle_of("preauth", text.as_bytes())
    }

    fn request_handle(&self, request: &str) -> [u8; 16] {
        self.inner.vault.handle_of("request", request.as_bytes())
    }
}

fn watched(row: PlatformColumns) -> Result<(WatchedPlatform, Option<Vec<u8>>), StoreError> {
    let (component_appid, sealed, received_at, tickets, asked_at) = row;
    let platform = WatchedPlatform {
        component_appid,
        received_at: received_at.map(Timestamp::from_micros),
        tickets: unsigned(tickets)?,
        asked_at: asked_at.map(Timestamp::from_micros),
    };
    Ok((platform, sealed))
}
