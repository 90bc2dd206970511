//! What waits in the outbox, how much and for how long.

use std::time::Duration;

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, FromQueryResult, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Statement,
};
use storage::Database;

use super::{Column, Entity, Model, State};
use crate::retry;

/// Rows that [`list`] returns at most: an outbox has no bound.
const LISTED: u64 = 1_000;

/// The age of the oldest row from which on the outbox is late: several times what a broker takes to come back.
const LATE: Duration = Duration::from_secs(10);

/// How much waits in the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromQueryResult)]
pub struct Backlog {
    /// Rows that wait to be published.
    pub pending: i64,
    /// Rows that no queue was bound for.
    pub unroutable: i64,
    /// When the oldest that waits to be published was written, in microseconds since the Unix epoch.
    pub oldest_pending: Option<i64>,
    /// When the oldest that no queue was bound for was written, in microseconds since the Unix epoch.
    pub oldest_unroutable: Option<i64>,
}

impl Backlog {
    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pending == 0 && self.unroutable == 0
    }

    /// When the oldest of all was written, in microseconds since the Unix epoch.
    #[must_use]
    pub fn oldest(&self) -> Option<i64> {
        self.oldest_pending.into_iter().chain(self.oldest_unroutable).min()
    }

    /// How long the oldest of all waits at `now`, in microseconds; 0 when nothing does.
    #[must_use]
    pub fn age(&self, now: i64) -> i64 {
        self.oldest().map_or(0, |oldest| now.saturating_sub(oldest).max(0))
    }
}

const BACKLOG: &str = "SELECT
    COUNT(CASE WHEN state = 0 THEN 1 END) AS pending,
    COUNT(CASE WHEN state = 1 THEN 1 END) AS unroutable,
    MIN(CASE WHEN state = 0 THEN create_time END) AS oldest_pending,
    MIN(CASE WHEN state = 1 THEN create_time END) AS oldest_unroutable
    FROM outbox";

/// Counts what waits in the outbox.
///
/// # Errors
/// As the database says.
pub async fn backlog(connection: &impl ConnectionTrait) -> Result<Backlog, DbErr> {
    let statement = Statement::from_string(connection.get_database_backend(), BACKLOG);
    Ok(Backlog::find_by_statement(statement).one(connection).await?.unwrap_or_default())
}

/// When the oldest message was written that waits to be published, in microseconds since the Unix epoch; `None` when none does.
///
/// # Errors
/// As the database says.
pub async fn oldest(connection: &impl ConnectionTrait) -> Result<Option<i64>, DbErr> {
    let find = Entity::find().select_only().column(Column::CreateTime);
    let find = find.filter(Column::State.eq(State::Pending)).order_by_asc(Column::Seq);
    find.into_tuple().one(connection).await
}

/// The first thousand rows, in the order they were written: what an operator looks at.
///
/// # Errors
/// As the database says.
pub async fn list(connection: &impl ConnectionTrait) -> Result<Vec<Model>, DbErr> {
    Entity::find().order_by_asc(Column::Seq).limit(LISTED).all(connection).await
}

/// Whether messages leave in time: what readiness asks. A broker that is away shows once something waits for it too long.
///
/// # Errors
/// Why not, as text.
pub async fn readiness(database: &Database) -> Result<(), String> {
    let backlog = backlog(database.read()).await.map_err(|error| error.to_string())?;
    let age = backlog.age(retry::now());
    if age > retry::micros(LATE) {
        let seconds = age / 1_000_000;
        let Backlog { pending, unroutable, .. } = backlog;
        return Err(format!(
            "the oldest of {pending} pending and {unroutable} unroutable messages waits for {seconds} s"
        ));
    }
    Ok(())
}
