//! The load: accounts with money, and clients that place orders over HTTP as fast as they are answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::Value;
use world::eventually;

use crate::{
    arrangement::Stage,
    callers::{Callers, Sender, user},
};

/// Enough for every order of a run.
const BALANCE: i64 = 1_000_000_000;
/// After this time orders are taken for stuck.
pub(crate) const DRAIN: Duration = Duration::from_secs(120);
/// Connections that open accounts.
const OPENING: usize = 64;

/// What a run came to.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) orders: usize,
    /// From the first POST until no order was NEW.
    pub(crate) elapsed: Duration,
    /// Processor time of each process meanwhile.
    pub(crate) processor: Vec<(&'static str, Duration)>,
}

impl Measured {
    pub(crate) fn per_second(&self) -> f64 {
        self.orders as f64 / self.elapsed.as_secs_f64()
    }

    /// What all processes together have computed for an order, in seconds.
    pub(crate) fn processor_per_order(&self) -> f64 {
        let all: Duration = self.processor.iter().map(|(_, time)| *time).sum();
        all.as_secs_f64() / self.orders as f64
    }
}

/// Opens accounts with enough money for every order of a run.
pub(crate) async fn open_accounts(stage: &Stage, accounts: usize) -> Result<()> {
    let numbers = Arc::new(AtomicUsize::new(0));
    stream::iter(0..OPENING.min(accounts))
        .map(|_| open_some(&stage.callers, &numbers, accounts))
        .buffer_unordered(OPENING)
        .try_collect::<()>()
        .await
}

/// On one connection, until all are there.
async fn open_some(callers: &Callers, numbers: &AtomicUsize, accounts: usize) -> Result<()> {
    let mut sender = callers.connect().await?;
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        if number >= accounts {
            return Ok(());
        }
        let user = user(number);
        let account = format!(r#"{{"userId":"{user}"}}"#);
        call(&mut sender, callers, Some(number), Method::POST, "/gateway/payments", account).await?;
        let (path, amount) =
            (format!("/gateway/payments/{user}/top-up"), format!(r#"{{"amount":{BALANCE}}}"#));
        call(&mut sender, callers, Some(number), Method::POST, &path, amount).await?;
    }
}

/// When no further order is placed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// After this time.
    Time(Duration),
    /// After so many orders.
    Orders(usize),
}

/// Places orders over `accounts` accounts with `clients` connections, and waits until all of them have ended.
pub(crate) async fn run(stage: &Stage, clients: usize, accounts: usize, until: Until) -> Result<Measured> {
    let before = processor(stage)?;
    let began = Instant::now();
    let orders = place_until(&stage.callers, clients, accounts, until).await?;
    drained(&stage.callers, DRAIN).await?;
    let elapsed = began.elapsed();
    let after = processor(stage)?;
    let processor = before.into_iter().zip(after).map(|((name, before), (_, after))| (name, after - before));
    Ok(Measured { orders, elapsed, processor: processor.collect() })
}

/// Places orders, and returns how many.
pub(crate) async fn place_until(
    callers: &Callers,
    clients: usize,
    accounts: usize,
    until: Until,
) -> Result<usize> {
    let (began, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let clients = (0..clients).map(|_| client(callers, until, began, Arc::clone(&next), accounts));
    Ok(try_join_all(clients).await?.into_iter().sum())
}

/// One connection, one order at a time.
async fn client(
    callers: &Callers,
    until: Until,
    began: Instant,
    next: Arc<AtomicUsize>,
    accounts: usize,
) -> Result<usize> {
    let mut sender = callers.connect().await?;
    let mut placed = 0;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let over = match until {
            Until::Time(time) => began.elapsed() >= time,
            Until::Orders(orders) => number >= orders,
        };
        if over {
            return Ok(placed);
        }
        post(&mut sender, callers, number % accounts).await?;
        placed += 1;
    }
}

/// Places an order of the user with this number, and returns its id.
pub(crate) async fn place(sender: &mut Sender, callers: &Callers, number: usize) -> Result<String> {
    let order: Value = serde_json::from_slice(&post(sender, callers, number).await?)?;
    Ok(order["id"].as_str().context("an order has an id")?.to_owned())
}

async fn post(sender: &mut Sender, callers: &Callers, number: usize) -> Result<Bytes> {
    let body = format!(r#"{{"userId":"{}","amount":7,"description":"bench"}}"#, user(number));
    call(sender, callers, Some(number), Method::POST, "/gateway/orders", body).await
}

async fn call(
    sender: &mut Sender,
    callers: &Callers,
    user: Option<usize>,
    method: Method,
    path: &str,
    body: String,
) -> Result<Bytes> {
    let request = callers.request(user, method, path, body)?;
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let text = answer.into_body().collect().await?.to_bytes();
    ensure!(status == 200, "{path}: {status}: {}", String::from_utf8_lossy(&text));
    Ok(text)
}

/// Until no order is NEW.
pub(crate) async fn drained(callers: &Callers, within: Duration) -> Result<()> {
    let mut sender = callers.connect().await?;
    eventually("the end of every order", within, async || {
        let path = "/gateway/orders?status=NEW&pageSize=1";
        let list = call(&mut sender, callers, None, Method::GET, path, String::new()).await?;
        let list: Value = serde_json::from_slice(&list)?;
        let open = list["orders"].as_array().map_or(0, Vec::len);
        ensure!(open == 0, "an order is still NEW");
        anyhow::Ok(())
    })
    .await
}

/// Processor time of each process since its start: the fields utime and stime of `/proc/<pid>/stat`, in hundredths of a second.
fn processor(stage: &Stage) -> Result<Vec<(&'static str, Duration)>> {
    let of = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = text.rsplit_once(')').context("no process")?.1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        anyhow::Ok(Duration::from_millis(ticks * 10))
    };
    stage.processes.iter().map(|(name, process)| Ok((*name, of(process.pid())?))).collect()
}
