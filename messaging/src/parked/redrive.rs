//! Parked messages on their way back to their consumer.

use sea_orm::{
    Condition, ConnectionTrait, DbErr, EntityTrait as _, ExprTrait as _, FromQueryResult, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Statement, entity::prelude::*,
};
use storage::{Transaction, rows};

use super::{Column, Entity, Form, Model, Park, State, jobs, storable};
use crate::{envelope::Envelope, topology::Subscription};

/// A message that goes back to its consumer, unless it is paused.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct Leaving {
    pub(crate) seq: i64,
    pub(crate) state: State,
    pub(crate) kind: String,
    pub(crate) partition_key: String,
    /// Attempts that have begun since it was sent back, and when the last one did, in microseconds since the Unix epoch.
    pub(crate) redrives: i32,
    redrive_time: Option<i64>,
}

impl Leaving {
    /// Whether an attempt of another process may be under way.
    pub(crate) fn may_be_tried(&self, now: i64) -> bool {
        self.redrive_time.is_some_and(|begun| now - begun < AT_IT)
    }
}

/// Nobody is ahead of it: with [`Park::Key`] no message of its key, and otherwise none that waits too and is of its kind.
const FIRST: &str = "NOT EXISTS (SELECT 1 FROM parked AS earlier WHERE earlier.consumer = parked.consumer
    AND earlier.partition_key = parked.partition_key AND earlier.seq < parked.seq AND ";

/// The first of those that go back to the consumer, behind the number `after`: what an operator sent, what was held and is known by now,
/// and what nothing is ahead of any more. Not those of the kinds that are paused everywhere: there may be as many as come in a pause.
pub(crate) async fn leaving(
    connection: &impl ConnectionTrait,
    subscription: &Subscription,
    park: Park,
    paused: &[String],
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
        .columns([Column::Seq, Column::State, Column::Kind, Column::PartitionKey])
        .columns([Column::Redrives, Column::RedriveTime])
        .filter(Column::Consumer.eq(&subscription.consumer))
        .filter(Column::Seq.gt(after))
        .filter(Column::Kind.is_not_in(paused.iter().map(String::as_str)))
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

/// Messages of one key that leave together, at most.
const TOGETHER: u64 = 50;

/// One that waits, and those of its key that wait right behind it: with [`Park::Message`] those of its kind. Nobody else has them until the end
/// of the transaction. None when it does not wait any more, or something is ahead of it.
pub(crate) async fn lock_line(
    transaction: &Transaction,
    consumer: &str,
    park: Park,
    first: &Leaving,
    most: usize,
) -> Result<Vec<Model>, DbErr> {
    let line = Entity::find()
        .filter(Column::Consumer.eq(consumer))
        .filter(Column::PartitionKey.eq(&first.partition_key))
        .filter(Column::MessageId.is_not_null());
    let line = match park {
        Park::Key => line,
        Park::Message => line.filter(Column::Kind.eq(&first.kind)).filter(Column::State.eq(State::Waiting)),
    };
    let line = line.order_by_asc(Column::Seq).limit(Ord::min(TOGETHER, most as u64)).lock_exclusive();
    let mut line = line.all(transaction).await?;
    let waits = |row: &&Model| row.state == State::Waiting;
    line.truncate(line.iter().take_while(waits).count());
    Ok(line)
}

/// Counts an attempt at messages that are about to be handled together, as [`begin`] does; `false` when one of them has been begun before, and
/// how that has ended is not known: each is to be tried by itself then.
pub(crate) async fn begin_line(transaction: &Transaction, line: &[Model], now: i64) -> Result<bool, DbErr> {
    if line.iter().any(|row| row.redrives > 0) {
        return Ok(false);
    }
    let seqs: Vec<i64> = line.iter().map(|row| row.seq).collect();
    let backend = transaction.get_database_backend();
    let these = rows::one_of(backend, &seqs);
    let sql =
        format!("UPDATE parked SET redrives = redrives + 1, redrive_time = $2 WHERE seq {}", these.condition);
    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, [these.value, now.into()])).await?;
    Ok(true)
}

