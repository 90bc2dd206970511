//! Group commit on both databases: many requests share few transactions, and a bad one fails alone.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::Result;
use futures_util::future::{BoxFuture, join_all};
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement};
use storage::{
    Database, DatabaseUrl, Executor, Failure, Limits,
    group::{Batch, GroupCommit},
};
use world::{Postgres, Scratch};

/// Inserts numbers into a table that has each once; -1 panics.
#[derive(Default)]
struct Insert {
    commits: Arc<AtomicUsize>,
}

impl Batch for Insert {
    type Request = i64;
    type Reply = i64;
    type Prepared = ();

    fn prepare(&self, _: DbBackend, numbers: &[i64]) -> Result<(), DbErr> {
        assert!(!numbers.contains(&-2), "a bug in the preparation");
        Ok(())
    }

    fn apply<'t>(
        &'t self,
        transaction: Executor<'t>,
        numbers: &'t [i64],
        _: &'t (),
    ) -> BoxFuture<'t, Result<Vec<i64>, DbErr>> {
        Box::pin(async move {
            for number in numbers {
                assert!(*number >= 0, "a bug in the batch");
                let backend = transaction.get_database_backend();
                let sql = "INSERT INTO numbers (number) VALUES ($1)";
                transaction
                    .execute_raw(Statement::from_sql_and_values(backend, sql, [(*number).into()]))
                    .await?;
            }
            Ok(numbers.to_vec())
        })
    }

    fn committed(&self) {
        self.commits.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn on_sqlite() -> Result<()> {
    let scratch = Scratch::new("group")?;
    let url = DatabaseUrl::file(&scratch.path().join("group.db"));
    check(Database::connect(&url, Limits::default()).await?).await
}

#[tokio::test]
async fn on_postgres() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let url = postgres.fresh_database().await?;
    check(Database::connect(&url.parse()?, Limits::default()).await?).await?;
    postgres.stop().await
}

async fn check(database: Database) -> Result<()> {
    database
        .transact(|transaction| {
            Box::pin(async move {
                transaction.execute_unprepared("CREATE TABLE numbers (number BIGINT PRIMARY KEY)").await?;
                Ok(())
            })
        })
        .await?;
    let insert = Insert::default();
    let commits = Arc::clone(&insert.commits);
    let (group, writer) = GroupCommit::new(database.clone(), insert);
    tokio::spawn(writer);

    let replies = join_all((0..500).map(|number| group.submit(number))).await;
    let replies: Vec<i64> = replies.into_iter().collect::<Result<_, Failure>>()?;
    assert_eq!(replies, (0..500).collect::<Vec<_>>(), "everyone gets the reply to his own request");
    let shared = commits.load(Ordering::SeqCst);
    assert!(shared <= 50, "500 requests took {shared} transactions");

    // 7 is there already, and the others panic: they fail, and nobody else.
    let mixed: Vec<i64> = (500..520).chain([7, -1, -2]).chain(520..540).collect();
    let outcomes = join_all(mixed.iter().map(|number| group.submit(*number))).await;
    for (number, outcome) in mixed.iter().zip(outcomes) {
        match number {
            7 => assert!(matches!(outcome, Err(Failure::Refused(_))), "{outcome:?}"),
            -1 | -2 => assert!(matches!(outcome, Err(Failure::Panicked)), "{outcome:?}"),
            _ => assert_eq!(outcome.ok(), Some(*number)),
        }
    }
    let statement = Statement::from_string(database.backend(), "SELECT COUNT(*) FROM numbers");
    let row = database.read().query_one_raw(statement).await?.expect("a count has a row");
    assert_eq!(row.try_get_by_index::<i64>(0)?, 540);
    database.close().await;
    Ok(())
}
