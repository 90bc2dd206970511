//! Faults of the database itself, at random, under writes: what was acknowledged is there when the database is opened again, and what
//! was refused as not applied is not.
//!
//! The faults are real: a file system that is full, a file that may not grow, a lock of another process, a server that ends sessions,
//! constraints that fail at COMMIT. Whoever counts afterwards uses connections of the driver, not ours.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::{join_all, try_join_all};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, DbErr, Statement, TransactionTrait as _};
use storage::{Database, DatabaseUrl, Failure, Limits};
use tokio::time::sleep;
use world::{Postgres, Scratch, SmallDisk, eventually};

const WRITES: i64 = 10_000;
const WRITERS: i64 = 16;
const BODY: usize = 600;
const PATIENCE: Duration = Duration::from_secs(30);

/// What the writers were answered.
#[derive(Debug, Default)]
struct Answers {
    acknowledged: BTreeSet<i64>,
    refused: BTreeSet<i64>,
    kinds: BTreeMap<&'static str, usize>,
}

#[tokio::test]
async fn a_disk_that_was_full_while_nobody_wrote_loses_nothing_later() -> Result<()> {
    let disk = SmallDisk::mount("full", 8 << 10)?;
    let file = disk.path().join("notes.db");
    let database = Database::connect(&DatabaseUrl::file(&file), Limits::default()).await?;
    create(&database).await?;
    disk.fill()?;
    for _ in 0..20 {
        let failure = store(&database, -1, 200_000).await.expect_err("there is no space");
        ensure!(matches!(failure, Failure::Full(_)), "{failure:?}");
    }
    let failure = database.ping().await.expect_err("the writer cannot write");
    ensure!(matches!(failure, Failure::Full(_)), "{failure:?}");
    disk.free()?;
    eventually("the writer to be well", PATIENCE, async || database.ping().await).await?;
    for id in 0..100 {
        store(&database, id, BODY).await?;
    }
    // Seen by others at once, and not only by who has written it.
    let elsewhere = sea_orm::Database::connect(format!("sqlite://{}?mode=ro", file.display())).await?;
    ensure!(ids(&elsewhere).await? == (0..100).collect());
    database.close().await;
    ensure!(ids(&elsewhere).await? == (0..100).collect());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_keeps_what_it_acknowledged_under_random_faults() -> Result<()> {
    let disk = SmallDisk::mount("faults", 48 << 10)?;
    let file = disk.path().join("notes.db");
    let database = Database::connect(&DatabaseUrl::file(&file), Limits::default()).await?;
    create(&database).await?;
    let url = format!("sqlite://{}", file.display());
    let lock = sea_orm::Database::connect(&url).await?;
    // Ends the transaction by itself, for every seventeenth.
    let ends = "CREATE TRIGGER ends BEFORE INSERT ON notes WHEN NEW.id % 17 = 3
                BEGIN SELECT RAISE(ROLLBACK, 'not this one'); END";
    lock.execute_unprepared(ends).await?;
    let faults = async |round: u64| {
        match round % 4 {
            0 | 1 => {
                disk.fill()?;
                sleep(Duration::from_millis(round % 7 * 3)).await;
                disk.free()?;
            }
            // Not one page more, until this connection is closed for another reason or is given another limit.
            2 => {
                for most in ["1", "1000000"] {
                    let limit = format!("PRAGMA max_page_count = {most}");
                    let limited = database.transact(move |transaction| {
                        let limit = limit.clone();
                        Box::pin(async move { transaction.execute_unprepared(&limit).await.map(drop) })
                    });
                    let _an_attempt = limited.await;
                    sleep(Duration::from_millis(round % 5)).await;
                }
            }
            _ => {
                let holder = lock.begin().await?;
                let _busy = holder.execute_unprepared("INSERT INTO notes VALUES (-1, zeroblob(1))").await;
                sleep(Duration::from_millis(round % 5)).await;
                holder.rollback().await?;
            }
        }
        Ok(())
    };
    let answers = write_under(&database, faults).await?;
    for kind in ["full", "refused"] {
        ensure!(answers.kinds.contains_key(kind), "nobody met that fault: {:?}", answers.kinds);
    }
    database.close().await;
    judge(&answers, &ids(&sea_orm::Database::connect(format!("{url}?mode=ro")).await?).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_what_it_acknowledged_under_random_faults() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let url = postgres.fresh_database().await?;
    let database = Database::connect(&url.parse()?, Limits::default()).await?;
    create(&database).await?;
    let operator = sea_orm::Database::connect(&url).await?;
    // Fails at COMMIT, for every seventeenth; and ends the session itself at COMMIT, for some others.
    for sql in [
        "CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.id % 17 = 3 THEN RAISE EXCEPTION 'not this one' USING ERRCODE = 'check_violation'; END IF;
           IF NEW.id % 131 = 5 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
           RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION at_commit()",
    ] {
        operator.execute_unprepared(sql).await?;
    }
    let faults = async |round: u64| {
        let end = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND pid % 3 = {}",
            round % 3
        );
        operator.execute_unprepared(&end).await?;
        sleep(Duration::from_millis(round % 7 * 10)).await;
        Ok(())
    };
    let answers = write_under(&database, faults).await?;
    for kind in ["refused", "unknown"] {
        ensure!(answers.kinds.contains_key(kind), "nobody met that fault: {:?}", answers.kinds);
    }
    database.close().await;
    postgres.kill().await?;
    postgres.start_again().await?;
    judge(&answers, &ids(&sea_orm::Database::connect(&url).await?).await?)?;
    postgres.stop().await
}

/// Nothing else makes a COMMIT of SQLite fail and leaves its transaction open.
#[tokio::test]
async fn a_commit_that_leaves_its_transaction_open_stops_nobody() -> Result<()> {
    let scratch = Scratch::new("open")?;
    let file = scratch.path().join("notes.db");
    let database = Database::connect(&DatabaseUrl::file(&file), Limits::default()).await?;
    create(&database).await?;
    let write = async |sql: &'static str| {
        let written = database.transact(move |transaction| {
            Box::pin(async move { transaction.execute_unprepared(sql).await.map(drop) })
        });
        written.await
    };
    write("CREATE TABLE about (note INTEGER REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED)").await?;
    let refused = write("INSERT INTO about VALUES (404)").await.expect_err("there is no such note");
    ensure!(matches!(refused, Failure::Refused(_)), "{refused:?}");
    for id in 0..5 {
        store(&database, id, BODY).await?;
    }
    let elsewhere = sea_orm::Database::connect(format!("sqlite://{}?mode=ro", file.display())).await?;
    ensure!(ids(&elsewhere).await? == (0..5).collect());
    database.close().await;
    ensure!(ids(&elsewhere).await? == (0..5).collect());
    Ok(())
}