/// They were handled. None of them is of a job.
pub(crate) async fn remove_line(transaction: &Transaction, line: &[Model]) -> Result<(), DbErr> {
    let seqs: Vec<i64> = line.iter().map(|row| row.seq).collect();
    let backend = transaction.get_database_backend();
    let these = rows::one_of(backend, &seqs);
    let sql = format!("DELETE FROM parked WHERE seq {}", these.condition);
    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, [these.value])).await.map(drop)
}

/// The first message of its key that was parked before it and is still there.
pub(crate) async fn ahead_of(transaction: &Transaction, row: &Model) -> Result<Option<i64>, DbErr> {
    let earlier = Entity::find()
        .select_only()
        .column(Column::Seq)
        .filter(Column::Consumer.eq(&row.consumer))
        .filter(Column::PartitionKey.eq(&row.partition_key))
        .filter(Column::Seq.lt(row.seq))
        .filter(Column::MessageId.is_not_null())
        .order_by_asc(Column::Seq);
    earlier.into_tuple::<i64>().one(transaction).await
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
        give_back(transaction, &row, &error, now).await?;
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

/// It was handled. The caller holds it.
pub(crate) async fn remove(transaction: &Transaction, row: &Model) -> Result<(), DbErr> {
    let removed = Entity::delete_by_id(row.seq).exec(transaction).await?;
    match row.redrive_job.filter(|_| removed.rows_affected > 0) {
        Some(job) => jobs::count(transaction, job, jobs::Column::Done).await,
        None => Ok(()),
    }
}

/// It failed once more, and waits for an operator again. The caller holds it.
pub(crate) async fn give_back(
    transaction: &Transaction,
    row: &Model,
    error: &str,
    now: i64,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::State, Expr::value(State::Parked))
        .col_expr(Column::Error, Expr::value(Form::Ascii.error(error)))
        .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
        .col_expr(Column::ParkTime, Expr::value(now))
        .col_expr(Column::Redrives, Expr::value(0))
        .col_expr(Column::RedriveTime, Expr::value(None::<i64>))
        .col_expr(Column::Cause, Expr::value(None::<String>))
        .col_expr(Column::RedriveJob, Expr::value(None::<i64>))
        .filter(Column::Seq.eq(row.seq))
        .exec(transaction)
        .await?;
    match row.redrive_job {
        Some(job) => jobs::count(transaction, job, jobs::Column::Failed).await,
        None => Ok(()),
    }
}

/// Its job has chosen it, and it cannot be tried now: the job will choose it again, unless it is stopped. The caller holds it.
pub(crate) async fn put_back(transaction: &Transaction, row: &Model) -> Result<(), DbErr> {
    let waits = Entity::update_many()
        .col_expr(Column::State, Expr::value(State::Parked))
        .col_expr(Column::Redrives, Expr::value(0))
        .col_expr(Column::RedriveTime, Expr::value(None::<i64>))
        .filter(Column::Seq.eq(row.seq));
    waits.exec(transaction).await.map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parked::tables::{Parked, open, park};

    /// However many messages wait for the end of a pause, nobody reads them before.
    #[tokio::test]
    async fn paused_kinds_are_not_read() {
        let (database, _scratch) = open().await;
        let kinds = ["tests.v1.Fact", "tests.v2.Fact"];
        for (number, kind) in [0, 0, 1, 0].into_iter().zip([0, 1, 0, 1]) {
            let key = format!("key-{number}");
            let kind = kinds[kind];
            park(&database, Parked { key: &key, state: State::Waiting, kind }).await;
        }
        let subscription =
            Subscription { consumer: "reader".to_owned(), kinds: kinds.map(str::to_owned).into() };
        let leaves = async |park, paused: &[&str]| {
            let paused: Vec<String> = paused.iter().map(|kind| (*kind).to_owned()).collect();
            let leaving = leaving(database.read(), &subscription, park, &paused, 0, 10).await;
            leaving.expect("rows").iter().map(|leaving| leaving.seq).collect::<Vec<i64>>()
        };
        assert_eq!(leaves(Park::Message, &[]).await, [1, 2, 3]);
        assert_eq!(leaves(Park::Key, &[]).await, [1, 3]);
        assert_eq!(leaves(Park::Message, &kinds[1..]).await, [1, 3]);
        // What is paused is ahead of the others of its key.
        assert_eq!(leaves(Park::Key, &kinds[..1]).await, [] as [i64; 0]);
        database.close().await;
    }
}
