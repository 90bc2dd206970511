//! The `healthcheck` command: asks an admin listener whether its process is ready.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{anyhow, bail};
use serde_json::Value;
use tokio_rustls::rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use crate::tls::Itself;

/// A container's health check gives a second, in which a process has to be started too.
const HEALTHCHECK: Duration = Duration::from_millis(900);

/// Asks the admin listener at `address`, with TLS or without, whether the process is ready: for a container's health check, which has no
/// curl. What it says of a process that is, is written to standard output.
///
/// # Errors
/// When it is not, with the parts at fault, or does not answer within a second.
pub fn healthcheck(address: SocketAddr, tls: Option<&Itself>) -> anyhow::Result<()> {
    let until = Instant::now() + HEALTHCHECK;
    let address = reachable(address);
    let session = |tls: &Itself| {
        let name = ServerName::from(address.ip());
        anyhow::Ok(ClientConnection::new(Arc::new(tls.config()?), name)?)
    };
    let answer = ask(address, tls.map(session).transpose()?, until).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            anyhow!(
                "the process at {address} did not answer within a second: it hangs, or has too much to do"
            )
        }
        ErrorKind::ConnectionRefused => anyhow!("nothing listens at {address}: the process does not run"),
        _ => anyhow::Error::new(error).context(format!("the process at {address} cannot be asked")),
    })?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let report: Value = serde_json::from_str(body).unwrap_or_default();
    let faults = faults(&report);
    let refusal = report["error"]["message"].as_str();
    if report.is_null() || refusal.is_some() {
        bail!("the process at {address} does not answer as it should: {}", refusal.unwrap_or(body));
    }
    if answer.split_whitespace().nth(1) != Some("200") {
        let stopping = if report["stopping"] == true { "it stops; " } else { "" };
        bail!("not ready: {stopping}{faults}");
    }
    // A closed standard output makes nothing unready.
    let _unheard =
        writeln!(std::io::stdout(), "ready{}{faults}", if faults.is_empty() { "" } else { ", but " });
    Ok(())
}

/// What is wrong with each part of a report, the worst first: `orders.database is failed: …; orders.outbox is degraded: …`.
fn faults(report: &Value) -> String {
    let parts = report["parts"].as_object().into_iter().flatten();
    let faults = parts.filter_map(|(name, reason)| {
        let state = report["states"][name].as_str().filter(|state| *state != "ok")?;
        Some((state != "failed", format!("{name} is {state}: {}", reason.as_str().unwrap_or_default())))
    });
    let mut faults: Vec<(bool, String)> = faults.collect();
    faults.sort();
    faults.into_iter().map(|(_, fault)| fault).collect::<Vec<_>>().join("; ")
}

fn ask(address: SocketAddr, tls: Option<ClientConnection>, until: Instant) -> io::Result<String> {
    let socket = TcpStream::connect_timeout(&address, left(until)?)?;
    // A second handle, as one with TLS on it is hidden.
    let stream = socket.try_clone()?;
    match tls {
        None => exchange(stream, &socket, until),
        Some(tls) => exchange(StreamOwned::new(tls, stream), &socket, until),
    }
}

fn exchange(mut stream: impl Read + Write, socket: &TcpStream, until: Instant) -> io::Result<String> {
    socket.set_read_timeout(Some(left(until)?))?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let (mut answer, mut chunk) = (Vec::new(), [0; 4_096]);
    loop {
        // Anew for each read: one that trickles must not take longer.
        socket.set_read_timeout(Some(left(until)?))?;
        match stream.read(&mut chunk)? {
            0 => return Ok(String::from_utf8_lossy(&answer).into_owned()),
            read => answer.extend_from_slice(&chunk[..read]),
        }
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// A listener on every address is asked on the loopback one.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        admin::{Hosts, serve},
        lifecycle::{Lifecycle, Stage},
        readiness::{Part, Readiness, State},
        tls::ServerTls,
    };

    /// What `healthcheck` says of a process with these parts.
    async fn asked(parts: Vec<Part>) -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut life = Lifecycle::new();
        let readiness = Readiness::start(parts, &mut life);
        life.spawn(Stage::Operator, "admin", |stop| {
            serve(
                listener,
                ServerTls::default(),
                Hosts::default(),
                vec![readiness],
                axum::Router::new(),
                stop,
            )
        });
        let (answered, stop) = tokio::sync::oneshot::channel();
        let asking = tokio::task::spawn_blocking(move || {
            let (began, answer) = (Instant::now(), healthcheck(address, None));
            let _stops = answered.send(());
            (began.elapsed(), answer)
        });
        life.run_until(async { drop(stop.await) }, std::future::pending()).await?;
        let (elapsed, answer) = asking.await?;
        assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
        answer
    }

    fn part(name: &'static str, state: State) -> Part {
        Part::new(name, move || ready(state.clone()))
    }

    #[tokio::test]
    async fn healthcheck_reports_readiness() {
        asked(vec![part("database", State::Ok)]).await.expect("every part is ready");
        let away = || State::Failed("connection refused".into());
        let error = asked(vec![part("database", away())]).await.expect_err("a part is not ready");
        assert_eq!(error.to_string(), "not ready: database is failed: connection refused");
        asked(vec![part("broker", away()).behind(), part("outbox", State::Degraded("late".into()))])
            .await
            .expect("callers are served");
    }

    #[tokio::test]
    async fn a_part_that_hangs_holds_up_no_probe() {
        let parts = vec![Part::new("database", std::future::pending::<State>), part("other", State::Ok)];
        let error = asked(parts).await.expect_err("it is not known to be ready");
        assert_eq!(error.to_string(), "not ready: database is failed: it has not answered yet");
    }

    #[tokio::test]
    async fn a_process_that_hangs_is_reported_in_a_sentence() -> anyhow::Result<()> {
        // The system takes the connection, and nobody answers.
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let error = healthcheck(listener.local_addr()?, None).expect_err("nobody answers");
        assert!(error.to_string().contains("did not answer within a second"), "{error}");
        let address = listener.local_addr()?;
        drop(listener);
        let error = healthcheck(address, None).expect_err("nobody listens");
        assert!(error.to_string().contains("the process does not run"), "{error}");
        Ok(())
    }
}
