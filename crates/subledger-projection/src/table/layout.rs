//! Which field of a row stands in which column: the columns of [`super::columns`], in the same order.

use subledger_domain::{
    AppId, ChannelCode, DeliveryId, LotId, MessageId, SubjectId, TemplateId, Timestamp, UserRef,
    ledger::{Ledger, LedgerParts, Suspension},
};
use subledger_store::Position;

use super::{
    Row, Table,
    codec::{Big, Code, Codec, Delivery, Id, Int, Json, Opt, Small, Term, Text, Time, Zero},
    packed,
};
use crate::{
    AppKeyRow, AppRow, BUCKET_MICROS, BindingRow, ChannelRow, DeliveryCounts, DeliveryRow, DeliveryState,
    DoubtRow, DriftRow, Holdings, LedgerRow, LotRow, Measure, MessageRow, ReportTemplateRow, TemplateRow,
    fold::LedgerBook,
    rows::{ReportClosing, ReportCount, StrangerRow},
    tuples::{Cells, Fields, Unreadable},
};

/// A row whose fields are its columns: its table and the type of its key, how the key is written, how it is made, the rest.
macro_rules! layout {
    ($row:ty, $table:ident, $key:ty, |$k:ident| ($($part:ident: $part_codec:ty = $of:expr),+),
        |$r:ident| $to_key:expr, ($($field:ident: $codec:ty),* $(,)?)) => {
        impl Row for $row {
            type Key = $key;
            const TABLE: Table = Table::$table;

            fn key(&self) -> Self::Key {
                let $r = self;
                $to_key
            }

            fn put_key($k: &Self::Key, to: &mut Fields<'_, '_>) {
                $( <$part_codec as Codec<_>>::put($of, to); )+
            }

            fn put_rest(&self, to: &mut Fields<'_, '_>) {
                $( <$codec as Codec<_>>::put(&self.$field, to); )*
            }

            fn take(from: &mut Cells<'_>) -> Result<Self, Unreadable> {
                $( let $part = <$part_codec as Codec<_>>::take(from)?; )+
                $( let $field = <$codec as Codec<_>>::take(from)?; )*
                Ok(Self { $($part,)+ $($field,)* })
            }
        }
    };
}

layout!(ChannelRow, Channels, ChannelCode, |k| (code: Text = k), |r| r.code.clone(), (
    appid: Text, name: Text, token_mode: Json, policy: Json, paused_at: Opt<Time>, pause_reason: Opt<Text>,
    secret_replaced_at: Time, registered_at: Time, templates_refreshed_at: Opt<Time>, templates_listed: Int,
    templates_vanished: Int, callback: Opt<Json>, relay: Opt<Json>, token: Opt<Json>,
    platform: Opt<Json>,
));

layout!(TemplateRow, Templates, TemplateId, |k| (id: Text = k), |r| r.id.clone(), (
    title: Text, content: Text, example: Text, kind: Code, keys: Json, listed: Code, first_seen_at: Time,
    changed_at: Time, vanished_at: Opt<Time>,
));

layout!(BindingRow, Bindings, UserRef, |k| (user_ref: Id = k), |r| r.user_ref, (
    subject: Opt<Id>, bound_at: Time, moved_at: Opt<Time>, unbound_at: Opt<Time>,
));

layout!(AppRow, Apps, AppId, |k| (id: Text = k), |r| r.id.clone(), (
    name: Text, rights: Json, channels: Opt<Json>, created_at: Time,
));

layout!(
    AppKeyRow, AppKeys, (AppId, String), |k| (app: Text = &k.0, key: Text = &k.1),
    |r| (r.app.clone(), r.key.clone()),
    (hash: Text, added_at: Time, revoked_at: Opt<Time>)
);

layout!(
    DriftRow, Drifts, (Timestamp, Position), |k| (found_at: Time = &k.0, position: Big = &k.1),
    |r| (r.found_at, r.position),
    (
        template: Term, subject: Id, message: Id, index: Int, grants: Int, explained: Int, cause: Code,
        last_grant_at: Opt<Time>, last_settings_at: Opt<Time>,
    )
);

layout!(
    StrangerRow, Strangers, (TemplateId, SubjectId), |k| (template: Term = &k.0, subject: Id = &k.1),
    |r| (r.template.clone(), r.subject),
    (lots: Int)
);

