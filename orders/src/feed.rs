//! The feed: changes of orders as they are committed, by this process or by others on the same database, for those who watch.
//!
//! One task reads them and sends them to every watcher, so a thousand watchers cost one query. What a slow watcher misses is not kept for
//! it: it is notified of that, and reads the database. When the database has moved to another server, where changes have other numbers, the feed
//! begins again there, and who watches an order reads it. Ends and cancellations that this process has written itself are published at once, and
//! a second time when they are read: so nothing depends on the first.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chassis::{
    clock::{Clock as _, SystemClock},
    status::Chain,
};
use storage::{Database, Failure, Outage};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::{
    changes::{self, Numbers},
    entity::order::Model as Order,
};

/// How soon a change is seen that is not published at once.
const POLL: Duration = Duration::from_millis(100);
/// While nobody watches, only the place in the numbers is kept up.
const IDLE: Duration = Duration::from_secs(1);
/// Batches that a watcher may be behind before it has to read the database.
const BACKLOG: usize = 64;

/// Changes with numbers of a range.
#[derive(Debug)]
pub(crate) struct Changes {
    /// The first number.
    pub(crate) from: i64,
    /// The number after the last.
    pub(crate) to: i64,
    /// The orders that changed, as they are now.
    pub(crate) orders: BTreeMap<Uuid, Order>,
}

/// What watchers receive.
#[derive(Debug, Clone)]
enum Notice {
    /// What was read.
    Read(Arc<Changes>),
    /// What this process has just committed.
    Own(Arc<[Order]>),
    /// The numbers of changes are those of another server from now on: changes may have been missed.
    Moved,
}

/// The feed of one process. Cloning shares it.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    database: Database,
    watchers: broadcast::Sender<Notice>,
    wake_up: Notify,
    /// Every change below this number was published.
    published: AtomicI64,
    /// The server that gave these numbers: [`changes::Numbers::server`].
    server: AtomicI64,
    /// When they were looked at last, in microseconds since the Unix epoch.
    looked: AtomicI64,
    closing: CancellationToken,
}

impl Feed {
    /// A feed that starts with the changes of now on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn new(database: Database) -> Result<Self, Failure> {
        let now = changes::numbers(database.read()).await?;
        let (published, server) = (AtomicI64::new(now.settled), AtomicI64::new(now.server));
        let looked = AtomicI64::new(SystemClock.now());
        let (watchers, _) = broadcast::channel(BACKLOG);
        let (wake_up, closing) = (Notify::new(), CancellationToken::new());
        let shared = Shared { database, watchers, wake_up, published, server, looked, closing };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Whether anyone watches.
    pub(crate) fn is_watched(&self) -> bool {
        self.shared.watchers.receiver_count() > 0
    }

    /// Publishes orders to those who watch as this process has just committed them, with the numbers of these changes.
    pub(crate) fn publish(&self, orders: impl FnOnce() -> Vec<Order>) {
        if self.is_watched() {
            // Who has left meanwhile needs nothing.
            let _left = self.shared.watchers.send(Notice::Own(orders().into()));
        }
    }

    /// Publishes changes until `stop`, and ends every watch then. A database that is away does not end it.
    ///
    /// # Errors
    /// None.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let _closing = self.shared.closing.clone().drop_guard();
        let mut outage = Outage::default();
        while !stop.is_cancelled() {
            match self.step().await {
                Ok(()) if outage.ends() => tracing::info!("the changes of orders are read again"),
                Err(failure) if outage.fails() => {
                    tracing::warn!(error = %Chain(&failure), "cannot read the changes of orders: trying again");
                }
                Ok(()) | Err(_) => {}
            }
            let rest = if self.is_watched() { POLL } else { IDLE };
            tokio::select! {
                () = self.shared.wake_up.notified() => {}
                () = tokio::time::sleep(rest) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(())
    }

    async fn step(&self) -> Result<(), Failure> {
        let Shared { database, watchers, published, .. } = &*self.shared;
        // Read before the look at who watches: whoever comes after that look reads an order later than this, too.
        let (now, mut from) = (SystemClock.now(), published.load(Ordering::Acquire));
        let Numbers { settled, server, foreign } = changes::numbers(database.read()).await?;
        let looked = self.shared.looked.load(Ordering::Relaxed);
        if settled < from {
            tracing::warn!(
                "the database is on another server: the changes of orders are read from now on there"
            );
            let missed = changes::of_move(database.read(), (settled, from), looked).await?;
            let orders = missed.into_iter().map(|order| (order.id, order)).collect();
            from = settled;
            published.store(from, Ordering::Release);
            // Who has left meanwhile needs nothing.
            let _left = watchers.send(Notice::Moved);
            let _left = watchers.send(Notice::Read(Arc::new(Changes { from, to: from, orders })));
        } else if self.shared.server.load(Ordering::Relaxed) != server {
            tracing::warn!(
                "the database is on another server, whose numbers go on: watchers of an order read it"
            );
            let _left = watchers.send(Notice::Moved);
        }
        self.shared.server.store(server, Ordering::Relaxed);
        self.shared.looked.store(now, Ordering::Relaxed);
        if foreign > 0 {
            self.clear_foreign().await?;
        }
        while from < settled {
            let to = if watchers.receiver_count() == 0 {
                settled
            } else {
                let (orders, to) = changes::since(database.read(), from, settled).await?;
                let orders = orders.into_iter().map(|order| (order.id, order)).collect();
                // Who has left meanwhile needs nothing.
                let _left = watchers.send(Notice::Read(Arc::new(Changes { from, to, orders })));
                to
            };
            published.store(to, Ordering::Release);
            from = to;
        }
        Ok(())
    }

    async fn clear_foreign(&self) -> Result<(), Failure> {
        loop {
            let clear = self
                .shared
                .database
                .execute(|executor| Box::pin(async move { changes::clear_foreign(&executor).await }));
            if clear.await? == 0 {
                return Ok(());
            }
        }
    }

    /// Every change that is committed from now on.
    pub(crate) fn watch(&self) -> Watch {
        let changes = self.shared.watchers.subscribe();
        // The task may be in its long sleep.
        self.shared.wake_up.notify_one();
        Watch {
            changes,
            closing: self.shared.closing.clone(),
            from: self.shared.published.load(Ordering::Acquire),
        }
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feed")
    }
}

/// One subscription of a watcher.
#[derive(Debug)]
pub(crate) struct Watch {
    changes: broadcast::Receiver<Notice>,
    closing: CancellationToken,
    /// Where it began.
    pub(crate) from: i64,
}

/// What a watcher receives.
#[derive(Debug)]
pub(crate) enum Update {
    /// Changes.
    Changes(Arc<Changes>),
    /// Changes that this process has just committed. They come again.
    Own(Arc<[Order]>),
    /// Changes were missed: it was too slow, or the database has moved.
    Missed,
    /// The process stops.
    Closing,
}

impl Watch {
    pub(crate) async fn next(&mut self) -> Update {
        let changes = tokio::select! {
            changes = self.changes.recv() => changes,
            () = self.closing.cancelled() => return Update::Closing,
        };
        match changes {
            Ok(Notice::Read(changes)) => Update::Changes(changes),
            Ok(Notice::Own(orders)) => Update::Own(orders),
            Ok(Notice::Moved) => Update::Missed,
            Err(broadcast::error::RecvError::Lagged(_)) => Update::Missed,
            Err(broadcast::error::RecvError::Closed) => Update::Closing,
        }
    }
}
