//! Statements of bounded size: a batch of more than a record of TLS goes to PostgreSQL over TCP and TLS at full speed.
//!
//! The trap: sqlx leaves Nagle's algorithm on. Under TLS a statement of more than 16 KiB goes out in several writes, and the
//! second waits 40 ms for the server's delayed acknowledgement. Without TLS it is one write, and does not.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::Result;
use sea_orm::{ConnectionTrait as _, entity::prelude::*};
use storage::{Database, Limits, rows};
use world::Postgres;

mod note {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "notes")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) id: i64,
        pub(crate) text: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

const ROWS: i64 = 200;
const ROUNDS: i64 = 15;
/// A batch of so many goes out in one write.
const FEW: i64 = ROWS / 2;
/// Half of the stall, beyond twice what half of the batch takes.
const FULL_SPEED: Duration = Duration::from_millis(20);

#[tokio::test]
async fn a_batch_above_a_record_of_tls_does_not_stall() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let url = postgres.fresh_database().await?;
    assert!(url.contains("127.0.0.1"), "the trap is in TCP: {url}");
    postgres.enable_tls().await?;
    let database = Database::connect(
        &format!("{url}?sslmode=require").parse()?,
        Limits { connections: 1, ..Limits::default() },
    )
    .await?;
    database
        .transact(|transaction| {
            Box::pin(async move {
                transaction
                    .execute_unprepared("CREATE TABLE notes (id BIGINT PRIMARY KEY, text TEXT NOT NULL)")
                    .await?;
                Ok(())
            })
        })
        .await?;

    let (mut taken, mut few) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (first, next) = (round * (ROWS + FEW), round * (ROWS + FEW) + ROWS);
        taken.push(database.transact(move |transaction| insert(transaction, first..next)).await?);
        few.push(database.transact(move |transaction| insert(transaction, next..next + FEW)).await?);
    }
    let median = |times: &mut [Duration]| {
        times.sort();
        times[times.len() / 2]
    };
    let (all, half) = (median(&mut taken), median(&mut few));
    let count = note::Entity::find().count(database.read()).await?;
    assert_eq!(count, u64::try_from((ROWS + FEW) * ROUNDS)?);
    assert!(
        all < 2 * half + FULL_SPEED,
        "the median of {ROUNDS} batches of {ROWS} rows was {all:?}, of half of them {half:?}: {taken:?}"
    );
    database.close().await;
    postgres.stop().await
}

/// How long one batch, of 200 rows some 20 KiB, takes without its commit, whose speed is the disk's.
fn insert(transaction: &storage::Transaction, ids: Range<i64>) -> storage::transact::Body<'_, Duration> {
    Box::pin(async move {
        let notes: Vec<note::Model> = ids.map(|id| note::Model { id, text: "x".repeat(100) }).collect();
        let began = Instant::now();
        rows::insert(transaction, &notes).await?;
        Ok(began.elapsed())
    })
}