layout!(
    DoubtRow, Doubts, (MessageId, u32, u16), |k| (message: Id = &k.0, index: Int = &k.1, attempt: Small = &k.2),
    |r| (r.message, r.index, r.attempt),
    (
        template: Term, subject: Opt<Id>, cause: Code, began_at: Time, position: Big, ended_at: Opt<Time>,
        ended: Opt<Code>, outcome: Opt<Code>, corrected_at: Opt<Time>, corrected: Opt<Code>,
    )
);

impl Row for LedgerBook {
    // The aggregate's lists, and those of the places of its lots.
    const HEAP_BYTES: usize = 500;
    type Key = (TemplateId, SubjectId);
    const TABLE: Table = Table::Ledgers;

    fn key(&self) -> Self::Key {
        (self.row.template.clone(), self.row.subject)
    }

    fn put_key(key: &Self::Key, to: &mut Fields<'_, '_>) {
        Term::put(&key.0, to);
        Id::put(&key.1, to);
    }

    fn put_rest(&self, to: &mut Fields<'_, '_>) {
        let row = &self.row;
        for count in
            [row.balance, row.reserved, row.in_doubt, row.granted, row.consumed, row.voided, row.rejected]
        {
            Int::put(&count, to);
        }
        Opt::<Time>::put(&row.suspended_since, to);
        Code::put(&row.consented, to);
        Opt::<Time>::put(&row.last_grant_at, to);
        Opt::<Code>::put(&row.last_choice, to);
        Time::put(&row.last_event_at, to);
        match packed::pack(&self.state) {
            Some(state) => to.bytes(&state),
            None => to.null(),
        }
    }

    fn take(from: &mut Cells<'_>) -> Result<Self, Unreadable> {
        let template = Term::take(from)?;
        let subject = Id::take(from)?;
        let [balance, reserved, in_doubt, granted, consumed, voided, rejected] =
            [(); 7].map(|()| Int::take(from));
        let row = LedgerRow {
            subject,
            template,
            balance: balance?,
            reserved: reserved?,
            in_doubt: in_doubt?,
            granted: granted?,
            consumed: consumed?,
            voided: voided?,
            rejected: rejected?,
            suspended_since: Opt::<Time>::take(from)?,
            consented: Code::take(from)?,
            last_grant_at: Opt::<Time>::take(from)?,
            last_choice: Opt::<Code>::take(from)?,
            last_event_at: Time::take(from)?,
        };
        let parts = LedgerParts {
            granted: row.granted,
            consumed: row.consumed,
            voided: row.voided,
            suspended: row.suspended_since.map(|since| Suspension { since }),
            last_grant_at: row.last_grant_at,
            last_choice: row.last_choice,
            ..LedgerParts::default()
        };
        let parts = packed::unpack(from.field()?, parts, row.balance)?;
        Ok(Self::new(row, Ledger::from(parts)))
    }
}

impl Row for DeliveryRow {
    type Key = DeliveryId;
    const TABLE: Table = Table::Deliveries;

    fn key(&self) -> Self::Key {
        self.id()
    }

    fn put_key(key: &Self::Key, to: &mut Fields<'_, '_>) {
        Id::put(&key.message, to);
        Int::put(&key.index, to);
    }

    fn put_rest(&self, to: &mut Fields<'_, '_>) {
        Opt::<Id>::put(&self.user_ref, to);
        Opt::<Id>::put(&self.subject, to);
        Term::put(&self.template, to);
        Code::put(&self.state, to);
        Opt::<Text>::put(&self.reason, to);
        Opt::<Big>::put(&self.code, to);
        Opt::<Text>::put(&self.rid, to);
        Opt::<Text>::put(&self.wechat_msgid, to);
        Opt::<Int>::put(&self.lot, to);
        Opt::<Code>::put(&self.basis, to);
        Opt::<Text>::put(&self.settled_by, to);
        Small::put(&self.attempts, to);
        Opt::<Time>::put(&self.not_before, to);
        Time::put(&self.accepted_at, to);
        Opt::<Time>::put(&self.started_at, to);
        Time::put(&self.updated_at, to);
        Big::put(&self.planned_position, to);
        Big::put(&self.position, to);
        Opt::<Time>::put(&self.sent_event_at, to);
        Opt::<Big>::put(&self.sent_event_code, to);
        // What the index of deliveries in doubt is of: a column that other moves leave alone.
        let in_doubt = (self.state == DeliveryState::InDoubt).then_some(self.position);
        Opt::<Big>::put(&in_doubt, to);
    }

