//! Parked messages on their way back to their consumer.

use sea_orm::{
    Condition, ConnectionTrait, DbErr, EntityTrait as _, ExprTrait as _, FromQueryResult, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Statement, entity::prelude::*,
};
use storage::Transaction;

use super::{Column, Entity, Form, Model, Park, State, jobs, storable};
use crate::{envelope::Envelope, topology::Subscription};

/// A message that goes back to its consumer, unless it is paused.
#[derive(Debug, FromQueryResult)]
pub(crate) struct Leaving {
    pub(crate) seq: i64,
    pub(crate) kind: String,
    pub(crate) partition_key: String,
}

/// Nobody is ahead of it: with [`Park::Key`] no message of its key, and otherwise none that waits too and is of its kind.
const FIRST: &str = "NOT EXISTS (SELECT 1 FROM parked AS earlier WHERE earlier.consumer = parked.consumer
    AND earlier.partition_key = parked.partition_key AND earlier.seq < parked.seq AND ";

/// The first of those that go back to the consumer, behind the number `after`: what an operator sent, what was held and is known by now,
/// and what nothing is ahead of any more.
pub(crate) async fn leaving(
    connection: &impl ConnectionTrait,
    subscription: &Subscription,
    park: Park,
    after: i64,
    limit: u64,
) -> Result<Vec<Leaving>, DbErr> {
    let known = Column::Kind.is_in(subscription.kinds.iter().map(String::as_str));
    let held = Condition::all().add(Column::State.eq(State::Held)).add(known);
    let first = match park {
        Park::Key => format!("{FIRST} earlier.message_id IS NOT NULL)"),
        Park::Message => format!("(state <> 3 OR {FIRST} earlier.state = 3 AND earlier.kind = parked.kind))"),
    };
    Entity::find()
        .select_only()
        .columns([Column::Seq, Column::Kind, Column::PartitionKey])
        .filter(Column::Consumer.eq(&subscription.consumer))
        .filter(Column::Seq.gt(after))
        .filter(Expr::cust(first))
        // Said again for the sake of the index, which has no others.
        .filter(Expr::cust("state > 0"))
        .filter(Condition::any().add(Column::State.is_in([State::Redriven, State::Waiting])).add(held))
        .order_by_asc(Column::Seq)
        .limit(limit)
        .into_model::<Leaving>()
        .all(connection)
        .await
}

/// Whether no message of its key was parked before it and is still there.
pub(crate) async fn is_first(transaction: &Transaction, row: &Model) -> Result<bool, DbErr> {
    let earlier = Entity::find()
        .select_only()
        .column(Column::Seq)
        .filter(Column::Consumer.eq(&row.consumer))
        .filter(Column::PartitionKey.eq(&row.partition_key))
        .filter(Column::Seq.lt(row.seq))
        .filter(Column::MessageId.is_not_null());
    Ok(earlier.into_tuple::<i64>().one(transaction).await?.is_none())
}

/// One of those, unless another process was faster. Nobody else has it until the end of the transaction.
pub(crate) async fn lock(transaction: &Transaction, seq: i64) -> Result<Option<Model>, DbErr> {
    let leaving = Column::State.ne(State::Parked);
    Entity::find_by_id(seq).filter(leaving).lock_exclusive().one(transaction).await
}

/// Attempts that did not come back, after which a message waits for an operator again: it ends the process that handles it.
const MOST_REDRIVES: i32 = 3;
/// For so long after the beginning of an attempt another process may still be at it.
const AT_IT: i64 = 5_000_000;

/// Whether an attempt at a message may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Begun {
    /// It is counted.
    Yes,
    /// Not now: another process may be at it, or was faster.
    No,
    /// None of the attempts before came back: it waits for an operator again, for this reason.
    Never(String),
}

