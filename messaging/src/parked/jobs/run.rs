//! A job for the process that runs it: which messages come next, and whether it has come to its end.

use sea_orm::{
    ConnectionTrait, DbErr, EntityTrait as _, ExprTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Statement, entity::prelude::*,
};
use storage::{Transaction, rows};

use super::{Column, Entity, Parked, ParkedMessages, State, end, release};
use crate::{
    parked::{Park, State as ParkedState},
    retry,
};

/// Messages that are looked at for each step, at least.
const PAGE: u64 = 100;

/// What a job has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// These messages, by their numbers and partition keys: they are marked as sent back, and an attempt at each is counted. `after` is the last
    /// number that was looked at.
    Try { messages: Vec<(i64, String)>, after: i64 },
    /// Nothing up to this number: all of it is paused.
    Skip { after: i64 },
    /// Nothing more behind the number, but for what is paused, if anything is.
    Over { paused: bool },
    /// It was stopped, or is finished by now.
    Ended,
}

/// The job of a consumer that is to go on, and how many messages a second it may try.
pub(crate) async fn running(
    connection: &impl ConnectionTrait,
    consumer: &str,
) -> Result<Option<(i64, i32)>, DbErr> {
    Entity::find()
        .select_only()
        .columns([Column::Id, Column::PerSecond])
        .filter(Column::Consumer.eq(consumer))
        .filter(Expr::cust("state = 0"))
        .order_by_asc(Column::Id)
        .limit(1)
        .into_tuple()
        .one(connection)
        .await
}

/// What is ahead of a message of a job: with [`Park::Key`] each earlier one of its key, but for those that the job is to try too.
fn ahead(id: i64) -> String {
    format!(
        "FROM parked AS earlier WHERE earlier.consumer = parked.consumer AND earlier.partition_key = parked.partition_key
         AND earlier.seq < parked.seq AND earlier.message_id IS NOT NULL
         AND (earlier.state <> 0 OR earlier.redrive_job IS NULL OR earlier.redrive_job <> {id})"
    )
}

/// The same, where it does not leave by itself.
fn stays_ahead(id: i64) -> String {
    format!("{} AND earlier.state IN (0, 1)", ahead(id))
}

/// What a job has to do next: at most so many messages behind the number `after`, without those that are paused by their kind and key.
pub(crate) async fn next(
    transaction: &Transaction,
    id: i64,
    park: Park,
    after: i64,
    most: u64,
    is_paused: impl Fn(&str, &str) -> bool,
) -> Result<Next, DbErr> {
    let page = Ord::max(most, PAGE);
    let waiting = ParkedMessages::find()
        .select_only()
        .columns([Parked::Seq, Parked::PartitionKey, Parked::Kind])
        .filter(Parked::RedriveJob.eq(id))
        .filter(Parked::State.eq(ParkedState::Parked))
        .filter(Parked::Seq.gt(after))
        .order_by_asc(Parked::Seq)
        .limit(page)
        .lock_exclusive();
    let free = (park == Park::Key).then(|| Expr::cust(format!("NOT EXISTS (SELECT 1 {})", ahead(id))));
    let waiting = free.into_iter().fold(waiting, |waiting, free| waiting.filter(free));
    let waiting: Vec<(i64, String, String)> = waiting.into_tuple().all(transaction).await?;
    let job = Entity::find_by_id(id).lock_exclusive().one(transaction).await?;
    if job.is_none_or(|job| job.state != State::Running) {
        return Ok(Next::Ended);
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let last = waiting.last().map(|(seq, ..)| *seq);
    let is_full = waiting.len() as u64 == page;
    let messages = waiting.into_iter().filter(|(_, key, kind)| !is_paused(kind, key));
    let messages: Vec<(i64, String)> = messages.take(most).map(|(seq, key, _)| (seq, key)).collect();
    let Some((after, _)) = messages.last() else {
        let over = Next::Over { paused: last.is_some() };
        return Ok(last.filter(|_| is_full).map_or(over, |after| Next::Skip { after }));
    };
    let after = *after;
    let seqs: Vec<i64> = messages.iter().map(|(seq, _)| *seq).collect();
    let backend = transaction.get_database_backend();
    let these = rows::one_of(backend, &seqs);
    // An attempt at each begins: see `begin`.
    let begun = "UPDATE parked SET state = 2, redrives = redrives + 1, redrive_time = $2 WHERE seq";
    let sql = format!("{begun} {}", these.condition);
    let values = [these.value, retry::now().into()];
    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(Next::Try { messages, after })
}

/// Ends a job, unless it has messages that can still be tried, or are at the moment; returns whether it has ended.
pub(crate) async fn finish(transaction: &Transaction, id: i64, park: Park) -> Result<bool, DbErr> {
    let stays = format!("EXISTS (SELECT 1 {})", stays_ahead(id));
    let goes = ParkedMessages::find()
        .select_only()
        .column(Parked::Seq)
        .filter(Parked::RedriveJob.eq(id))
        .filter(Parked::State.is_in([ParkedState::Parked, ParkedState::Redriven]));
    let goes = if park == Park::Key { goes.filter(Expr::cust(stays).not()) } else { goes };
    if goes.into_tuple::<i64>().one(transaction).await?.is_some() {
        return Ok(false);
    }
    let reason = left_behind(transaction, id).await?;
    let left = release(transaction, id).await?;
    let reason = reason.filter(|_| left > 0);
    end(transaction, id, State::Finished, left, reason).await?;
    Ok(true)
}

/// Why messages of a job are left, by the first of them.
async fn left_behind(transaction: &Transaction, id: i64) -> Result<Option<String>, DbErr> {
    let sql = format!(
        "SELECT parked.seq, (SELECT MIN(earlier.seq) {}) AS ahead FROM parked WHERE parked.redrive_job = $1
         ORDER BY parked.seq LIMIT 1",
        stays_ahead(id)
    );
    let first = Statement::from_sql_and_values(transaction.get_database_backend(), sql, [id.into()]);
    let Some(first) = transaction.query_one_raw(first).await? else { return Ok(None) };
    let (seq, ahead): (i64, Option<i64>) = (first.try_get_by_index(0)?, first.try_get_by_index(1)?);
    let ahead = ahead.map_or_else(|| "another message".to_owned(), |ahead| format!("the message {ahead}"));
    Ok(Some(format!(
        "they wait behind messages of their keys that stay parked: the first of them, {seq}, behind {ahead}"
    )))
}

/// Counts what has become of a message of a job. Last in its transaction: others count on the same row.
pub(in crate::parked) async fn count(
    transaction: &Transaction,
    id: i64,
    column: Column,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(column, Expr::col(column).add(1))
        .filter(Column::Id.eq(id))
        .exec(transaction)
        .await
        .map(drop)
}