    fn take(from: &mut Cells<'_>) -> Result<Self, Unreadable> {
        let row = Self {
            message: Id::take(from)?,
            index: Int::take(from)?,
            user_ref: Opt::<Id>::take(from)?,
            subject: Opt::<Id>::take(from)?,
            template: Term::take(from)?,
            state: Code::take(from)?,
            reason: Opt::<Text>::take(from)?,
            code: Opt::<Big>::take(from)?,
            rid: Opt::<Text>::take(from)?,
            wechat_msgid: Opt::<Text>::take(from)?,
            lot: Opt::<Int>::take(from)?,
            basis: Opt::<Code>::take(from)?,
            settled_by: Opt::<Text>::take(from)?,
            attempts: Small::take(from)?,
            not_before: Opt::<Time>::take(from)?,
            accepted_at: Time::take(from)?,
            started_at: Opt::<Time>::take(from)?,
            updated_at: Time::take(from)?,
            planned_position: Big::take(from)?,
            position: Big::take(from)?,
            sent_event_at: Opt::<Time>::take(from)?,
            sent_event_code: Opt::<Big>::take(from)?,
        };
        let in_doubt = Opt::<Big>::take(from)?;
        if in_doubt != (row.state == DeliveryState::InDoubt).then_some(row.position) {
            return Err(Unreadable::new("a delivery is not in doubt since when its row says"));
        }
        Ok(row)
    }
}

/// WeChat's usual word for an accept, which is left out.
const USUAL: &str = "accept";

impl Row for LotRow {
    type Key = (TemplateId, SubjectId, LotId);
    const TABLE: Table = Table::Lots;

    fn key(&self) -> Self::Key {
        (self.template.clone(), self.subject, self.lot)
    }

    fn put_key(key: &Self::Key, to: &mut Fields<'_, '_>) {
        Term::put(&key.0, to);
        Id::put(&key.1, to);
        Int::put(&key.2, to);
    }

    fn put_rest(&self, to: &mut Fields<'_, '_>) {
        Code::put(&self.state, to);
        Time::put(&self.granted_at, to);
        match self.word.as_deref() {
            Some(USUAL) => to.null(),
            word => to.text(word.unwrap_or_default()),
        }
        Code::put(&self.evidence_source, to);
        Text::put(&self.evidence_ref, to);
        Opt::<Delivery>::put(&self.delivery, to);
        Opt::<Delivery>::put(&self.doubted_by, to);
        Time::put(&self.changed_at, to);
    }

    fn take(from: &mut Cells<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            template: Term::take(from)?,
            subject: Id::take(from)?,
            lot: Int::take(from)?,
            state: Code::take(from)?,
            granted_at: Time::take(from)?,
            word: match Opt::<Text>::take(from)? {
                None => Some(USUAL.to_owned()),
                Some(word) => Some(word).filter(|word: &String| !word.is_empty()),
            },
            evidence_source: Code::take(from)?,
            evidence_ref: Text::take(from)?,
            delivery: Opt::<Delivery>::take(from)?,
            doubted_by: Opt::<Delivery>::take(from)?,
            changed_at: Time::take(from)?,
        })
    }
}

impl Row for MessageRow {
    type Key = MessageId;
    const TABLE: Table = Table::Messages;

    fn key(&self) -> Self::Key {
        self.id
    }

    fn put_key(key: &Self::Key, to: &mut Fields<'_, '_>) {
        Id::put(key, to);
    }

    fn put_rest(&self, to: &mut Fields<'_, '_>) {
        Term::put(&self.app, to);
        Term::put(&self.template, to);
        Code::put(&self.kind, to);
        Int::put(&self.targeted, to);
        Time::put(&self.expires_at, to);
        Time::put(&self.accepted_at, to);
        Opt::<Time>::put(&self.retracted_at, to);
        Time::put(&self.updated_at, to);
        Big::put(&self.position, to);
        for state in DeliveryState::ALL {
            Zero::<Int>::put(&self.counts.of(state), to);
        }
    }