/// The bound is for all of SQLite in this process, and can only become lower.
#[tokio::test]
async fn memory_that_has_run_out_loses_nothing() -> Result<()> {
    let scratch = Scratch::new("memory")?;
    let file = scratch.path().join("notes.db");
    let database = Database::connect(&DatabaseUrl::file(&file), Limits::default()).await?;
    create(&database).await?;
    let elsewhere = sea_orm::Database::connect(format!("sqlite://{}?mode=ro", file.display())).await?;
    elsewhere.execute_unprepared(&format!("PRAGMA hard_heap_limit = {}", 48 << 20)).await?;
    let mut answers = Answers::default();
    for id in 0..WRITES / 50 {
        let large = id % 10 == 7;
        let outcome = store(&database, id, if large { 64 << 20 } else { BODY }).await;
        let kind = kind(&outcome);
        *answers.kinds.entry(kind).or_default() += 1;
        match kind {
            "acknowledged" => ensure!(!large && answers.acknowledged.insert(id), "there was memory for {id}"),
            _ => ensure!(large && answers.refused.insert(id), "{id}: {outcome:?}"),
        }
    }
    database.close().await;
    ensure!(ids(&elsewhere).await? == answers.acknowledged, "{:?}", answers.kinds);
    Ok(())
}

#[tokio::test]
async fn a_full_disk_of_postgres_is_named_and_loses_nothing() -> Result<()> {
    let disk = SmallDisk::mount("full-postgres", 32 << 10)?;
    let mut postgres = Postgres::start().await?;
    let operator = sea_orm::Database::connect(postgres.url("postgres")).await?;
    let space = disk.path().join("space").display().to_string();
    for sql in [
        format!("COPY (SELECT 1) TO PROGRAM 'cat > /dev/null; mkdir {space}'"),
        format!("CREATE TABLESPACE small LOCATION '{space}'"),
        "CREATE DATABASE small TABLESPACE small".to_owned(),
    ] {
        operator.execute_unprepared(&sql).await?;
    }
    let url = postgres.url("small");
    let database = Database::connect(&url.parse()?, Limits::default()).await?;
    create(&database).await?;
    disk.fill()?;
    // There is room in some pages still.
    let mut stored = BTreeSet::new();
    let failure = loop {
        let id = i64::try_from(stored.len())?;
        match store(&database, id, 1_900).await {
            Ok(()) => ensure!(stored.insert(id) && id < 500, "the disk is not full"),
            Err(failure) => break failure,
        }
    };
    ensure!(matches!(failure, Failure::Full(_)), "{failure:?}");
    disk.free()?;
    for id in 500..600 {
        store(&database, id, 1_900).await?;
        stored.insert(id);
    }
    database.close().await;
    ensure!(ids(&sea_orm::Database::connect(&url).await?).await? == stored);
    // Its files end before the disk does.
    postgres.stop().await
}

