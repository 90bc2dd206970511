//! What an operator does about parked messages: looks at them, sends them back, discards them. Every action leaves a row.

use sea_orm::{
    Condition, ConnectionTrait, DbBackend, DbErr, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, QueryTrait as _, Statement, entity::prelude::*,
};
use storage::{Database, Failure, Transaction};

use super::{
    Column, Entity, Model, State,
    causes::complete_causes,
    filter::{Filter, in_order},
    note::{self, Operator},
};

/// What is to be done with parked messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send back to the consumer, which handles each in a transaction of its own within 5 s, or parks it again. What could
    /// not be decoded is left alone.
    Redrive,
    /// Remove for good, also what was sent back and did not leave yet.
    Discard,
}

/// Whether something is done or only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing changes.
    DryRun,
    /// It is done, and noted in the same transaction.
    Apply,
}

/// What something was done to, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Affected {
    /// Messages that are parked.
    pub messages: u64,
    /// Requests that repeat one of those, and of which the same becomes: see [`Model::repeats`].
    pub repeats: u64,
}

impl Affected {
    /// Which messages were meant, and how many repeats of them there were: for whoever reads later what was done.
    pub(super) fn noted(self, filter: &str) -> String {
        match self.repeats {
            0 => filter.to_owned(),
            repeats => format!("{filter}; with {repeats} repeats"),
        }
    }
}

/// Acts on every message that the filter means, and returns how many they are.
///
/// # Errors
/// As [`Database::transact`]: nothing was done, unless the database went away in the middle.
pub async fn operate(
    database: &Database,
    action: Action,
    filter: &Filter,
    operator: impl Into<Operator> + Send,
    mode: Mode,
) -> Result<Affected, Failure> {
    if filter.cause.is_some() {
        complete_causes(database).await?;
    }
    let meant = filter.meaning(action.condition(), database.backend());
    if mode == Mode::DryRun {
        return Ok(count(database.read(), meant).await?);
    }
    let (filter, operator) = (filter.to_string(), operator.into());
    let acted = database.transact(move |transaction| {
        let (meant, filter, operator) = (meant.clone(), filter.clone(), operator.clone());
        Box::pin(async move {
            let affected = action.apply(transaction, meant).await?;
            let noted = affected.noted(&filter);
            note::write(transaction, operator, &format!("{action:?}"), noted, affected.messages).await?;
            Ok(affected)
        })
    });
    acted.await
}

/// What waits for an operator and can be sent back.
pub(super) fn redrivable() -> Condition {
    Condition::all().add(Column::State.eq(State::Parked)).add(Column::MessageId.is_not_null())
}

impl Action {
    /// What it can be done to.
    fn condition(self) -> Condition {
        match self {
            Self::Redrive => redrivable(),
            Self::Discard => Condition::all(),
        }
    }

    async fn apply(self, transaction: &Transaction, meant: Condition) -> Result<Affected, DbErr> {
        let (meant, backend) = (in_order(meant), transaction.get_database_backend());
        let act = match self {
            Self::Redrive => {
                let redriven = Entity::update_many().col_expr(Column::State, Expr::value(State::Redriven));
                redriven.filter(meant.clone()).build(backend)
            }
            Self::Discard => Entity::delete_many().filter(meant.clone()).build(backend),
        };
        if backend == DbBackend::Postgres {
            // What is counted is what was done: others park and repeat messages meanwhile.
            let sql = format!(
                "WITH acted AS ({} RETURNING repeats) SELECT {MESSAGES}, {REPEATS} FROM acted",
                act.sql
            );
            let counted = transaction.query_one_raw(Statement { sql, ..act }).await?;
            let counted =
                counted.map(|row| Ok::<_, DbErr>((row.try_get_by_index(0)?, row.try_get_by_index(1)?)));
            return Ok(affected(counted.transpose()?));
        }
        // Nobody else writes during a transaction of SQLite.
        let affected = count(transaction, meant).await?;
        transaction.execute_raw(act).await?;
        Ok(affected)
    }
}

const MESSAGES: &str = "COUNT(*)";
/// PostgreSQL's sum of such numbers has another type.
pub(super) const REPEATS: &str = "CAST(COALESCE(SUM(repeats), 0) AS BIGINT)";

async fn count(connection: &impl ConnectionTrait, meant: Condition) -> Result<Affected, DbErr> {
    let counted = Entity::find().select_only().expr(Expr::cust(MESSAGES)).expr(Expr::cust(REPEATS));
    Ok(affected(counted.filter(meant).into_tuple::<(i64, i64)>().one(connection).await?))
}

fn affected(counted: Option<(i64, i64)>) -> Affected {
    let (messages, repeats) = counted.unwrap_or_default();
    Affected { messages: messages.unsigned_abs(), repeats: repeats.unsigned_abs() }
}

/// Lists the messages that the filter means, in the order they were parked: at most `limit`, those after the number `after`. Of a cause only
/// those that have one; see [`complete_causes`].
///
/// # Errors
/// As the database says.
pub async fn list(
    connection: &impl ConnectionTrait,
    filter: &Filter,
    after: i64,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let after = Column::Seq.gt(after);
    Entity::find()
        .filter(filter.condition(connection.get_database_backend()).add(after))
        .order_by_asc(Column::Seq)
        .limit(limit)
        .all(connection)
        .await
}

/// The consumers and numbers of the messages that the filter means and that can be sent back: the first `limit`, in the order they were
/// parked; and how many they are in all.
///
/// # Errors
/// As the database says.
pub async fn previewable(
    database: &Database,
    filter: &Filter,
    limit: u64,
) -> Result<(Vec<(String, i64)>, u64), Failure> {
    if filter.cause.is_some() {
        complete_causes(database).await?;
    }
    let meant = filter.condition(database.backend()).add(redrivable());
    let all = Entity::find().filter(meant.clone()).count(database.read()).await?;
    let first = Entity::find()
        .select_only()
        .columns([Column::Consumer, Column::Seq])
        .filter(meant)
        .order_by_asc(Column::Seq)
        .limit(limit)
        .into_tuple()
        .all(database.read())
        .await?;
    Ok((first, all))
}
