//! The load: accounts with money, and clients that place orders over HTTP as fast as they are answered.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use ordermesh::{
    orders::v1::{ListOrdersRequest, order::Status, orders_service_client::OrdersServiceClient},
    payments::v1::{
        Account, CreateAccountRequest, TopUpAccountRequest, payments_service_client::PaymentsServiceClient,
    },
};
use tokio::net::TcpStream;
use world::eventually;

use crate::arrangement::Stage;

/// Enough for every order of a run.
const BALANCE: i64 = 1_000_000_000;
const DRAIN: Duration = Duration::from_secs(120);

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

pub(crate) async fn open_accounts(stage: &Stage, accounts: usize) -> Result<()> {
    let payments = PaymentsServiceClient::connect(format!("http://{}", stage.payments)).await?;
    stream::iter(0..accounts)
        .map(|number| {
            let mut payments = payments.clone();
            async move {
                let user_id = user(number);
                let account = Account { user_id: user_id.clone(), ..Account::default() };
                let request = CreateAccountRequest { account: Some(account), request_id: String::new() };
                payments.create_account(request).await?;
                let top_up =
                    TopUpAccountRequest { user_id, amount: BALANCE, ..TopUpAccountRequest::default() };
                payments.top_up_account(top_up).await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(64)
        .try_collect::<()>()
        .await
}

pub(crate) fn user(number: usize) -> String {
    format!("user-{number}")
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
    let orders = place_until(stage.edge, clients, accounts, until).await?;
    drained(stage).await?;
    let elapsed = began.elapsed();
    let after = processor(stage)?;
    let processor = before.into_iter().zip(after).map(|((name, before), (_, after))| (name, after - before));
    Ok(Measured { orders, elapsed, processor: processor.collect() })
}

/// Places orders, and returns how many.
pub(crate) async fn place_until(
    edge: SocketAddr,
    clients: usize,
    accounts: usize,
    until: Until,
) -> Result<usize> {
    let (began, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let clients = (0..clients).map(|_| client(edge, until, began, Arc::clone(&next), accounts));
    Ok(try_join_all(clients).await?.into_iter().sum())
}

pub(crate) type Sender = http1::SendRequest<Full<Bytes>>;

/// A connection on which nothing waits for more to be sent along.
pub(crate) async fn open(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(crate) async fn connect(edge: SocketAddr) -> Result<Sender> {
    let (sender, connection) = http1::handshake(TokioIo::new(open(edge).await?)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// One connection, one order at a time.
async fn client(
    edge: SocketAddr,
    until: Until,
    began: Instant,
    next: Arc<AtomicUsize>,
    accounts: usize,
) -> Result<usize> {
    let mut sender = connect(edge).await?;
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
        post(&mut sender, &user(number % accounts)).await?;
        placed += 1;
    }
}

/// Places an order, and returns its id.
pub(crate) async fn place(sender: &mut Sender, user: &str) -> Result<String> {
    let order: serde_json::Value = serde_json::from_slice(&post(sender, user).await?)?;
    Ok(order["id"].as_str().context("an order has an id")?.to_owned())
}

async fn post(sender: &mut Sender, user: &str) -> Result<Bytes> {
    let body = format!(r#"{{"userId":"{user}","amount":7,"description":"bench"}}"#);
    let request = Request::post("/gateway/orders")
        .header("host", "bench")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let text = answer.into_body().collect().await?.to_bytes();
    ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&text));
    Ok(text)
}

/// Until no order is NEW.
pub(crate) async fn drained(stage: &Stage) -> Result<()> {
    let orders = OrdersServiceClient::connect(format!("http://{}", stage.orders)).await?;
    let open = ListOrdersRequest { page_size: 1, status: Status::New.into(), ..ListOrdersRequest::default() };
    eventually("the end of every order", DRAIN, async || {
        let page = orders.clone().list_orders(open.clone()).await?.into_inner();
        ensure!(page.orders.is_empty(), "an order is still NEW");
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