/// Counts an attempt that is about to begin, in a transaction of its own: one that ends its process leaves nothing else behind. `came_back`
/// when the process knows how its last one ended.
pub(crate) async fn begin(
    transaction: &Transaction,
    seq: i64,
    came_back: bool,
    now: i64,
) -> Result<Begun, DbErr> {
    let Some(row) = lock(transaction, seq).await? else { return Ok(Begun::No) };
    if !came_back && row.redrive_time.is_some_and(|begun| now - begun < AT_IT) {
        return Ok(Begun::No);
    }
    let redrives = if came_back { 0 } else { row.redrives };
    if redrives >= MOST_REDRIVES {
        let error = format!(
            "the process ended in each of {redrives} attempts at it since it was sent back: {}",
            row.error
        );
        give_back(transaction, seq, &error, now).await?;
        return Ok(Begun::Never(error));
    }
    let counted = Entity::update_many()
        .col_expr(Column::Redrives, Expr::value(redrives + 1))
        .col_expr(Column::RedriveTime, Expr::value(now))
        .filter(Column::Seq.eq(seq));
    counted.exec(transaction).await?;
    Ok(Begun::Yes)
}

/// One of those that wait for an operator, held as by [`lock`].
pub(crate) async fn lock_parked(transaction: &Transaction, seq: i64) -> Result<Option<Model>, DbErr> {
    let waiting = Column::State.eq(State::Parked);
    Entity::find_by_id(seq).filter(waiting).lock_exclusive().one(transaction).await
}

/// It was handled.
pub(crate) async fn remove(transaction: &Transaction, seq: i64) -> Result<(), DbErr> {
    let sql = "DELETE FROM parked WHERE seq = $1 RETURNING redrive_job";
    let remove = Statement::from_sql_and_values(transaction.get_database_backend(), sql, [seq.into()]);
    let removed = transaction.query_one_raw(remove).await?;
    match removed.map(|row| row.try_get_by_index(0)).transpose()?.flatten() {
        Some(job) => jobs::count(transaction, job, jobs::Column::Done).await,
        None => Ok(()),
    }
}

/// It failed once more, and waits for an operator again.
pub(crate) async fn give_back(
    transaction: &Transaction,
    seq: i64,
    error: &str,
    now: i64,
) -> Result<(), DbErr> {
    let job = Entity::find_by_id(seq).select_only().column(Column::RedriveJob);
    let job: Option<Option<i64>> = job.into_tuple().one(transaction).await?;
    Entity::update_many()
        .col_expr(Column::State, Expr::value(State::Parked))
        .col_expr(Column::Error, Expr::value(Form::Ascii.error(error)))
        .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
        .col_expr(Column::ParkTime, Expr::value(now))
        .col_expr(Column::Redrives, Expr::value(0))
        .col_expr(Column::RedriveTime, Expr::value(None::<i64>))
        .col_expr(Column::Cause, Expr::value(None::<String>))
        .col_expr(Column::RedriveJob, Expr::value(None::<i64>))
        .filter(Column::Seq.eq(seq))
        .exec(transaction)
        .await?;
    match job.flatten() {
        Some(job) => jobs::count(transaction, job, jobs::Column::Failed).await,
        None => Ok(()),
    }
}

impl Model {
    /// The message as it was delivered; `None` when it could not be decoded.
    #[must_use]
    pub fn envelope(&self) -> Option<Envelope> {
        let (id, create_time) = (self.message_id?, self.create_time?);
        let [kind, source, key, traceparent] = match &self.headers {
            Some(json) => storable::originals(json)?,
            None => [
                Some(self.kind.clone()),
                Some(self.source.clone()),
                Some(self.partition_key.clone()),
                self.traceparent.clone(),
            ],
        };
        let payload = self.payload.clone().into();
        let tracestate = self.tracestate.clone();
        Some(Envelope {
            id,
            kind: kind?,
            key: key?,
            source: source?,
            payload,
            traceparent,
            tracestate,
            subject: self.subject.clone(),
            token_id: self.token_id.clone(),
            create_time,
        })
    }
}
