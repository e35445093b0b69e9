//! What a command writes besides events: rows that must appear in the same transaction or not at all.

use secrecy::SecretString;
use subledger_domain::{DeliveryId, Openid, StreamName, SubjectId, TemplateId, Timestamp, UserId, UserRef};

use crate::{PushKey, PushRow, PushState};

/// A delivery waiting to be handed to WeChat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRow {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Whose; at most one row per (log, subject) is claimed or started at a time, because WeChat answers 43108 to
    /// concurrent calls for one openid.
    pub subject: SubjectId,
    /// Of which template.
    pub template: TemplateId,
    /// Not before this moment.
    pub due_at: Timestamp,
    /// No longer wanted from this moment on.
    pub expires_at: Timestamp,
    /// Attempts made so far.
    pub attempts: u16,
    /// One of many: held while WeChat's quota runs short, so that single deliveries go on.
    pub bulk: bool,
}

impl QueueRow {
    /// The ledger that set the grant aside and says how the delivery goes on.
    pub fn ledger(&self) -> StreamName {
        StreamName::ledger(self.subject, &self.template)
    }
}

/// Where a queue row is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueState {
    /// Waiting for its turn.
    Queued,
    /// Leased by a node that has not started it yet.
    Claimed,
    /// Started durably: from here on only an answer, or a doubt, ends it.
    Started,
    /// In doubt: not handed over again, kept until settled. Blocks other rows of the same (subject, template).
    InDoubt,
}

/// A row to write in the transaction of the command. Applied in order.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Keep an openid of this log's channel, sealed.
    KeepOpenid {
        /// Its hash.
        subject: SubjectId,
        /// The openid.
        openid: Openid,
    },
    /// Keep a userid, sealed.
    KeepUserId {
        /// Its hash.
        user: UserRef,
        /// The userid.
        userid: UserId,
    },
    /// Keep the contents of a message, sealed. `index` is the recipient's, or `None` for what all recipients share.
    KeepContent {
        /// The message and, for a recipient's own values, its index.
        delivery: DeliveryId,
        /// Whether this is what all recipients share (the index is ignored).
        shared: bool,
        /// The contents, in the engine's own encoding.
        contents: Vec<u8>,
    },
    /// Delete an openid of this log's channel.
    ForgetOpenid {
        /// Its hash.
        subject: SubjectId,
    },
    /// Delete a userid.
    ForgetUserId {
        /// Its hash.
        user: UserRef,
    },
    /// Delete contents of a message.
    ForgetContent {
        /// The message and, for a recipient's own values, its index.
        delivery: DeliveryId,
        /// Whether it is what all recipients share (the index is ignored).
        shared: bool,
    },
    /// Keep a secret, sealed, under a new reference.
    KeepSecret {
        /// The reference that events may carry.
        reference: String,
        /// The secret.
        secret: SecretString,
    },
    /// Keep a push from WeChat, its body sealed. One of the same key that is kept already stays.
    KeepPush(PushRow),
    /// Say what became of a push. Does nothing if it is not kept.
    SettlePush {
        /// The push.
        key: PushKey,
        /// What became of it.
        state: PushState,
        /// What came of it: short JSON that names nobody, at most 4 KiB.
        effect: String,
    },
    /// Delete the pushes that a subject of this log's channel sent.
    ForgetPushes {
        /// Its hash.
        subject: SubjectId,
    },
    /// Put a delivery into the queue.
    Enqueue(QueueRow),
    /// The delivery is started now.
    MarkStarted(DeliveryId),
    /// The delivery waits again, not before `due_at`.
    Requeue {
        /// The delivery.
        delivery: DeliveryId,
        /// Not before this moment.
        due_at: Timestamp,
    },
    /// The delivery is in doubt.
    MarkInDoubt(DeliveryId),
    /// The delivery has ended.
    Dequeue(DeliveryId),
}
