//! One thread for each processor, with a runtime of its own: a request stays on its thread, so that nobody is woken on another
//! processor for it, and nothing has to be taken from one.

use std::{io, net, thread};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use tokio::{net::TcpListener, runtime::Builder, sync::oneshot};
use tokio_util::sync::CancellationToken;

use crate::{edge::Edge, serve::serve};

/// Serves the edge as [`serve()`] does, on so many threads of their own. Each has connections of its own to the services.
///
/// # Errors
/// When the system gives no thread, or one of them panics.
pub async fn serve_on_threads(
    listener: TcpListener,
    edge: Edge,
    threads: usize,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = listener.into_std()?;
    let serving: io::Result<Vec<_>> = (0..threads)
        .map(|number| {
            let (listener, edge, stop) = (listener.try_clone()?, edge.clone(), stop.clone());
            let (end, ended) = oneshot::channel();
            thread::Builder::new()
                .name(format!("edge-{number}"))
                // Whoever waits has gone only when another thread has failed.
                .spawn(move || drop(end.send(run(listener, edge, stop))))?;
            Ok(ended)
        })
        .collect();
    // The threads have what they need of them.
    drop((listener, edge));
    let ends = serving
        .context("cannot start a thread")?
        .into_iter()
        .map(async |ended| ended.await.context("a thread of the edge panicked")?);
    try_join_all(ends).await.map(drop)
}

fn run(listener: net::TcpListener, edge: Edge, stop: CancellationToken) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let own = edge.again();
        // With the last of these, the connections of nobody's thread go.
        drop(edge);
        serve(TcpListener::from_std(listener)?, own, stop).await
    })
}
