//! Which processes run on a database: each is listed while it does, and one that has died for a while.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use messaging::{
    health::Health,
    processes::{self, Process},
};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use world::{PATIENCE, eventually};

use crate::place::Place;

/// Waits until exactly these are listed, in their order.
async fn are_listed(place: &Place, this: &Process, expected: &[&Process]) -> Result<Vec<Process>> {
    eventually("the processes", PATIENCE, async || {
        let listed = processes::list(&place.database, this).await?;
        let same = |one: &Process, other: &Process| {
            (&one.id, &one.version, &one.build, &one.host, one.start_time)
                == (&other.id, &other.version, &other.build, &other.host, other.start_time)
        };
        let are_these = listed.len() == expected.len()
            && expected.iter().all(|wanted| listed.iter().any(|one| same(one, wanted)));
        ensure!(are_these, "{listed:?}");
        ensure!(listed.is_sorted_by_key(|one| one.start_time), "{listed:?}");
        Ok(listed)
    })
    .await
}

#[tokio::test]
async fn each_is_listed_as_long_as_it_runs() -> Result<()> {
    let place = Place::postgres().await?;
    let (first, second) = (
        Process::this(&place.database, "1.0.0", "before"),
        Process::this(&place.database, "1.1.0", "it's new"),
    );
    ensure!(first.id != second.id && !first.host.is_empty(), "{first:?} {second:?}");
    // Who is asked is there, whether or not it has said so yet.
    are_listed(&place, &first, &[&first]).await?;
    let (stop, mut running, mut dying) = (CancellationToken::new(), JoinSet::new(), JoinSet::new());
    running.spawn(first.clone().keep(place.database.clone(), Health::new(), stop.clone()));
    dying.spawn(second.clone().keep(place.database.clone(), Health::new(), CancellationToken::new()));
    let listed = are_listed(&place, &first, &[&first, &second]).await?;
    let seen = |listed: &[Process]| {
        listed.iter().find(|one| one.id == first.id).map(|one| one.seen_time).context("the first one")
    };
    let before = seen(&listed)?;

    // One that was killed says nothing more, and is there; the other one goes on.
    dying.shutdown().await;
    eventually("another word of it", PATIENCE, async || {
        let listed = processes::list(&place.database, &first).await?;
        ensure!(listed.len() == 2 && seen(&listed)? > before, "{listed:?}");
        Ok(())
    })
    .await?;
    let age = format!("UPDATE processes SET seen_time = seen_time - 600000001 WHERE id = '{}'", second.id);
    place.database.execute_unflushed(age).await?;
    are_listed(&place, &first, &[&first]).await?;

    stop.cancel();
    running.join_next().await.context("it ends")??;
    let other = Process::this(&place.database, "1.1.0", "it's new");
    let listed = processes::list(&place.database, &other).await?;
    ensure!(listed.iter().map(|one| &one.id).eq([&other.id]), "it is still listed: {listed:?}");
    Ok(())
}

#[tokio::test]
async fn a_file_has_one_process_which_writes_nothing_for_it() -> Result<()> {
    let place = Place::embedded().await?;
    let this = Process::this(&place.database, "1.0.0", "before");
    let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
    running.spawn(this.clone().keep(place.database.clone(), Health::new(), stop.clone()));
    are_listed(&place, &this, &[&this]).await?;
    ensure!(place.one::<i64>("SELECT COUNT(*) FROM processes").await? == 0, "it has a row");
    stop.cancel();
    running.join_next().await.context("it ends")??;
    Ok(())
}

/// The end of a process does not wait for a database that does not answer.
#[tokio::test]
async fn the_end_waits_for_no_database() -> Result<()> {
    let place = Place::postgres().await?;
    let this = Process::this(&place.database, "1.0.0", "before");
    let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
    running.spawn(this.clone().keep(place.database.clone(), Health::new(), stop.clone()));
    are_listed(&place, &this, &[&this]).await?;
    let other = sea_orm::Database::connect(place.connection_url()).await?;
    let holder = other.begin().await?;
    holder.execute_unprepared("SELECT 1 FROM processes FOR UPDATE").await?;
    stop.cancel();
    // A statement would wait for 5 s.
    tokio::time::timeout(Duration::from_secs(3), running.join_next()).await?.context("it ends")??;
    holder.rollback().await?;
    Ok(())
}
