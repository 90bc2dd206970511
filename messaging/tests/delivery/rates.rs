//! The figures of docs/DELIVERY.md, measured in interleaved runs: `just delivery-figures`.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueuePurgeOptions},
    types::{AMQPValue, FieldTable},
};
use messaging::retention::Retention;
use nix::sys::resource::{UsageWho, getrusage};
use sea_orm::ConnectionTrait as _;
use tokio::time::Instant;
use world::RabbitMq;

use crate::{
    fact::{Effects, padded},
    place::Place,
    running::Running,
};

const MESSAGES: usize = 20_000;
const RUNS: usize = 5;
const WINDOW: usize = 500;
/// Bytes of a payload: that of an order.
const PAYLOAD: usize = 120;
/// How often it is asked whether a run has ended.
const LOOK: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, for a release build"]
async fn relay_and_consumer_rates() -> Result<()> {
    let place = Place::real_with_own_broker().await?;
    let raw = Raw::open(place.rabbitmq.as_ref().context("a place with RabbitMQ")?).await?;
    // Makes the queue and learns every statement.
    write(&place, 0).await?;
    drained(&place, Running::all(&place)).await?;
    let (mut relays, mut raws, mut consumers) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=RUNS {
        raws.push(raw.publish_all().await?);
        write(&place, run).await?;
        relays.push(drained(&place, Running::default().relay(&place)).await?);
        consumers.push(applied(&place, (run + 1) * MESSAGES).await?);
        eprintln!(
            "run {run}: raw {:.0}/s, relay {:.0}/s, consumer {:.0}/s",
            raws[run - 1],
            relays[run - 1],
            consumers[run - 1]
        );
    }
    let mut ratios: Vec<f64> = relays.iter().zip(&raws).map(|(relay, raw)| relay / raw).collect();
    let (raw, relay, consumer) = (median(&mut raws), median(&mut relays), median(&mut consumers));
    let ratio = median(&mut ratios);
    eprintln!("medians: raw {raw:.0}/s, relay {relay:.0}/s (ratio {ratio:.2}), consumer {consumer:.0}/s");
    Ok(())
}

async fn write(place: &Place, run: usize) -> Result<()> {
    let numbers: Vec<i64> =
        (run * MESSAGES..(run + 1) * MESSAGES).map(i64::try_from).collect::<Result<_, _>>()?;
    for numbers in numbers.chunks(500) {
        place.write_messages(numbers.iter().map(|number| padded(*number, PAYLOAD)).collect()).await?;
    }
    Ok(())
}

/// Messages a second until the outbox is empty, connecting included.
async fn drained(place: &Place, running: Running) -> Result<f64> {
    let began = Instant::now();
    // To count what is left, as a test does that waits for it, takes much from those who are measured.
    while place.one("SELECT EXISTS (SELECT FROM outbox)").await? {
        tokio::time::sleep(LOOK).await;
    }
    let rate = rate(began.elapsed());
    running.stop().await?;
    Ok(rate)
}

/// Messages a second until each has its effect, connecting included.
async fn applied(place: &Place, effects: usize) -> Result<f64> {
    let began = Instant::now();
    let running = Running::default().consumer(place, Effects::always());
    let missing = format!("SELECT COUNT(*) < {effects} FROM effects");
    while place.one(&missing).await? {
        tokio::time::sleep(LOOK).await;
    }
    let rate = rate(began.elapsed());
    running.stop().await?;
    Ok(rate)
}

/// What one channel can do, with nothing of ours around it.
struct Raw {
    _connection: Connection,
    channel: Channel,
}