    fn take(from: &mut Cells<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            id: Id::take(from)?,
            app: Term::take(from)?,
            template: Term::take(from)?,
            kind: Code::take(from)?,
            targeted: Int::take(from)?,
            expires_at: Time::take(from)?,
            accepted_at: Time::take(from)?,
            retracted_at: Opt::<Time>::take(from)?,
            updated_at: Time::take(from)?,
            position: Big::take(from)?,
            counts: {
                let mut counts = DeliveryCounts::default();
                for state in DeliveryState::ALL {
                    *counts.of_mut(state) = Zero::<Int>::take(from)?;
                }
                counts
            },
        })
    }
}

fn put_holdings(holdings: &Holdings, to: &mut Fields<'_, '_>) {
    let Holdings { granted, open, reserved, in_doubt, consumed, voided } = holdings;
    [granted, open, reserved, in_doubt, consumed, voided].into_iter().for_each(|count| Big::put(count, to));
}

fn take_holdings(from: &mut Cells<'_>) -> Result<Holdings, Unreadable> {
    let granted = Big::take(from)?;
    let open = Big::take(from)?;
    let reserved = Big::take(from)?;
    let in_doubt = Big::take(from)?;
    let consumed = Big::take(from)?;
    Ok(Holdings { granted, open, reserved, in_doubt, consumed, voided: Big::take(from)? })
}

impl Row for ReportTemplateRow {
    type Key = TemplateId;
    const TABLE: Table = Table::ReportTemplates;

    fn key(&self) -> Self::Key {
        self.template.clone()
    }

    fn put_key(key: &Self::Key, to: &mut Fields<'_, '_>) {
        Term::put(key, to);
    }

    fn put_rest(&self, to: &mut Fields<'_, '_>) {
        put_holdings(&self.holdings, to);
        Time::put(&self.since, to);
        Time::put(&self.changed_at, to);
    }

    fn take(from: &mut Cells<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            template: Term::take(from)?,
            holdings: take_holdings(from)?,
            since: Time::take(from)?,
            changed_at: Time::take(from)?,
        })
    }
}

/// A bucket as the number of quarters of an hour since 1970.
fn put_bucket(bucket: Timestamp, to: &mut Fields<'_, '_>) {
    Int::put(&bucket.micros().div_euclid(BUCKET_MICROS), to);
}

fn take_bucket(from: &mut Cells<'_>) -> Result<Timestamp, Unreadable> {
    Ok(Timestamp::from_micros(from.int()?.saturating_mul(BUCKET_MICROS)))
}

impl Row for ReportClosing {
    type Key = (TemplateId, Timestamp);
    const TABLE: Table = Table::ReportClosings;

    fn key(&self) -> Self::Key {
        (self.template.clone(), self.bucket)
    }

    fn put_key(key: &Self::Key, to: &mut Fields<'_, '_>) {
        Term::put(&key.0, to);
        put_bucket(key.1, to);
    }

    fn put_rest(&self, to: &mut Fields<'_, '_>) {
        put_holdings(&self.holdings, to);
    }

    fn take(from: &mut Cells<'_>) -> Result<Self, Unreadable> {
        Ok(Self { template: Term::take(from)?, bucket: take_bucket(from)?, holdings: take_holdings(from)? })
    }
}

impl Row for ReportCount {
    type Key = (TemplateId, Timestamp, Measure, std::borrow::Cow<'static, str>);
    const TABLE: Table = Table::ReportCounts;

    fn key(&self) -> Self::Key {
        (self.template.clone(), self.bucket, self.measure, self.class.clone())
    }

    fn put_key(key: &Self::Key, to: &mut Fields<'_, '_>) {
        Term::put(&key.0, to);
        put_bucket(key.1, to);
        to.text(key.2.as_str());
        Text::put(&key.3, to);
    }

    fn put_rest(&self, to: &mut Fields<'_, '_>) {
        Big::put(&self.amount, to);
    }

    fn take(from: &mut Cells<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            template: Term::take(from)?,
            bucket: take_bucket(from)?,
            measure: Measure::from_name(from.text()?).ok_or_else(|| Unreadable::new("no such measure"))?,
            class: Text::take(from)?,
            amount: Big::take(from)?,
        })
    }
}
