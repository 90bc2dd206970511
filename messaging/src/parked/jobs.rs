//! Redrives in the background: which messages one is to try, and how far it has come. A job is a row, and its messages name it, so that it
//! outlives the process that runs it.

use sea_orm::{
    ActiveValue::{NotSet, Set},
    Condition, ConnectionTrait, DbErr, EntityTrait as _, ExprTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Statement,
    entity::prelude::*,
};
use storage::{Database, Failure, Transaction, rows};

use super::{
    Column as Parked, Entity as ParkedMessages, State as ParkedState,
    causes::complete_causes,
    filter::Filter,
    note::{self, Operator},
    operate::redrivable,
};
use crate::retry;

/// How a job goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum State {
    /// It goes on, or waits for those before it.
    Running = 0,
    /// An operator has stopped it.
    Stopped = 1,
    /// It has tried every message.
    Finished = 2,
}

/// A job.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "redrive_jobs")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Whose messages it sends back; empty when there were none.
    pub consumer: String,
    /// How it goes on.
    pub state: State,
    /// Messages at its beginning.
    pub total: i64,
    /// Messages that were handled.
    pub done: i64,
    /// Messages that were parked again.
    pub failed: i64,
    /// Messages that it had not tried when it was stopped.
    pub released: i64,
    /// Messages a second; 0 for as many as there can be.
    pub per_second: i32,
    /// In microseconds since the Unix epoch.
    pub start_time: i64,
    /// When it was stopped or finished, in microseconds since the Unix epoch.
    pub end_time: Option<i64>,
    /// Who has started it.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// Which messages were meant.
    pub filter: String,
}

impl ActiveModelBehavior for ActiveModel {}

/// A job, and how many messages it has not tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The job.
    pub job: Model,
    /// Messages that it has not tried.
    pub left: i64,
}

/// What the start of a job came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// It runs, or had nothing to do.
    Job(Box<Progress>),
    /// The messages are of several consumers, and a job is of one.
    SeveralConsumers,
}

/// What a job has to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// These messages, by their numbers and partition keys: they are marked as sent back, and an attempt at each is counted.
    Try(Vec<(i64, String)>),
    /// Nothing at the moment: others are at its last messages.
    Wait,
    /// It was stopped, or is finished by now.
    Ended,
}

/// Starts a job for the messages that the filter means now, can be sent back, and are no other job's.
///
/// # Errors
/// As [`Database::transact`].
pub async fn start(
    database: &Database,
    filter: &Filter,
    per_second: i32,
    operator: Operator,
) -> Result<Started, Failure> {
    if filter.cause.is_some() {
        complete_causes(database).await?;
    }
    let meant = filter.meaning(redrivable().add(Parked::RedriveJob.is_null()));
    let what = format!("{filter:?}");
    let started = database.transact(move |transaction| {
        let (meant, what, operator) = (meant.clone(), what.clone(), operator.clone());
        Box::pin(async move { start_in(transaction, meant, what, per_second, operator).await })
    });
    started.await
}

async fn start_in(
    transaction: &Transaction,
    meant: Condition,
    what: String,
    per_second: i32,
    operator: Operator,
) -> Result<Started, DbErr> {
    let consumers = ParkedMessages::find().select_only().column(Parked::Consumer).distinct();
    let consumers: Vec<String> =
        consumers.filter(meant.clone()).limit(2).into_tuple().all(transaction).await?;
    if consumers.len() > 1 {
        return Ok(Started::SeveralConsumers);
    }
    let now = retry::now();
    let job = ActiveModel {
        id: NotSet,
        consumer: Set(consumers.into_iter().next().unwrap_or_default()),
        state: Set(State::Running),
        total: Set(0),
        done: Set(0),
        failed: Set(0),
        released: Set(0),
        per_second: Set(per_second),
        start_time: Set(now),
        end_time: Set(None),
        operator: Set(operator.name.clone()),
        reason: Set(operator.reason.clone().unwrap_or_default()),
        filter: Set(what.clone()),
    };
    let id = Entity::insert(job).exec(transaction).await?.last_insert_id;
    let chosen = ParkedMessages::update_many().col_expr(Parked::RedriveJob, Expr::value(id)).filter(meant);
    let total = chosen.exec(transaction).await?.rows_affected;
    let total = i64::try_from(total).unwrap_or(i64::MAX);
    let counted = Entity::update_many().col_expr(Column::Total, Expr::value(total));
    counted.filter(Column::Id.eq(id)).exec(transaction).await?;
    if total == 0 {
        end(transaction, id, State::Finished, 0).await?;
    }
    let what = format!("redrive {id}, {per_second} a second: {what}");
    note::write(transaction, operator, "Redrive", what, total.unsigned_abs()).await?;
    let job = Entity::find_by_id(id).one(transaction).await?;
    let job = job.ok_or_else(|| DbErr::RecordNotFound(format!("the redrive {id}")))?;
    Ok(Started::Job(Box::new(Progress { job, left: total })))
}