impl Raw {
    async fn open(server: &RabbitMq) -> Result<Self> {
        let connection = Connection::connect(&server.amqp_url(), ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut quorum = FieldTable::default();
        quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        channel.queue_declare("raw".into(), QueueDeclareOptions::durable(), quorum).await?;
        Ok(Self { _connection: connection, channel })
    }

    /// Messages a second in windows, every confirm awaited.
    async fn publish_all(&self) -> Result<f64> {
        let began = Instant::now();
        for _ in 0..MESSAGES / WINDOW {
            let mut confirms = Vec::with_capacity(WINDOW);
            for _ in 0..WINDOW {
                let properties = BasicProperties::default().with_delivery_mode(2);
                let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
                let body = [7; PAYLOAD];
                confirms.push(
                    self.channel.basic_publish("".into(), "raw".into(), options, &body, properties).await?,
                );
            }
            let confirmed = try_join_all(confirms).await?;
            ensure!(confirmed.iter().all(|confirmed| *confirmed == Confirmation::Ack(None)));
        }
        let rate = rate(began.elapsed());
        self.channel.queue_purge("raw".into(), QueuePurgeOptions::default()).await?;
        Ok(rate)
    }
}

#[tokio::test]
#[ignore = "a measurement, for a release build"]
async fn idle_cost() -> Result<()> {
    let place = Place::real_with_own_broker().await?;
    let running = Running::default().consumer(&place, Effects::always()).relay_with_usual_lease(&place);
    place.write(0..100).await?;
    place.has_effects(100).await?;
    place.is_drained().await?;
    let (began, before) = (Instant::now(), processor_time()?);
    tokio::time::sleep(Duration::from_secs(30)).await;
    let share = (processor_time()? - before) / began.elapsed().as_secs_f64();
    eprintln!("idle: {:.2} % of a core", share * 100.0);
    ensure!(share < 0.01, "an idle process is not idle");
    running.stop().await
}

/// Seconds that this process has computed for.
fn processor_time() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// A million old rows are forgotten while others write: in turns with and without, so that the machine's moods cancel out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, for a release build"]
async fn writers_during_retention() -> Result<()> {
    let place = Place::postgres().await?;
    // All of them overdue by less than what makes retention hurry.
    let million = "INSERT INTO inbox SELECT gen_random_uuid(), 'reader',
        CAST(EXTRACT(EPOCH FROM now() - interval '7 days') * 1000000 AS bigint) - n * 10
        FROM generate_series(1, 1000000) AS n";
    place.database.read().execute_unprepared(million).await?;
    place.database.read().execute_unprepared("VACUUM ANALYZE inbox").await?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let began = Instant::now();
    let mut next = 0;
    for _ in 0..6 {
        alone.push(p99(&place, &mut next).await?);
        let stop = tokio_util::sync::CancellationToken::new();
        let retention = tokio::spawn(Retention::new(place.database.clone()).run(stop.clone()));
        beside.push(p99(&place, &mut next).await?);
        stop.cancel();
        retention.await?;
    }
    let left: i64 = place.one("SELECT COUNT(*) FROM inbox").await?;
    eprintln!(
        "alone {alone:?} ms, beside retention {beside:?} ms; {left} old rows left after {:?}",
        began.elapsed()
    );
    let mut ratios: Vec<f64> = beside.iter().zip(&alone).map(|(beside, alone)| beside / alone).collect();
    let ratio = median(&mut ratios);
    eprintln!(
        "medians of p99: {:.2} ms alone, {:.2} ms beside, ratio {ratio:.2}",
        median(&mut alone),
        median(&mut beside)
    );
    ensure!(left < 1_000_000, "nothing was forgotten");
    ensure!(ratio <= 1.5, "the writers notice");
    Ok(())
}

/// The 99th percentile of the time that a transaction of one message takes, in milliseconds: 1,000 of them.
async fn p99(place: &Place, next: &mut i64) -> Result<f64> {
    let mut times = Vec::with_capacity(1_000);
    for _ in 0..1_000 {
        let began = Instant::now();
        place.write_messages(vec![padded(*next, PAYLOAD)]).await?;
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
        *next += 1;
    }
    times.sort_by(f64::total_cmp);
    Ok(times[989])
}

fn rate(took: Duration) -> f64 {
    MESSAGES as f64 / took.as_secs_f64()
}

fn median(of: &mut [f64]) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
