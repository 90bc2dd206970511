//! Redrives in the background: which messages one is to try, and how far it has come. A job is a row, and its messages name it, so that it
//! outlives the process that runs it.
//!
//! Whoever locks rows of messages and of a job takes those of messages first, in the order of their numbers.

mod run;

use sea_orm::{
    ActiveValue::{NotSet, Set},
    Condition, ConnectionTrait, DbBackend, DbErr, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, QueryTrait as _, Statement,
    entity::prelude::*,
};
use storage::{Database, Failure, Transaction};

pub(super) use self::run::count;
pub(crate) use self::run::{Next, finish, next, running};
use super::{
    Column as Parked, Entity as ParkedMessages,
    causes::complete_causes,
    filter::{Filter, in_order},
    note::{self, Operator},
    operate::{Affected, REPEATS, redrivable},
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
    /// It has tried every message that could be.
    Finished = 2,
}

/// How long one that has ended is listed, in microseconds. Who has started and stopped it stays among the operators' actions.
const KEEP: i64 = 90 * 24 * 3_600 * 1_000_000;

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
    /// Messages that it had not tried when it ended.
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
    /// Why it has not tried those that it has left, unless it was stopped.
    pub left_reason: Option<String>,
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
    // Of one that has ended a message may have been left, by a process that died or by an earlier version.
    let free = Expr::cust(
        "(redrive_job IS NULL OR redrive_job NOT IN (SELECT id FROM redrive_jobs WHERE state = 0))",
    );
    let meant = filter.meaning(redrivable().add(free), database.backend());
    let what = filter.to_string();
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
    one_by_one(transaction).await?;
    let consumers = ParkedMessages::find().select_only().column(Parked::Consumer).distinct();
    let consumers: Vec<String> =
        consumers.filter(meant.clone()).limit(2).into_tuple().all(transaction).await?;
    if consumers.len() > 1 {
        return Ok(Started::SeveralConsumers);
    }
    let now = retry::now();
    forget(transaction, now - KEEP).await?;
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
        left_reason: Set(None),
    };
    let id = Entity::insert(job).exec(transaction).await?.last_insert_id;
    let chosen =
        ParkedMessages::update_many().col_expr(Parked::RedriveJob, Expr::value(id)).filter(in_order(meant));
    let total = chosen.exec(transaction).await?.rows_affected;
    let total = i64::try_from(total).unwrap_or(i64::MAX);
    let counted = Entity::update_many().col_expr(Column::Total, Expr::value(total));
    counted.filter(Column::Id.eq(id)).exec(transaction).await?;
    if total == 0 {
        end(transaction, id, State::Finished, 0, None).await?;
    }
    let affected = Affected { messages: total.unsigned_abs(), repeats: repeats(transaction, id).await? };
    let what = affected.noted(&format!("redrive {id}, {per_second} a second: {what}"));
    note::write(transaction, operator, "Redrive", what, affected.messages).await?;
    let job = Entity::find_by_id(id).one(transaction).await?;
    let job = job.ok_or_else(|| DbErr::RecordNotFound(format!("the redrive {id}")))?;
    Ok(Started::Job(Box::new(Progress { job, left: total })))
}

/// How many requests repeat the messages of a job that has begun in this transaction.
async fn repeats(transaction: &Transaction, id: i64) -> Result<u64, DbErr> {
    let counted = ParkedMessages::find().select_only().expr(Expr::cust(REPEATS));
    let counted = counted.filter(Parked::RedriveJob.eq(id)).into_tuple::<i64>().one(transaction).await?;
    Ok(counted.unwrap_or_default().unsigned_abs())
}

/// Forgets jobs that have ended before this time, a thousand of them at most. It is done by who starts one: otherwise their number does not grow.
async fn forget(transaction: &Transaction, before: i64) -> Result<(), DbErr> {
    let old = Entity::find().select_only().column(Column::Id).filter(Column::EndTime.lt(before)).limit(1_000);
    let forget = Entity::delete_many().filter(Column::Id.in_subquery(old.into_query()));
    forget.exec(transaction).await.map(drop)
}

/// The advisory lock of who starts a job: any number that everyone agrees on.
const STARTS: i64 = 0x0072_6564_7269_7665;

/// Waits until nobody else starts a job: a statement that waits for messages does not see the job that has taken them meanwhile, and would take
/// them away from it.
async fn one_by_one(transaction: &Transaction) -> Result<(), DbErr> {
    if transaction.get_database_backend() == DbBackend::Postgres {
        transaction.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({STARTS})")).await?;
    }
    Ok(())
}

/// Stops a job, if it runs, and says how far it has come; `None` when there is none. What is under way at the moment is finished, and what was
/// not tried waits for an operator again.
///
/// # Errors
/// As [`Database::transact`].
pub async fn stop(database: &Database, id: i64, operator: Operator) -> Result<Option<Progress>, Failure> {
    let stopped = database.transact(move |transaction| {
        let operator = operator.clone();
        Box::pin(async move {
            let job = Entity::find_by_id(id).one(transaction).await?;
            if job.is_none_or(|job| job.state != State::Running) {
                return Ok(());
            }
            let released = release(transaction, id).await?;
            // Who has finished it meanwhile has released everything.
            if end(transaction, id, State::Stopped, released, None).await? {
                note::write(transaction, operator, "Stop_Redrive", format!("redrive {id}"), released).await?;
            }
            Ok(())
        })
    });
    stopped.await?;
    Ok(find(database.read(), id).await?)
}

/// Leaves what a job has not tried to the operator, and returns how many messages these are. An attempt under way is waited for.
async fn release(transaction: &Transaction, id: i64) -> Result<u64, DbErr> {
    let backend = transaction.get_database_backend();
    let lock = if backend == DbBackend::Postgres { " ORDER BY seq FOR UPDATE" } else { "" };
    let sql = format!(
        "UPDATE parked SET state = 0, redrives = 0, redrive_time = NULL, redrive_job = NULL WHERE seq IN
         (SELECT seq FROM parked WHERE redrive_job = $1 AND state IN (0, 2){lock})"
    );
    let release = Statement::from_sql_and_values(backend, sql, [id.into()]);
    Ok(transaction.execute_raw(release).await?.rows_affected())
}

/// Ends a job that runs, and returns whether it did.
async fn end(
    transaction: &Transaction,
    id: i64,
    state: State,
    released: u64,
    left_reason: Option<String>,
) -> Result<bool, DbErr> {
    let ended = Entity::update_many()
        .col_expr(Column::State, Expr::value(state))
        .col_expr(Column::Released, Expr::value(i64::try_from(released).unwrap_or(i64::MAX)))
        .col_expr(Column::EndTime, Expr::value(retry::now()))
        .col_expr(Column::LeftReason, Expr::value(left_reason))
        .filter(Column::Id.eq(id))
        .filter(Column::State.eq(State::Running));
    Ok(ended.exec(transaction).await?.rows_affected > 0)
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