/// Writes, while `faults` come one after the other.
async fn write_under(database: &Database, faults: impl AsyncFn(u64) -> Result<()>) -> Result<Answers> {
    let (answers, next, done) =
        (Arc::new(Mutex::new(Answers::default())), AtomicI64::new(0), AtomicBool::new(false));
    let write = async || {
        loop {
            let id = next.fetch_add(1, Ordering::Relaxed);
            if id >= WRITES {
                return;
            }
            let outcome = store(database, id, BODY).await;
            let kind = kind(&outcome);
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            *answers.kinds.entry(kind).or_default() += 1;
            match kind {
                "acknowledged" => answers.acknowledged.insert(id),
                // It may be there or not.
                "unknown" => true,
                _ => answers.refused.insert(id),
            };
        }
    };
    let writers = async {
        join_all((0..WRITERS).map(|_| write())).await;
        done.store(true, Ordering::Relaxed);
        Ok(())
    };
    let faulty = async {
        for round in 0.. {
            if done.load(Ordering::Relaxed) {
                return Ok(());
            }
            faults(round).await?;
        }
        bail!("the faults have ended")
    };
    tokio::try_join!(writers, faulty)?;
    // Whatever has happened, it works now.
    try_join_all((WRITES..WRITES + 20).map(|id| async move {
        eventually("a write", PATIENCE, async || match store(database, id, BODY).await {
            // Of an attempt whose outcome was not known.
            Err(Failure::Refused(_)) => Ok(()),
            other => other,
        })
        .await
    }))
    .await?;
    Ok(Arc::try_unwrap(answers).ok().context("nobody writes any more")?.into_inner()?)
}

fn kind(outcome: &Result<(), Failure>) -> &'static str {
    match outcome {
        Ok(()) => "acknowledged",
        Err(Failure::Full(_)) => "full",
        Err(Failure::Unavailable(_)) => "unavailable",
        Err(Failure::Unknown(_)) => "unknown",
        Err(Failure::Contention(_)) => "contention",
        Err(Failure::Refused(_)) => "refused",
        Err(Failure::Panicked) => "panicked",
    }
}

fn judge(answers: &Answers, there: &BTreeSet<i64>) -> Result<()> {
    let lost: Vec<_> = answers.acknowledged.difference(there).collect();
    let appeared: Vec<_> = answers.refused.intersection(there).collect();
    ensure!(lost.is_empty(), "{} acknowledged writes are lost ({:?}): {lost:?}", lost.len(), answers.kinds);
    ensure!(appeared.is_empty(), "refused and applied ({:?}): {appeared:?}", answers.kinds);
    ensure!(
        answers.acknowledged.len() > usize::try_from(WRITES)? / 10,
        "hardly any write: {:?}",
        answers.kinds
    );
    Ok(())
}

async fn create(database: &Database) -> Result<(), Failure> {
    let created = database.transact(|transaction| {
        Box::pin(async move {
            let (integer, bytes) = match transaction.get_database_backend() {
                DbBackend::Sqlite => ("INTEGER", "BLOB"),
                _ => ("BIGINT", "BYTEA"),
            };
            let notes = format!("CREATE TABLE notes (id {integer} PRIMARY KEY, body {bytes} NOT NULL)");
            transaction.execute_unprepared(&notes).await?;
            let leases = storage::lease::TABLE.replace("{int}", integer).replace("{strict}", "");
            transaction.execute_unprepared(&leases).await.map(drop)
        })
    });
    created.await
}

async fn store(database: &Database, id: i64, bytes: usize) -> Result<(), Failure> {
    let stored = database.transact(move |transaction| {
        let backend = transaction.get_database_backend();
        let values = [id.into(), vec![7_u8; bytes].into()];
        let note = Statement::from_sql_and_values(backend, "INSERT INTO notes VALUES ($1, $2)", values);
        Box::pin(async move { transaction.execute_raw(note).await.map(drop) })
    });
    stored.await
}

async fn ids(elsewhere: &DatabaseConnection) -> Result<BTreeSet<i64>, DbErr> {
    let backend = elsewhere.get_database_backend();
    let all = Statement::from_string(
        backend,
        format!("SELECT id FROM notes WHERE id BETWEEN 0 AND {}", WRITES - 1),
    );
    elsewhere.query_all_raw(all).await?.iter().map(|row| row.try_get_by_index(0)).collect()
}
