//! `ordermesh up` by itself: how soon it answers, and what memory it takes.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpStream};
use world::{Port, Scratch};

use crate::{
    arrangement::{self, Stage},
    load::{self, Until},
};

/// How often the start is measured.
const STARTS: usize = 11;
/// After the start, until memory is read.
const REST: Duration = Duration::from_secs(5);
const STOP: Duration = Duration::from_secs(30);

/// What was seen.
#[derive(Debug, Clone)]
pub(crate) struct Footprint {
    /// Orders placed.
    pub(crate) orders: usize,
    /// To the first answer with an empty data folder, in milliseconds.
    pub(crate) start_empty: Vec<f64>,
    /// With the folder of all those orders.
    pub(crate) start_full: Vec<f64>,
    /// Resident memory in MiB: at rest after the start, and after the orders.
    pub(crate) idle: f64,
    pub(crate) after: f64,
}

pub(crate) async fn measure(clients: usize, accounts: usize, orders: usize) -> Result<Footprint> {
    let mut start_empty = Vec::new();
    for _ in 0..STARTS {
        let data = Scratch::new("empty")?;
        start_empty.push(start(data.path()).await?);
    }
    let data = Scratch::new("footprint")?;
    let mut stage = Stage::embedded_on(data).await?;
    tokio::time::sleep(REST).await;
    let idle = resident(stage.processes[0].1.pid())?;
    load::open_accounts(&stage, accounts).await?;
    let placed = load::run(&stage, clients, accounts, Until::Orders(orders)).await?.orders;
    let after = resident(stage.processes[0].1.pid())?;
    stage.processes[0].1.terminate()?;
    stage.processes[0].1.wait(STOP).await?;
    let mut start_full = Vec::new();
    for _ in 0..STARTS {
        start_full.push(start(stage.data()).await?);
    }
    Ok(Footprint { orders: placed, start_empty, start_full, idle, after })
}

/// Starts it and stops it again: milliseconds to its first answer.
async fn start(data: &Path) -> Result<f64> {
    let port = Port::reserve()?;
    let began = Instant::now();
    let mut process = arrangement::embedded(&arrangement::own_folder()?, data, &port.address().to_string())?;
    while !answers(port.address()).await.is_ok_and(|answers| answers) {
        anyhow::ensure!(began.elapsed() < STOP, "it does not start: {}", process.output());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = began.elapsed();
    process.terminate()?;
    process.wait(STOP).await?;
    Ok(took.as_secs_f64() * 1e3)
}

/// Whether a list of orders is answered.
async fn answers(edge: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect(edge).await?;
    stream
        .write_all(b"GET /gateway/orders?pageSize=1 HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

/// Resident memory in MiB: `VmRSS` of `/proc/<pid>/status`.
fn resident(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().next().context("no number")?.parse::<f64>()? / 1024.0)
}
