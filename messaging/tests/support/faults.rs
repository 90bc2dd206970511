//! RabbitMQ when it dies, chokes or hangs.

use std::{collections::HashSet, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use messaging::broker::{Broker, BrokerError, Outcome, rabbit::RabbitBroker};
use tokio::{
    io::{AsyncReadExt as _, copy, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::{Instant, timeout},
};
use uuid::Uuid;
use world::{PATIENCE, Port, RabbitMq, eventually};

use super::given::{confirmed, consumer, mesh, message, messages, take};

pub(crate) async fn a_killed_broker_keeps_what_it_confirmed() -> Result<()> {
    let mut server = RabbitMq::start().await?;
    let broker = RabbitBroker::new(&server.amqp_url(), mesh("killed", 1))?;
    drop(broker.subscribe(&consumer("reader"), 0, 100).await?);
    // It writes a new queue's name to disk only half a second later; killed before that, it forgets the queue
    // (findings/rabbitmq-forgets-a-fresh-quorum-queue.sh).
    server.control(&["eval", "ok = dets:sync(ra_directory_reverse)."]).await?;
    let mut publisher = broker.publisher().await?;
    let (progress, mut reached) = mpsc::unbounded_channel();
    let publishing = tokio::spawn(async move {
        let mut kept = Vec::new();
        for first in (0..).step_by(500) {
            let window: Vec<_> = (first..first + 500).map(message).collect();
            let outcomes = publisher.publish(&window).await;
            let lost = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Unknown(_)));
            let confirmed = window.iter().zip(outcomes).filter(|(_, it)| *it == Outcome::Confirmed);
            kept.extend(confirmed.map(|(envelope, _)| envelope.id));
            if lost {
                break;
            }
            // Nobody counts any more once the broker is being killed.
            let _ = progress.send(kept.len());
        }
        kept
    });
    while reached.recv().await.context("lost before the kill")? < 2_000 {}
    server.kill().await?;
    // The heartbeat is not needed: the kernel closes a dead process's connections.
    let kept: HashSet<Uuid> = timeout(PATIENCE, publishing).await??.into_iter().collect();
    assert!(broker.publisher().await.is_err());

    server.start_again().await?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 500).await?;
    let mut missing = kept;
    while !missing.is_empty() {
        missing.remove(&take(&mut *inflow, 1).await?[0].id);
    }
    let mut publisher = broker.publisher().await?;
    confirmed(&publisher.publish(&messages(10)).await)
}

/// Also that each publisher's connection ends with it, though a blocked one cannot be closed in order.
pub(crate) async fn an_alarm_ends_in_unknown_and_passes() -> Result<()> {
    let patience = Duration::from_secs(1);
    let server = RabbitMq::start().await?;
    let (watched, mut closed) = observed(&server).await?;
    let broker = RabbitBroker::new(&watched, mesh("alarm", 1))?.with_confirm_timeout(patience);
    drop(broker.subscribe(&consumer("reader"), 0, 100).await?);
    timeout(PATIENCE, closed.recv()).await?;

    server.control(&["set_vm_memory_high_watermark", "absolute", "1"]).await?;
    let sent = messages(50);
    for _ in 0..2 {
        let mut publisher = broker.publisher().await?;
        let start = Instant::now();
        let outcomes = publisher.publish(&sent).await;
        assert!(outcomes.iter().all(|it| matches!(it, Outcome::Unknown(_))), "{outcomes:?}");
        assert!(start.elapsed() < patience + PATIENCE);
        drop(publisher);
        timeout(PATIENCE, closed.recv()).await?;
    }

    server.control(&["set_vm_memory_high_watermark", "0.4"]).await?;
    let confirmed = eventually("the end of the alarm", PATIENCE, async || {
        let mut publisher = broker.publisher().await?;
        confirmed(&publisher.publish(&sent).await)
    });
    confirmed.await
}

/// The URL of a way to the server that reports whenever a client has closed a connection.
async fn observed(server: &RabbitMq) -> Result<(String, mpsc::UnboundedReceiver<()>)> {
    let url = server.amqp_url();
    let address = url.split(['@', '/']).nth(3).context("no address")?.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let watched = url.replace(&address, &listener.local_addr()?.to_string());
    let (closing, closed) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (address, closing) = (address.clone(), closing.clone());
            tokio::spawn(async move {
                let server = TcpStream::connect(address).await?;
                let ((mut requests, mut answers), (mut from, mut to)) =
                    (client.into_split(), server.into_split());
                let answering = tokio::spawn(async move { copy(&mut from, &mut answers).await });
                // An error is as good an end as any.
                let _ended = copy(&mut requests, &mut to).await;
                answering.abort();
                let _ = closing.send(());
                anyhow::Ok(())
            });
        }
    });
    Ok((watched, closed))
}

