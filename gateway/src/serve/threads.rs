//! One thread for each processor, with a runtime of its own: a request stays on its thread, so that nobody is woken on another
//! processor for it, and nothing has to be taken from one.

use std::{io, net, thread};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use tokio::{net::TcpListener, runtime::Builder, sync::oneshot};
use tokio_util::sync::CancellationToken;

use super::serve;
use crate::edge::Edge;

/// Serves the edge as [`serve()`] does, on so many threads of their own. Each has connections of its own to the services. Dropping it
/// ends the threads, with all that is under way on them.
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
    let cut = CancellationToken::new();
    let _cut_when_dropped = cut.clone().drop_guard();
    let serving: io::Result<Vec<_>> = (0..threads)
        .map(|number| {
            let (listener, edge) = (listener.try_clone()?, edge.clone());
            let (stop, cut) = (stop.clone(), cut.clone());
            let (end, ended) = oneshot::channel();
            thread::Builder::new()
                .name(format!("edge-{number}"))
                // Whoever waits has gone only when another thread has failed.
                .spawn(move || drop(end.send(run(listener, edge, stop, &cut))))?;
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

fn run(
    listener: net::TcpListener,
    edge: Edge,
    stop: CancellationToken,
    cut: &CancellationToken,
) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let own = edge.again();
        // With the last of these, the connections of nobody's thread go.
        drop(edge);
        tokio::select! {
            served = serve(TcpListener::from_std(listener)?, own, stop) => served,
            () = cut.cancelled() => Ok(()),
        }
    });
    // A look-up of a name that hangs is not waited for.
    runtime.shutdown_background();
    served
}
