//! A disk that is full under load and has space again: that of SQLite, of PostgreSQL, and of the broker. Nothing that was answered is lost.

use std::{env, time::Duration};

use anyhow::{Result, ensure};
use tokio::time::sleep;
use world::{PATIENCE, Postgres, RabbitMq, SmallDisk, eventually};

use crate::loaded::{Loaded, Witness};

/// Of a disk, in kilobytes: what a server has to begin with, and the load of many rounds.
const SIZE: usize = 256 << 10;
/// How long it stays full once that is noticed.
const FULL: Duration = Duration::from_secs(3);
/// By when an order ends that is placed once there is space again, or the server was started again for that.
const GOES_ON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sqlite() -> Result<()> {
    sqlite(1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_postgres() -> Result<()> {
    postgres(1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_broker() -> Result<()> {
    broker(1).await
}

/// `just matrix`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes as long as it is asked to"]
async fn for_rounds() -> Result<()> {
    let rounds = env::var("MATRIX_ROUNDS")?.parse()?;
    sqlite(rounds).await?;
    postgres(rounds).await?;
    broker(rounds).await
}

async fn sqlite(rounds: usize) -> Result<()> {
    let disk = SmallDisk::mount("sqlite", SIZE)?;
    let mut loaded = Loaded::embedded(disk.path()).await?;
    let witness = loaded.witness()?;
    let faults = async {
        for round in 1..=rounds {
            fill_and_free(&disk, &witness).await?;
            report("SQLite", round, &witness).await?;
        }
        anyhow::Ok(())
    };
    loaded.during(faults).await?;
    loaded.judged_twice().await?;
    eprintln!("disk of SQLite full and freed: {rounds} times, 0 lost, 0 doubled");
    Ok(())
}

/// PostgreSQL may end when there is no space for its log: whoever runs it starts it again then.
async fn postgres(rounds: usize) -> Result<()> {
    let disk = SmallDisk::mount("postgres", SIZE)?;
    let (mut postgres, rabbitmq) = tokio::try_join!(Postgres::start_in(disk.path()), RabbitMq::start())?;
    let mut loaded = Loaded::apart(&postgres, &rabbitmq.amqp_url()).await?;
    let (witness, mut ended) = (loaded.witness()?, 0);
    let faults = async {
        for round in 1..=rounds {
            fill_and_free(&disk, &witness).await?;
            ended += usize::from(postgres.revive().await?);
            report("PostgreSQL", round, &witness).await?;
        }
        anyhow::Ok(())
    };
    loaded.during(faults).await?;
    loaded.judged_twice().await?;
    eprintln!(
        "disk of PostgreSQL full and freed: {rounds} times, {ended} of which ended it, 0 lost, 0 doubled"
    );
    Ok(())
}

/// Quorum queues whose log had no space are of no use until RabbitMQ is started again (3.10). Orders are taken all the time.
async fn broker(rounds: usize) -> Result<()> {
    let disk = SmallDisk::mount("rabbitmq", SIZE)?;
    let (postgres, mut rabbitmq) = tokio::try_join!(Postgres::start(), RabbitMq::start_in(disk.path()))?;
    let mut loaded = Loaded::apart(&postgres, &rabbitmq.amqp_url()).await?;
    for queue in ["orders.0", "orders.dead", "payments.0", "payments.dead", "dead.letters"] {
        rabbitmq.remembers(&format!("ordermesh.events.{queue}")).await?;
    }
    let witness = loaded.witness()?;
    let faults = async {
        for round in 1..=rounds {
            witness.sees_load().await?;
            disk.fill()?;
            eventually("the broker to notice", PATIENCE, async || {
                let alarms = rabbitmq.log()?.matches("disk resource limit alarm set on node").count();
                ensure!(alarms >= round, "{alarms} alarms");
                Ok(())
            })
            .await?;
            witness.sees_load().await?;
            sleep(FULL).await;
            disk.free()?;
            rabbitmq.kill().await?;
            rabbitmq.start_again().await?;
            report("RabbitMQ", round, &witness).await?;
        }
        anyhow::Ok(())
    };
    loaded.during(faults).await?;
    loaded.judged_twice().await?;
    eprintln!("disk of the broker full and freed: {rounds} times, 0 lost, 0 doubled");
    Ok(())
}

/// Fills the disk of a database under load until its service refuses, and frees it again.
async fn fill_and_free(disk: &SmallDisk, witness: &Witness) -> Result<()> {
    witness.sees_load().await?;
    disk.fill()?;
    witness.is_refused().await?;
    sleep(FULL).await;
    disk.free()
}

async fn report(whose: &str, round: usize, witness: &Witness) -> Result<()> {
    let took = witness.order_ends(GOES_ON).await?;
    eprintln!("full disk of {whose}, round {round}: an order ended after {took:.1?}");
    Ok(())
}