/// Stops a job, if it runs, and says how far it has come; `None` when there is none. What is under way at the moment is finished.
///
/// # Errors
/// As [`Database::transact`].
pub async fn stop(database: &Database, id: i64, operator: Operator) -> Result<Option<Progress>, Failure> {
    let stopped = database.transact(move |transaction| {
        let operator = operator.clone();
        Box::pin(async move {
            let job = Entity::find_by_id(id).lock_exclusive().one(transaction).await?;
            if job.is_none_or(|job| job.state != State::Running) {
                return Ok(());
            }
            let released = ParkedMessages::update_many()
                .col_expr(Parked::RedriveJob, Expr::value(None::<i64>))
                .filter(Parked::RedriveJob.eq(id))
                .filter(Parked::State.eq(ParkedState::Parked));
            let released = released.exec(transaction).await?.rows_affected;
            end(transaction, id, State::Stopped, released).await?;
            note::write(transaction, operator, "Stop_Redrive", format!("redrive {id}"), released).await
        })
    });
    stopped.await?;
    Ok(find(database.read(), id).await?)
}

async fn end(transaction: &Transaction, id: i64, state: State, released: u64) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::State, Expr::value(state))
        .col_expr(Column::Released, Expr::value(i64::try_from(released).unwrap_or(i64::MAX)))
        .col_expr(Column::EndTime, Expr::value(retry::now()))
        .filter(Column::Id.eq(id))
        .exec(transaction)
        .await
        .map(drop)
}

/// A job; `None` when there is none with this number.
///
/// # Errors
/// As the database says.
pub async fn find(connection: &impl ConnectionTrait, id: i64) -> Result<Option<Progress>, DbErr> {
    let Some(job) = Entity::find_by_id(id).one(connection).await? else { return Ok(None) };
    progress(connection, job).await.map(Some)
}

/// Jobs, the newest first: at most `limit`, those before the number `before`.
///
/// # Errors
/// As the database says.
pub async fn list(
    connection: &impl ConnectionTrait,
    before: i64,
    limit: u64,
) -> Result<Vec<Progress>, DbErr> {
    let older = Entity::find().filter(Column::Id.lt(before)).order_by_desc(Column::Id).limit(limit);
    let mut listed = Vec::new();
    for job in older.all(connection).await? {
        listed.push(progress(connection, job).await?);
    }
    Ok(listed)
}

async fn progress(connection: &impl ConnectionTrait, job: Model) -> Result<Progress, DbErr> {
    let left = match job.state {
        State::Running => i64::try_from(members(connection, job.id).await?).unwrap_or(i64::MAX),
        State::Stopped | State::Finished => job.released,
    };
    Ok(Progress { job, left })
}

async fn members(connection: &impl ConnectionTrait, id: i64) -> Result<u64, DbErr> {
    ParkedMessages::find().filter(Parked::RedriveJob.eq(id)).count(connection).await
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

/// What a job has to do next: at most so many messages.
pub(crate) async fn next(transaction: &Transaction, id: i64, most: u64) -> Result<Next, DbErr> {
    let job = Entity::find_by_id(id).lock_exclusive().one(transaction).await?;
    if job.is_none_or(|job| job.state != State::Running) {
        return Ok(Next::Ended);
    }
    let next: Vec<(i64, String)> = ParkedMessages::find()
        .select_only()
        .columns([Parked::Seq, Parked::PartitionKey])
        .filter(Parked::RedriveJob.eq(id))
        .filter(Parked::State.eq(ParkedState::Parked))
        .order_by_asc(Parked::Seq)
        .limit(most)
        .lock_exclusive()
        .into_tuple()
        .all(transaction)
        .await?;
    if next.is_empty() {
        if members(transaction, id).await? > 0 {
            return Ok(Next::Wait);
        }
        end(transaction, id, State::Finished, 0).await?;
        return Ok(Next::Ended);
    }
    let seqs: Vec<i64> = next.iter().map(|(seq, _)| *seq).collect();
    let backend = transaction.get_database_backend();
    let these = rows::one_of(backend, &seqs);
    // An attempt at each begins: see `begin`.
    let begun = "UPDATE parked SET state = 2, redrives = redrives + 1, redrive_time = $2 WHERE seq";
    let sql = format!("{begun} {}", these.condition);
    let values = [these.value, retry::now().into()];
    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(Next::Try(next))
}

/// Counts what has become of a message of a job. Last in its transaction: others count on the same row.
pub(super) async fn count(transaction: &Transaction, id: i64, column: Column) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(column, Expr::col(column).add(1))
        .filter(Column::Id.eq(id))
        .exec(transaction)
        .await
        .map(drop)
}
