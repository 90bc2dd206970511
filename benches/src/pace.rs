//! The time from the POST of an order to its end, at a rate that does not depend on how fast orders end; and beside it what the
//! same commits and publishes take in series, with nothing else done, and how long the disk keeps a commit waiting meanwhile.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lapin::{
    BasicProperties, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use ordermesh::orders::v1::{WatchOrdersRequest, order::Status, orders_service_client::OrdersServiceClient};
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection};
use tokio::time::{Interval, MissedTickBehavior, interval};
use world::eventually;

use crate::{arrangement::Stage, load};

/// Orders per second.
const RATE: u64 = 200;
/// Connections, so that no order waits for the answer to another.
const CONNECTIONS: usize = 32;
/// Rounds of the series.
const SERIES: usize = 200;
/// Commits per second beside the orders.
const BESIDE: u64 = 20;

/// A half and 99 of 100 take at most so long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Times {
    pub(crate) fn of(mut times: Vec<Duration>) -> Result<Self> {
        ensure!(!times.is_empty(), "nothing was timed");
        times.sort_unstable();
        let at = |share: usize| times[(times.len() - 1) * share / 100];
        Ok(Self { p50: at(50), p99: at(99) })
    }
}

/// From the POST to the moment a watcher hears of the end.
pub(crate) async fn orders(stage: &Stage, accounts: usize, time: Duration) -> Result<Times> {
    let ended = Arc::new(Mutex::new(HashMap::new()));
    let watching = tokio::spawn(watch(stage.orders.to_string(), Arc::clone(&ended)));
    let mut ready = Vec::new();
    for _ in 0..CONNECTIONS {
        ready.push(Arc::new(tokio::sync::Mutex::new(stage.callers.connect().await?)));
    }
    let mut ticks = each_second(RATE)?;
    let mut placing = Vec::new();
    let count = usize::try_from(RATE * time.as_secs())?;
    for number in 0..count {
        // The moment it should go, not the one at which this task runs.
        let due = ticks.tick().await.into_std();
        let (sender, callers) = (Arc::clone(&ready[number % CONNECTIONS]), stage.callers.clone());
        placing.push(tokio::spawn(async move {
            let id = load::place(&mut *sender.lock().await, &callers, number % accounts).await?;
            anyhow::Ok((id, due))
        }));
    }
    let mut placed = Vec::with_capacity(count);
    for order in placing {
        placed.push(order.await??);
    }
    let all = async || {
        let ended = ended.lock().map_err(|_| anyhow::anyhow!("the watch panicked"))?;
        placed
            .iter()
            .map(|(id, due)| Ok(ended.get(id).context("an order has not ended")?.duration_since(*due)))
            .collect::<Result<Vec<Duration>>>()
    };
    let times = eventually("the end of every order", Duration::from_secs(30), all).await?;
    watching.abort();
    Times::of(times)
}

async fn watch(orders: String, ended: Arc<Mutex<HashMap<String, Instant>>>) -> Result<()> {
    let mut client = OrdersServiceClient::connect(format!("http://{orders}")).await?;
    let mut events = client.watch_orders(WatchOrdersRequest::default()).await?.into_inner();
    while let Some(event) = events.message().await? {
        let order = event.order.context("an event has an order")?;
        if order.status() != Status::New {
            ended.lock().map_err(|_| anyhow::anyhow!("a reader panicked"))?.insert(order.id, Instant::now());
        }
    }
    Ok(())
}

/// Three commits of one row each and two confirmed publishes to a quorum queue, one after the other.
pub(crate) async fn series(stage: &Stage) -> Result<Times> {
    let database = single_rows(stage).await?;
    let connection = Connection::connect(&stage.amqp_url()?, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("series".into(), durable, quorum).await?;
    let mut times = Vec::with_capacity(SERIES);
    for round in 0..SERIES {
        let began = Instant::now();
        for step in 0..3 {
            commit(&database, round * 3 + step).await?;
            if step < 2 {
                let (options, properties) =
                    (BasicPublishOptions::default(), BasicProperties::default().with_delivery_mode(2));
                let publish =
                    channel.basic_publish("".into(), "series".into(), options, &[7; 200], properties);
                ensure!(matches!(publish.await?.await?, Confirmation::Ack(_)), "a publish was not confirmed");
            }
        }
        times.push(began.elapsed());
    }
    connection.close(200, "done".into()).await?;
    Times::of(times)
}

/// Commits of one row each while the orders come, so few that they are in nobody's way: what a disk that stalls adds to an order.
pub(crate) async fn commits(stage: &Stage, time: Duration) -> Result<Times> {
    let database = single_rows(stage).await?;
    let mut ticks = each_second(BESIDE)?;
    let mut times = Vec::new();
    for id in 0..usize::try_from(BESIDE * time.as_secs())? {
        let due = ticks.tick().await.into_std();
        commit(&database, id).await?;
        times.push(due.elapsed());
    }
    Times::of(times)
}

/// The moments at which something is due, so many a second.
fn each_second(rate: u64) -> Result<Interval> {
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(rate)?);
    // A moment that is late was late for what is due too.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    Ok(ticks)
}

/// One connection to a table of its own.
async fn single_rows(stage: &Stage) -> Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(stage.postgres().fresh_database().await?);
    options.max_connections(1).sqlx_logging(false);
    let database = Database::connect(options).await?;
    database.execute_unprepared("CREATE TABLE single (id BIGINT PRIMARY KEY, filler TEXT)").await?;
    Ok(database)
}

async fn commit(database: &DatabaseConnection, id: usize) -> Result<()> {
    database.execute_unprepared(&format!("INSERT INTO single VALUES ({id}, repeat('x', 200))")).await?;
    Ok(())
}
