//! One connection: opened with the first call, and again after it broke.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use h2::client::SendRequest;
use tonic::{ConnectError, Status};

use super::{
    cancelled::Cancellations,
    dial::{self, FIRST_MAX_STREAMS, Tls, Windows},
};
use crate::error::not_sent;

/// A connection to an address.
#[derive(Debug)]
pub(super) struct Line {
    address: SocketAddr,
    tls: Option<Tls>,
    windows: Windows,
    /// The connection that there is, or is about to be; `None` before the first call and after a failure.
    opening: Mutex<Option<Opening>>,
    /// Calls at once that the service takes on it.
    most: AtomicUsize,
    pub(super) cancellations: Arc<Cancellations>,
}

/// One attempt to connect, for all who wait for it.
type Opening = Shared<BoxFuture<'static, Result<SendRequest<Bytes>, Arc<ConnectError>>>>;

impl Line {
    pub(super) fn new(address: SocketAddr, tls: Option<Tls>, windows: Windows) -> Self {
        let (most, cancellations) = (AtomicUsize::new(FIRST_MAX_STREAMS), Arc::default());
        Self { address, tls, windows, opening: Mutex::default(), most, cancellations }
    }

    /// Calls at once that the service takes on it, as far as is known: HTTP/2 would let any more wait, without a word.
    pub(super) fn most(&self) -> usize {
        self.most.load(Relaxed)
    }

    /// A connection that takes a request: the one that there is, or a new one when it has gone.
    pub(super) async fn connection(&self) -> Result<SendRequest<Bytes>, Status> {
        let opening = self.opening();
        if let Ok(connection) = self.opened(&opening).await?.ready().await {
            // HTTP/2 announces it after the connection is open, and may change it.
            let most = connection.current_max_send_streams().max(1);
            if most != self.most.load(Relaxed) {
                self.most.store(most, Relaxed);
            }
            return Ok(connection);
        }
        self.forget(&opening);
        self.opened(&self.opening()).await
    }

    /// How an attempt ends. A failure is the answer to those who waited for it, and the next call makes another attempt.
    async fn opened(&self, opening: &Opening) -> Result<SendRequest<Bytes>, Status> {
        opening.clone().await.map_err(|error| {
            self.forget(opening);
            not_sent(&error)
        })
    }

    fn opening(&self) -> Opening {
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        opening.get_or_insert_with(|| self.open()).clone()
    }

    /// Only that one: another call may have begun the next.
    fn forget(&self, failed: &Opening) {
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if opening.as_ref().is_some_and(|opening| opening.ptr_eq(failed)) {
            *opening = None;
        }
    }

    /// In a task: the call that needs the connection first may be given up, and others wait for it.
    fn open(&self) -> Opening {
        let opened = tokio::spawn(dial::open(self.address, self.tls.clone(), self.windows));
        let outcome = async {
            let opened = opened.await.unwrap_or_else(|error| Err(error.into()));
            opened.map_err(|error| Arc::new(ConnectError(error)))
        };
        outcome.boxed().shared()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use ::metrics::{
        Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
        set_default_local_recorder,
    };
    use chassis::tls::ClientTls;
    use futures_util::future::join_all;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// What ends a handshake with a certificate of an authority that the service does not trust (RFC 8446, section 6.2: fatal, `unknown_ca`).
    const UNKNOWN_CA: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 48];

    /// Adds up the failures of all reasons.
    #[derive(Default)]
    struct Failures(Arc<AtomicU64>);

    impl Recorder for Failures {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            if key.name() == "gateway_upstream_tls_failures_total" {
                Counter::from_arc(Arc::clone(&self.0))
            } else {
                Counter::noop()
            }
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[tokio::test]
    async fn a_connection_that_fails_for_a_certificate_counts_once_for_all_calls() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            // Open until the end: a socket that is closed with bytes unread is reset, and the alert is lost.
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let hello = stream.read(&mut [0; 4_096]).await.expect("the beginning of a handshake");
                assert!(hello > 0, "nothing was sent");
                stream.write_all(&UNKNOWN_CA).await.expect("the alert is sent");
                open.push(stream);
            }
        });
        let failures = Failures::default();
        // Of this thread, on which everything here runs.
        let _recorded = set_default_local_recorder(&failures);
        let tls = Tls::new("localhost".to_owned(), ClientTls::default()).expect("TLS");
        let line = Line::new(address, Some(tls), Windows::CALLS);
        let outcomes = join_all((0..50).map(|_| line.connection())).await;
        assert!(outcomes.iter().all(Result::is_err), "a connection was opened");
        assert_eq!(failures.0.load(Relaxed), 1);
    }
}
