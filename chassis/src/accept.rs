//! The accept loop of a listener: so many connections at once, each in a task, until a stop.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// How long accepting rests when the system has no descriptors left: at once it would fail again, and spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Permits for connections, which several accept loops may share.
#[derive(Debug, Clone)]
pub struct Permits {
    free: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
}

/// A permit for a connection, until its last clone is dropped.
#[derive(Debug, Clone)]
pub struct Permit(Arc<Held>);

#[derive(Debug)]
struct Held {
    _permit: OwnedSemaphorePermit,
    /// Connections that are open, of all.
    open: Arc<AtomicUsize>,
    /// Whether this is one of them: a permit is taken before there is a connection for it.
    is_open: AtomicBool,
}

impl Permits {
    /// At most so many connections.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))), open: Arc::default() }
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    async fn take(&self) -> Option<Permit> {
        // Nobody closes the semaphore.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        let (open, is_open) = (Arc::clone(&self.open), AtomicBool::new(false));
        Some(Permit(Arc::new(Held { _permit: permit, open, is_open })))
    }
}

impl Permit {
    fn opened(self) -> Self {
        if !self.0.is_open.swap(true, Relaxed) {
            self.0.open.fetch_add(1, Relaxed);
        }
        self
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if *self.is_open.get_mut() {
            self.open.fetch_sub(1, Relaxed);
        }
    }
}

/// Accepts connections until `stop`, each once there is a permit for it, and serves them in tasks of their own. Gives those that are still
/// open then; dropping them, as dropping this future, cuts them.
pub async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    permits: &Permits,
    stop: &CancellationToken,
    serve: impl Fn(TcpStream, SocketAddr, Permit) -> F,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            Some(_) = connections.join_next() => continue,
            accepted = next(&listener, permits) => accepted,
        };
        let Some((stream, client, permit)) = accepted else { return connections };
        match stream.set_nodelay(true) {
            Ok(()) => drop(connections.spawn(serve(stream, client, permit))),
            Err(error) => tracing::debug!(%error, "the client left at once"),
        }
    }
}

/// The next connection, once there is a permit for it.
async fn next(listener: &TcpListener, permits: &Permits) -> Option<(TcpStream, SocketAddr, Permit)> {
    let permit = permits.take().await?;
    loop {
        match listener.accept().await {
            Ok((stream, client)) => return Some((stream, client, permit.opened())),
            Err(error) => rest_after(&error).await,
        }
    }
}

/// Rests after an error of `accept`, unless it is that of one client that left early.
pub async fn rest_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "cannot accept connections");
        tokio::time::sleep(PAUSE).await;
    }
}
