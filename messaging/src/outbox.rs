//! The outbox: messages that are part of the transaction that causes them.

use std::{fmt, sync::Arc, time::Duration};

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait as _, ExprTrait as _, FromQueryResult,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Statement, Value,
    entity::prelude::*,
};
use storage::{Database, rows};
use tokio::sync::Notify;

use crate::{envelope::Envelope, retry};

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

/// A service's way into its outbox. Cloning shares the bell that wakes the relay.
#[derive(Clone)]
pub struct Outbox {
    bell: Arc<Notify>,
}

impl Outbox {
    /// A way into the outbox whose relay hears [`Outbox::wake`].
    #[must_use]
    pub fn new() -> Self {
        Self { bell: Arc::new(Notify::new()) }
    }

    /// Writes messages into the caller's transaction: they exist if and only if it commits. Call [`Outbox::wake`] then.
    ///
    /// # Errors
    /// As the database says.
    pub async fn write(&self, transaction: &DatabaseTransaction, messages: &[Envelope]) -> Result<(), DbErr> {
        let models: Vec<ActiveModel> = messages.iter().map(row).collect();
        rows::insert(transaction, &models).await
    }

    /// Tells the relay that there is something: to be called right after the commit. A call too many costs nothing, and one
    /// that is missed costs the relay's slow poll.
    pub fn wake(&self) {
        self.bell.notify_one();
    }

    pub(crate) async fn woken(&self) {
        self.bell.notified().await;
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

fn row(message: &Envelope) -> ActiveModel {
    ActiveModel {
        seq: NotSet,
        message_id: Set(message.id),
        kind: Set(message.kind.clone()),
        partition_key: Set(message.key.clone()),
        payload: Set(message.payload.to_vec()),
        traceparent: Set(message.traceparent.clone()),
        create_time: Set(message.create_time),
        state: Set(State::Pending),
        attempts: Set(0),
        next_attempt_time: Set(0),
        last_error: Set(None),
    }
}

/// The rows that are due, those never tried first, each in the order they were written.
pub(crate) async fn due(
    connection: &impl ConnectionTrait,
    now: i64,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::NextAttemptTime.lte(now))
        .order_by_asc(Column::NextAttemptTime)
        .order_by_asc(Column::Seq)
        .limit(limit)
        .all(connection)
        .await
}

/// Removes rows whose messages the broker has taken over.
pub(crate) async fn remove(transaction: &DatabaseTransaction, seqs: &[i64]) -> Result<(), DbErr> {
    if seqs.is_empty() {
        return Ok(());
    }
    let backend = transaction.get_database_backend();
    let keys = rows::one_of(backend, seqs);
    let sql = format!("DELETE FROM outbox WHERE seq {}", keys.condition);
    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, [keys.value])).await?;
    Ok(())
}

/// Keeps rows for a later attempt. An unroutable message costs no attempt: nothing is wrong with it.
pub(crate) async fn postpone(
    transaction: &DatabaseTransaction,
    seqs: &[i64],
    state: State,
    until: i64,
    error: &str,
) -> Result<(), DbErr> {
    if seqs.is_empty() {
        return Ok(());
    }
    let backend = transaction.get_database_backend();
    let keys = rows::one_of(backend, seqs);
    let cost = i64::from(state == State::Pending);
    let sql = format!(
        "UPDATE outbox SET state = $2, attempts = attempts + $3, next_attempt_time = $4, last_error = $5 WHERE seq {}",
        keys.condition
    );
    let values: [Value; 5] = [keys.value, (state as i16).into(), cost.into(), until.into(), error.into()];
    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(())
}

/// How much waits in the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromQueryResult)]
pub struct Backlog {
    /// Rows that wait to be published.
    pub pending: i64,
    /// Rows that no queue was bound for.
    pub unroutable: i64,
    /// When the oldest of all was written, in microseconds since the Unix epoch.
    pub oldest: Option<i64>,
}

/// Counts what waits in the outbox.
///
/// # Errors
/// As the database says.
pub async fn backlog(connection: &impl ConnectionTrait) -> Result<Backlog, DbErr> {
    let of = |state: State| Expr::case(Column::State.eq(state), 1).finally(0).sum().cast_as("bigint");
    let counted = Entity::find()
        .select_only()
        .column_as(of(State::Pending).if_null(0), "pending")
        .column_as(of(State::Unroutable).if_null(0), "unroutable")
        .column_as(Column::CreateTime.min(), "oldest")
        .into_model::<Backlog>()
        .one(connection)
        .await?;
    Ok(counted.unwrap_or_default())
}

/// The age of the oldest row from which on the outbox is late: several times what a broker takes to come back.
const LATE: Duration = Duration::from_secs(10);

/// Whether messages leave in time: what readiness asks. A broker that is away shows once something waits for it too long.
///
/// # Errors
/// Why not, as text.
pub async fn readiness(database: &Database) -> Result<(), String> {
    let backlog = backlog(database.read()).await.map_err(|error| error.to_string())?;
    let age = backlog.oldest.map_or(0, |oldest| retry::now() - oldest);
    if age > retry::micros(LATE) {
        let seconds = age / 1_000_000;
        let Backlog { pending, unroutable, .. } = backlog;
        return Err(format!(
            "the oldest of {pending} pending and {unroutable} unroutable messages waits for {seconds} s"
        ));
    }
    Ok(())
}
