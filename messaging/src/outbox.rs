//! The outbox: messages that are part of the transaction that causes them.

mod due;
mod settle;
mod backlog;

use std::{fmt, sync::Arc};

use sea_orm::{DbBackend, DbErr, entity::prelude::*};
use storage::{
    Transaction,
    rows::{self, Write},
};
use tokio::sync::Notify;

use crate::envelope::Envelope;

pub use self::backlog::{Backlog, backlog, list, oldest, readiness};
pub(crate) use self::{
    due::take,
    settle::{Refusal, clean, postpone, refuse, release, remove, unroutable},
};

/// Bytes of a payload at most: a message states a fact, it is no file. With the limits in count this bounds what a window, a
/// batch and everything received and not yet acknowledged take in memory, the last 100 MiB per partition.
pub const MAX_PAYLOAD: usize = 256 * 1024;

/// What has become of a row so far. A confirmed one is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum State {
    /// It waits to be published.
    Pending = 0,
    /// It was published, and no queue was bound for it. It goes once one is.
    Unroutable = 1,
}

/// A row of the outbox.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox")]
pub struct Model {
    /// The order in which rows were written. A later commit can have a smaller number.
    #[sea_orm(primary_key)]
    pub seq: i64,
    /// See [`Envelope::id`]: made here, so that a second publishing is the same message.
    pub message_id: Uuid,
    /// See [`Envelope::kind`].
    pub kind: String,
    /// See [`Envelope::key`].
    pub partition_key: String,
    /// See [`Envelope::payload`].
    pub payload: Vec<u8>,
    /// See [`Envelope::traceparent`].
    pub traceparent: Option<String>,
    /// See [`Envelope::tracestate`].
    pub tracestate: Option<String>,
    /// See [`Envelope::subject`].
    pub subject: Option<String>,
    /// See [`Envelope::token_id`].
    pub token_id: Option<String>,
    /// In microseconds since the Unix epoch.
    pub create_time: i64,
    /// What has become of it so far.
    pub state: State,
    /// How often the broker refused it.
    pub attempts: i32,
    /// Not before this time, in microseconds since the Unix epoch; 0 for at once.
    pub next_attempt_time: i64,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The message, as published by `source`.
    #[must_use]
    pub fn into_envelope(self, source: &str) -> Envelope {
        Envelope {
            id: self.message_id,
            kind: self.kind,
            key: self.partition_key,
            source: source.to_owned(),
            payload: self.payload.into(),
            traceparent: self.traceparent,
            tracestate: self.tracestate,
            subject: self.subject,
            token_id: self.token_id,
            create_time: self.create_time,
        }
    }
}

/// A service's way into its outbox. Cloning shares the wake-up of the relay.
#[derive(Clone)]
pub struct Outbox {
    wake_up: Arc<Notify>,
}

impl Outbox {
    /// A way into the outbox whose relay is woken by [`Outbox::wake`].
    #[must_use]
    pub fn new() -> Self {
        Self { wake_up: Arc::new(Notify::new()) }
    }

    /// Writes messages into the caller's transaction: they exist if and only if it commits. Call [`Outbox::wake`] then.
    ///
    /// # Errors
    /// As the database says; and for a payload above [`MAX_PAYLOAD`].
    pub async fn write(&self, transaction: &Transaction, messages: &[Envelope]) -> Result<(), DbErr> {
        rows::insert(transaction, &models(messages.to_vec())?).await
    }

    /// The statements that write messages, for who has others to go with them; otherwise as [`Outbox::write`].
    ///
    /// # Errors
    /// For a payload above [`MAX_PAYLOAD`].
    pub fn writes(&self, backend: DbBackend, messages: Vec<Envelope>) -> Result<Vec<Write>, DbErr> {
        rows::inserts(backend, &models(messages)?)
    }

    /// Wakes the relay: to be called right after the commit. A call too many costs nothing, and one
    /// that is missed costs the relay's slow poll.
    pub fn wake(&self) {
        self.wake_up.notify_one();
    }

    pub(crate) async fn woken(&self) {
        self.wake_up.notified().await;
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbox")
    }
}

/// The rows of messages, for who inserts them together with something else: the transaction is the same one, and
/// [`Outbox::wake`] is due after it.
///
/// # Errors
/// For a payload above [`MAX_PAYLOAD`].
pub fn models(messages: Vec<Envelope>) -> Result<Vec<Model>, DbErr> {
    messages.into_iter().map(row).collect()
}

fn row(message: Envelope) -> Result<Model, DbErr> {
    if message.payload.len() > MAX_PAYLOAD {
        let (id, bytes) = (message.id, message.payload.len());
        return Err(DbErr::Custom(format!("message {id} has {bytes} bytes, more than {MAX_PAYLOAD}")));
    }
    Ok(Model {
        // The database's.
        seq: 0,
        message_id: message.id,
        kind: message.kind,
        partition_key: message.key,
        payload: message.payload.into(),
        traceparent: message.traceparent,
        tracestate: message.tracestate,
        subject: message.subject,
        token_id: message.token_id,
        create_time: message.create_time,
        state: State::Pending,
        attempts: 0,
        next_attempt_time: 0,
        last_error: None,
    })
}
