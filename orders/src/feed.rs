//! The feed: changes of orders as they are committed, by this process or by others on the same database, for those who watch.
//!
//! One task reads them and tells every watcher, so a thousand watchers cost one query. What a slow watcher misses is not kept for
//! it: it is told so, and reads the database. Ends and cancellations that this process has written itself are told at once, and
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

use chassis::status::Chain;
use storage::{Database, Failure};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{domain::order::Model as Order, store::changes};

/// How soon a change is seen that is not told at once.
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

/// What watchers are told.
#[derive(Debug, Clone)]
enum Told {
    /// What was read.
    Read(Arc<Changes>),
    /// What this process has just committed.
    Own(Arc<[Order]>),
}

/// The feed of one process. Cloning shares it.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    database: Database,
    watchers: broadcast::Sender<Told>,
    bell: Notify,
    /// Every change below this number was told.
    told: AtomicI64,
    closing: CancellationToken,
}

impl Feed {
    /// A feed that starts with the changes of now on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn new(database: Database) -> Result<Self, Failure> {
        let told = AtomicI64::new(changes::settled(database.read()).await?);
        let (watchers, _) = broadcast::channel(BACKLOG);
        let shared =
            Shared { database, watchers, bell: Notify::new(), told, closing: CancellationToken::new() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Whether anyone watches.
    pub(crate) fn is_watched(&self) -> bool {
        self.shared.watchers.receiver_count() > 0
    }

    /// Tells those who watch of orders as this process has just committed them, with the numbers of these changes.
    pub(crate) fn tell(&self, orders: impl FnOnce() -> Vec<Order>) {
        if self.is_watched() {
            // Who has left meanwhile need not be told.
            let _left = self.shared.watchers.send(Told::Own(orders().into()));
        }
    }

    /// Tells changes until `stop`, and ends every watch then. A database that is away does not end it.
    ///
    /// # Errors
    /// None.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let _closing = self.shared.closing.clone().drop_guard();
        while !stop.is_cancelled() {
            if let Err(failure) = self.step().await {
                tracing::warn!(error = %Chain(&failure), "cannot read the changes of orders: trying again");
            }
            let rest = if self.is_watched() { POLL } else { IDLE };
            tokio::select! {
                () = self.shared.bell.notified() => {}
                () = tokio::time::sleep(rest) => {}
                () = stop.cancelled() => {}
            }
        }
        Ok(())
    }

    async fn step(&self) -> Result<(), Failure> {
        let Shared { database, watchers, told, .. } = &*self.shared;
        // Read before the look at who watches: whoever comes after that look reads an order later than this, too.
        let settled = changes::settled(database.read()).await?;
        let mut from = told.load(Ordering::Acquire);
        while from < settled {
            let to = if watchers.receiver_count() == 0 {
                settled
            } else {
                let (orders, to) = changes::since(database.read(), from, settled).await?;
                let orders = orders.into_iter().map(|order| (order.id, order)).collect();
                // Who has left meanwhile need not be told.
                let _left = watchers.send(Told::Read(Arc::new(Changes { from, to, orders })));
                to
            };
            told.store(to, Ordering::Release);
            from = to;
        }
        Ok(())
    }

    /// Every change that is committed from now on.
    pub(crate) fn watch(&self) -> Watch {
        let changes = self.shared.watchers.subscribe();
        // The task may be in its long sleep.
        self.shared.bell.notify_one();
        Watch {
            changes,
            closing: self.shared.closing.clone(),
            from: self.shared.told.load(Ordering::Acquire),
        }
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feed")
    }
}

/// One watcher's ear.
#[derive(Debug)]
pub(crate) struct Watch {
    changes: broadcast::Receiver<Told>,
    closing: CancellationToken,
    /// Where it began.
    pub(crate) from: i64,
}

/// What a watcher hears.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Changes.
    Changes(Arc<Changes>),
    /// Changes that this process has just committed. They come again.
    Own(Arc<[Order]>),
    /// It was too slow: changes were missed.
    Missed,
    /// The process stops.
    Closing,
}

impl Watch {
    pub(crate) async fn hear(&mut self) -> Heard {
        let changes = tokio::select! {
            changes = self.changes.recv() => changes,
            () = self.closing.cancelled() => return Heard::Closing,
        };
        match changes {
            Ok(Told::Read(changes)) => Heard::Changes(changes),
            Ok(Told::Own(orders)) => Heard::Own(orders),
            Err(broadcast::error::RecvError::Lagged(_)) => Heard::Missed,
            Err(broadcast::error::RecvError::Closed) => Heard::Closing,
        }
    }
}
