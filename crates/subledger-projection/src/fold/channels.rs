//! Folds channel events: the Mini Program and its templates.

use subledger_domain::{
    ChannelCode, Template,
    channel::{
        Authorized, CallbackConfigured, ChannelEvent, Registered, RelayConfigured, TemplatesRefreshed,
        TokenConflictSuspected,
    },
};

use super::{FoldError, Incoming, Model, Poison, Stamp};
use crate::{
    CallbackRow, ChannelRow, PlatformRow, RelayRow, TemplateRow, TokenConflictRow, TokenRow,
    cache::{Held, Rows},
    table::{Need, Table},
    tuples::{Naming, Tuples, Unreadable},
};

#[derive(Default)]
pub(super) struct Channels {
    events: Vec<(Stamp, ChannelCode, ChannelEvent)>,
    channels: Rows<ChannelRow>,
    templates: Rows<TemplateRow>,
}

impl Model for Channels {
    fn take(&mut self, event: &Incoming<'_>) -> Result<(), FoldError> {
        if event.stream.aggregate_type() != "channel" {
            return Ok(());
        }
        let code: ChannelCode = event.log.as_str().parse().map_err(|_| event.misnamed())?;
        let decoded: ChannelEvent = event.decode()?;
        if let ChannelEvent::TemplatesRefreshed(refreshed) = &decoded {
            for template in refreshed.added.iter().chain(&refreshed.changed) {
                self.templates.want(&template.id);
            }
            for id in &refreshed.vanished {
                self.templates.want(id);
            }
        }
        self.channels.want(&code);
        self.events.push((event.stamp, code, decoded));
        Ok(())
    }

    fn need(&mut self, naming: &mut Naming<'_>) -> Option<Need> {
        self.channels.need(naming).or_else(|| self.templates.need(naming))
    }

    fn load(&mut self, table: Table, rows: &Tuples) -> Result<(), Unreadable> {
        if table == Table::Channels { self.channels.load(rows) } else { self.templates.load(rows) }
    }

    fn fold(&mut self) -> Result<(), Poison> {
        for (stamp, code, event) in std::mem::take(&mut self.events) {
            self.apply(stamp, &code, event).map_err(|error| Poison { position: stamp.position, error })?;
        }
        Ok(())
    }

    fn tables(&mut self) -> Vec<&mut dyn Held> {
        vec![&mut self.channels, &mut self.templates]
    }
}

impl Channels {
    fn apply(&mut self, stamp: Stamp, code: &ChannelCode, event: ChannelEvent) -> Result<(), FoldError> {
        if let ChannelEvent::Registered(registered) = event {
            self.channels.put(registered_row(stamp, code, registered));
            return Ok(());
        }
        let Some(row) = self.channels.edit(code) else {
            return Err(FoldError::Contradiction(format!("channel {code} was never registered")));
        };
        match event {
            ChannelEvent::Registered(_) => {}
            ChannelEvent::CredentialsReplaced(_) => row.secret_replaced_at = stamp.at,
            ChannelEvent::TokenSourceChanged(source) => {
                // An AppSecret stays the one in use when the channel changes between the modes that use one.
                if source.secret.is_some()
                    && !(row.token_mode.has_app_secret() && source.mode.has_app_secret())
                {
                    row.secret_replaced_at = stamp.at;
                }
                row.token_mode = source.mode;
                // A conflict over the tokens of another source says nothing about this one.
                row.token = source.url.map(|url| TokenRow { url: Some(url), conflict: None });
            }
            ChannelEvent::TokenConflictSuspected(e) => {
                let TokenConflictSuspected { mode, code, age_s, .. } = e;
                let conflict = TokenConflictRow { at: stamp.at, mode, code, age_s };
                row.token.get_or_insert_default().conflict = Some(conflict);
            }
            ChannelEvent::TokenLeased(_) | ChannelEvent::TokenForced(_) => {}
            ChannelEvent::Paused(paused) => {
                row.paused_at = Some(stamp.at);
                row.pause_reason = Some(paused.reason);
            }
            ChannelEvent::Resumed(_) => {
                row.paused_at = None;
                row.pause_reason = None;
            }
            ChannelEvent::PolicyChanged(changed) => row.policy = changed.policy,
            // A hold is over without an event, and a fold has no clock: who shows one asks the channel itself.
            ChannelEvent::BulkHeld(_) | ChannelEvent::BulkReleased(_) | ChannelEvent::QuotaCleared(_) => {}
            ChannelEvent::CallbackConfigured(configured) => {
                row.callback = Some(callback_row(stamp, row.callback.as_ref(), configured));
            }
            ChannelEvent::RelayConfigured(relay) => {
                let RelayConfigured { url, form, kinds, .. } = relay;
                row.relay = Some(RelayRow { url, form, kinds, configured_at: stamp.at, stopped: None });
            }
            ChannelEvent::RelayStopped(stopped) => {
                if let Some(relay) = &mut row.relay {
                    relay.stopped = Some((stamp.at, stopped.cause));
                }
            }
            ChannelEvent::Authorized(granted) => {
                let Authorized { platform: appid, permissions, missing, original_id, .. } = granted;
                row.platform = Some(PlatformRow {
                    appid,
                    permissions,
                    missing,
                    original_id,
                    authorized_at: stamp.at,
                    updated_at: None,
                    lost: None,
                });
            }
            ChannelEvent::AuthorizationUpdated(updated) => {
                if let Some(platform) = &mut row.platform {
                    platform.permissions = updated.permissions;
                    platform.missing = updated.missing;
                    platform.updated_at = Some(stamp.at);
                }
            }
            ChannelEvent::Unauthorized(unauthorized) => {
                if let Some(platform) = &mut row.platform {
                    platform.lost = Some((stamp.at, unauthorized.loss));
                }
            }
            ChannelEvent::TemplatesRefreshed(refreshed) => {
                row.templates_refreshed_at = Some(stamp.at);
                row.templates_listed = refreshed.listed;
                refresh(&mut self.templates, row, stamp, refreshed);
            }
        }
        Ok(())
    }
}