pub(crate) async fn nobody_listens() -> Result<()> {
    let port = Port::reserve()?;
    let broker = RabbitBroker::new(&format!("amqp://{}", port.address()), mesh("nobody", 1))?;
    let publisher = broker.publisher().await;
    assert!(matches!(publisher.err(), Some(BrokerError::Connection(_))));
    let inflow = broker.subscribe(&consumer("reader"), 0, 1).await;
    assert!(matches!(inflow.err(), Some(BrokerError::Connection(_))));
    Ok(())
}

/// One node of these cannot be reached, and one says nothing; each of them is the first one once.
pub(crate) async fn nodes_that_do_not_answer_are_passed_over() -> Result<()> {
    let (server, closed) = (RabbitMq::shared().await?, Port::reserve()?);
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let at = |address: SocketAddr| format!("amqp://{address}");
    let nodes = [at(closed.address()), at(silent.local_addr()?), server.amqp_url()];
    let broker = RabbitBroker::cluster(&nodes.each_ref().map(String::as_str), mesh("nodes", 1))?;
    let mut inflow = timeout(PATIENCE, broker.subscribe(&consumer("reader"), 0, 100)).await??;
    let sent = messages(1);
    for _ in 1..nodes.len() {
        let mut publisher = timeout(PATIENCE, broker.publisher()).await??;
        confirmed(&publisher.publish(&sent).await)?;
        take(&mut *inflow, 1).await?;
    }
    Ok(())
}

/// Also that nothing of the attempt stays: the other side sees the connection end.
pub(crate) async fn a_broker_that_never_answers_is_left_alone() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let broker = RabbitBroker::new(&format!("amqp://{}", listener.local_addr()?), mesh("silent", 1))?;
    let attempt = tokio::spawn(async move { broker.publisher().await.map(drop) });
    let (mut socket, _) = listener.accept().await?;
    let mut header = [0; 8];
    socket.read_exact(&mut header).await?;
    assert_eq!(&header, b"AMQP\0\0\x09\x01");
    attempt.abort();
    assert_eq!(timeout(PATIENCE, socket.read(&mut header)).await??, 0);
    Ok(())
}

/// A connection that is well until nothing comes through any more, as with a machine that is gone: heartbeats find it out, which the
/// URL may ask for more often than by default.
pub(crate) async fn a_connection_that_falls_silent_is_given_up() -> Result<()> {
    let server = RabbitMq::shared().await?;
    let (url, silence) = silenceable(&server).await?;
    let broker = RabbitBroker::new(&format!("{url}?heartbeat=1"), mesh("silenced", 1))?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 100).await?;
    let mut publisher = broker.publisher().await?;
    let sent = messages(1);
    confirmed(&publisher.publish(&sent).await)?;
    take(&mut *inflow, 1).await?;

    silence.send(())?;
    let began = Instant::now();
    let (outcomes, received) =
        timeout(PATIENCE, async { tokio::join!(publisher.publish(&sent), inflow.receive(1)) }).await?;
    assert!(matches!(outcomes[..], [Outcome::Unknown(_)]), "{outcomes:?}");
    assert!(matches!(received, Err(BrokerError::Connection(_))), "{received:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "noticed after {:?}", began.elapsed());
    // The server is well: a new connection is served.
    confirmed(&broker.publisher().await?.publish(&sent).await)
}

/// The URL of a way to the server through which nothing comes any more of what was open at a change; the connections stay.
async fn silenceable(server: &RabbitMq) -> Result<(String, watch::Sender<()>)> {
    let url = server.amqp_url();
    let address = url.split(['@', '/']).nth(3).context("no address")?.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let through = url.replace(&address, &listener.local_addr()?.to_string());
    let (silence, silent) = watch::channel(());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (address, mut silent) = (address.clone(), silent.clone());
            silent.mark_unchanged();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(address).await?;
                tokio::select! {
                    done = copy_bidirectional(&mut client, &mut server) => done.map(drop),
                    _ = silent.changed() => std::future::pending().await,
                }
            });
        }
    });
    Ok((through, silence))
}
