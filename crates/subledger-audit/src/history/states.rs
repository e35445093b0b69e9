//! States as they were: folds over streams up to a position.

use subledger_domain::{ChannelCode, LogName, StreamName, SubjectId, TemplateId, UserRef};
use subledger_projection::{
    BindingRow, ChannelRow, DeliveryRow, LedgerRow, LotRow, MAX_PAGE, MessageRow, ProjectionName, Replay,
    TemplateRow,
};
use subledger_store::{Position, Recorded, Store, StoreError};

use super::{At, HistoryError, Point};

/// Events folded in one go.
pub(super) const CHUNK: usize = 1_000;

/// A ledger as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastLedger {
    /// The row that the read model showed.
    pub row: LedgerRow,
    /// Every lot, oldest first.
    pub lots: Vec<LotRow>,
}

/// A message as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastMessage {
    /// The row that the read model showed.
    pub row: MessageRow,
    /// Every delivery planned by then, by index.
    pub deliveries: Vec<DeliveryRow>,
    /// The events behind it, in order of position: its own, and those of ledgers that name one of its deliveries.
    pub events: Vec<Recorded>,
}

/// A channel and its templates as they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastTemplates {
    /// The channel; none before it was registered.
    pub channel: Option<ChannelRow>,
    /// Every template ever listed by then, by id.
    pub templates: Vec<TemplateRow>,
}

/// Answers about the past of a store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct History {
    pub(super) store: Store,
}

impl History {
    /// The past of this store.
    pub const fn new(store: Store) -> Self {
        Self { store }
    }

    /// The newest point of a log.
    pub async fn now(&self, log: &LogName) -> Result<Point, HistoryError> {
        let head = self.store.head(log).await?;
        let time = (head.position.0 > 0).then_some(head.recorded_at);
        Ok(Point { position: head.position, time })
    }

    /// The point of a log that is meant. A moment after the newest event means the newest event, one before the first
    /// event means position zero; a position beyond the end is refused.
    pub async fn point(&self, log: &LogName, at: At) -> Result<Point, HistoryError> {
        let position = match at {
            At::Time(moment) => self.store.position_at(log, moment).await?,
            At::Position(asked) => {
                let head = self.store.head(log).await?.position;
                if asked > head {
                    return Err(HistoryError::BeyondHead { asked, head });
                }
                asked
            }
        };
        Ok(Point { position, time: self.store.recorded_at(log, position).await? })
    }

    /// Whether anything was ever recorded in a stream, up to now.
    pub async fn exists(&self, log: &LogName, stream: &StreamName) -> Result<bool, HistoryError> {
        Ok(!self.store.read_stream(log, stream, 0, 1).await?.is_empty())
    }

    /// One ledger; none where nothing had been recorded.
    pub async fn ledger(
        &self,
        log: &LogName,
        subject: SubjectId,
        template: &TemplateId,
        at: Position,
    ) -> Result<Option<PastLedger>, HistoryError> {
        let replay =
            self.replay(ProjectionName::Ledgers, log, &[StreamName::ledger(subject, template)], at).await?;
        let row = replay.ledgers().into_iter().next();
        Ok(row.map(|row| PastLedger { row, lots: replay.lots() }))
    }

    /// The ledgers of one openid, by template (at most [`MAX_PAGE`]: a channel has no more templates).
    pub async fn ledgers_of(
        &self,
        log: &LogName,
        subject: SubjectId,
        at: Position,
    ) -> Result<Vec<LedgerRow>, HistoryError> {
        let beginning = format!("ledger/{subject}/");
        let streams = self.store.streams_beginning(log, &beginning, None, MAX_PAGE).await?;
        Ok(self.replay(ProjectionName::Ledgers, log, &streams, at).await?.ledgers())
    }

    /// The binding of one user; none where the user had never been bound.
    pub async fn binding(
        &self,
        log: &LogName,
        user: UserRef,
        at: Position,
    ) -> Result<Option<BindingRow>, HistoryError> {
        let replay = self.replay(ProjectionName::Bindings, log, &[StreamName::binding(user)], at).await?;
        Ok(replay.bindings().into_iter().next())
    }

    /// The templates of a channel.
    pub async fn templates(&self, code: &ChannelCode, at: Position) -> Result<PastTemplates, HistoryError> {
        let log = LogName::channel(code);
        let replay = self.replay(ProjectionName::Channels, &log, &[StreamName::channel()], at).await?;
        Ok(PastTemplates { channel: replay.channel(), templates: replay.templates() })
    }

    /// The events of a stream up to a position, oldest first: those after a version, at most `limit`.
    pub async fn events(
        &self,
        log: &LogName,
        stream: &StreamName,
        after_version: u64,
        at: Position,
        limit: u32,
    ) -> Result<Vec<Recorded>, HistoryError> {
        // A stream's positions grow with its versions: what follows a later one is later, too.
        let mut events = self.store.read_stream(log, stream, after_version, limit).await?;
        events.truncate(events.partition_point(|event| event.position <= at));
        Ok(events)
    }

    /// Every event of a stream up to a position.
    pub async fn all_events(
        &self,
        log: &LogName,
        stream: &StreamName,
        at: Position,
    ) -> Result<Vec<Recorded>, HistoryError> {
        let mut events = Vec::new();
        let streams = [(stream.clone(), 0)];
        let keep = |event| {
            events.push(event);
            Ok(())
        };
        self.store.each_past_event(log, &streams, at, keep).await?;
        Ok(events)
    }

    async fn replay(
        &self,
        projection: ProjectionName,
        log: &LogName,
        streams: &[StreamName],
        at: Position,
    ) -> Result<Replay, HistoryError> {
        let streams: Vec<(StreamName, u64)> = streams.iter().map(|stream| (stream.clone(), 0)).collect();
        let mut replay = Replay::new(projection);
        let mut chunk = Vec::new();
        self.each(log, &streams, at, |event| {
            chunk.push(event);
            if chunk.len() == CHUNK {
                replay.apply(&chunk)?;
                chunk.clear();
            }
            Ok(())
        })
        .await?;
        replay.apply(&chunk)?;
        Ok(replay)
    }

    /// Hands every event of these streams to `each`, whose error ends the reading.
    pub(super) async fn each(
        &self,
        log: &LogName,
        streams: &[(StreamName, u64)],
        at: Position,
        mut each: impl FnMut(Recorded) -> Result<(), HistoryError> + Send,
    ) -> Result<(), HistoryError> {
        let mut failed = None;
        let read = self.store.each_past_event(log, streams, at, |event| {
            each(event).map_err(|error| {
                // The store only has to stop; what it is told as the reason is replaced below.
                let reason = StoreError::Corrupt(error.to_string());
                failed = Some(error);
                reason
            })
        });
        let read = read.await;
        match failed {
            Some(error) => Err(error),
            None => Ok(read?),
        }
    }
}