fn registered_row(stamp: Stamp, code: &ChannelCode, registered: Registered) -> ChannelRow {
    ChannelRow {
        code: code.clone(),
        appid: registered.appid,
        name: registered.name,
        token_mode: registered.token_mode,
        policy: registered.policy,
        paused_at: None,
        pause_reason: None,
        secret_replaced_at: stamp.at,
        registered_at: stamp.at,
        templates_refreshed_at: None,
        templates_listed: 0,
        templates_vanished: 0,
        callback: None,
        relay: None,
        token: registered.token_url.map(|url| TokenRow { url: Some(url), conflict: None }),
        platform: None,
    }
}

fn callback_row(stamp: Stamp, before: Option<&CallbackRow>, configured: CallbackConfigured) -> CallbackRow {
    let CallbackConfigured { mode, format, original_id, learned, .. } = configured;
    // What a push taught was set by nobody.
    let configured_at = before.filter(|_| learned).map_or(stamp.at, |before| before.configured_at);
    CallbackRow { mode, format, configured_at, original_id }
}

fn refresh(
    templates: &mut Rows<TemplateRow>,
    channel: &mut ChannelRow,
    stamp: Stamp,
    refreshed: TemplatesRefreshed,
) {
    for template in refreshed.added.into_iter().chain(refreshed.changed) {
        let before = templates.get(&template.id);
        if before.is_some_and(|row| !row.listed) {
            channel.templates_vanished = channel.templates_vanished.saturating_sub(1);
        }
        let first_seen_at = before.map_or(stamp.at, |row| row.first_seen_at);
        let changed_at = before.filter(|row| same(row, &template)).map_or(stamp.at, |row| row.changed_at);
        templates.put(TemplateRow {
            id: template.id,
            title: template.title,
            content: template.content,
            example: template.example,
            kind: template.kind,
            keys: template.keys,
            listed: true,
            first_seen_at,
            changed_at,
            vanished_at: None,
        });
    }
    for id in &refreshed.vanished {
        if templates.get(id).is_some_and(|row| row.listed)
            && let Some(row) = templates.edit(id)
        {
            row.listed = false;
            row.vanished_at = Some(stamp.at);
            channel.templates_vanished += 1;
        }
    }
}

fn same(row: &TemplateRow, template: &Template) -> bool {
    row.title == template.title
        && row.content == template.content
        && row.example == template.example
        && row.kind == template.kind
        && row.keys == template.keys
}
