//! Watching: what an order has been, then what it becomes, without a gap between the two.

use std::{collections::HashMap, panic::AssertUnwindSafe};

use chassis::status::{Fault, Reason};
use futures_util::FutureExt as _;
use ordermesh::orders::v1::OrderEvent;
use service::fault;
use storage::Database;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, codegen::BoxStream};
use uuid::Uuid;

use super::wire;
use crate::{
    feed::{Changes, Feed, Update, Watch},
    store::{
        changes,
        entity::order::{Model as Order, Status as OrderStatus},
        orders,
    },
};

/// Events that wait for a slow reader at most: it then holds back its own watch, and nobody else's.
const WAITING: usize = 16;

/// The events of a watch.
pub(crate) type Events = BoxStream<OrderEvent>;
/// Orders that a board is shown before they are read, at most.
const EARLY: usize = 10_000;
type Sender = mpsc::Sender<Result<OrderEvent, Status>>;

/// Why a watch ends: by a fault, or because its reader has gone.
enum End {
    Fault(Fault),
    ReaderGone,
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Runs a watch until it ends or its reader goes.
fn spawn<F: Future<Output = Result<(), End>> + Send + 'static>(follow: impl FnOnce(Sender) -> F) -> Events {
    let (sender, events) = mpsc::channel(WAITING);
    let follow = AssertUnwindSafe(follow(sender.clone())).catch_unwind();
    tokio::spawn(async move {
        let ended = tokio::select! {
            ended = follow => ended,
            () = sender.closed() => return,
        };
        let fault = match ended {
            Ok(Ok(()) | Err(End::ReaderGone)) => return,
            Ok(Err(End::Fault(fault))) => fault,
            // An end without a word would look like that of the order.
            Err(_) => Fault::new(Reason::Internal, "internal error"),
        };
        let _reader_gone = sender.send(Err(fault.into())).await;
    });
    Box::pin(ReceiverStream::new(events))
}

/// Every version of an order after `after`, up to the one that ends it. The caller began to `watch` before it read `order`, so
/// that nothing happens unseen in between.
pub(crate) fn one(database: Database, mut watch: Watch, mut order: Order, after: i64) -> Events {
    spawn(async move |sender| {
        let mut last = after;
        loop {
            for version in order.versions().into_iter().filter(|version| version.version > last) {
                send(&sender, &version).await?;
            }
            last = last.max(order.version);
            if order.status != OrderStatus::New {
                return Ok(());
            }
            order = changed(&database, &mut watch, order.id).await?;
        }
    })
}

/// Waits until an order may have changed, and returns it as it is.
async fn changed(database: &Database, watch: &mut Watch, id: Uuid) -> Result<Order, Fault> {
    loop {
        match watch.next().await {
            Update::Changes(changes) => {
                if let Some(order) = changes.orders.get(&id) {
                    return Ok(order.clone());
                }
            }
            Update::Own(orders) => {
                if let Some(order) = orders.iter().find(|order| order.id == id) {
                    return Ok(order.clone());
                }
            }
            Update::Missed => {
                let found = orders::find(database.read(), id, None).await.map_err(fault)?;
                return found.ok_or_else(|| Fault::new(Reason::OrderNotFound, "the order is gone"));
            }
            Update::Closing => return Err(closing()),
        }
    }
}

/// What a board shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board {
    pub(crate) user_id: Option<String>,
    pub(crate) status: Option<OrderStatus>,
}

impl Board {
    fn shows(&self, order: &Order) -> bool {
        self.user_id.as_ref().is_none_or(|user_id| *user_id == order.user_id)
            && self.status.is_none_or(|status| status == order.status)
    }
}

/// The changes of many orders from now on.
pub(crate) fn many(database: Database, feed: &Feed, board: Board) -> Events {
    let mut watch = feed.watch();
    spawn(async move |sender| {
        let (mut from, mut early) = (watch.from, Early::default());
        loop {
            match watch.next().await {
                Update::Changes(changes) => {
                    if changes.to < from {
                        // The database has moved, and the numbers are those of another server.
                        (from, early) = (changes.from, Early::default());
                    }
                    catch_up(&database, &board, &sender, (&mut from, changes.from), &early).await?;
                    show(&board, &sender, &changes, &early).await?;
                    from = from.max(changes.to);
                    early.orders.retain(|_, early| early.change_number >= from);
                }
                Update::Own(orders) => {
                    for order in orders.iter().filter(|order| board.shows(order)) {
                        if order.change_number >= from && early.notes(order) {
                            send(&sender, order).await?;
                        }
                    }
                }
                // The next changes show where the gap ends.
                Update::Missed => {}
                Update::Closing => return Err(closing().into()),
            }
        }
    })
}

/// What a board was shown before its change was read.
#[derive(Debug, Default)]
struct Early {
    orders: HashMap<Uuid, Shown>,
}

#[derive(Debug)]
struct Shown {
    change_number: i64,
    version: i64,
}

impl Early {
    /// Whether an order may be shown before its change is read. Not where so many wait to be read that they would take too much memory: then
    /// it is shown when it is read.
    fn notes(&mut self, order: &Order) -> bool {
        if self.orders.len() >= EARLY || !self.misses(order) {
            return false;
        }
        let shown = Shown { change_number: order.change_number, version: order.version };
        self.orders.insert(order.id, shown);
        true
    }

    /// Whether this version of an order was not shown.
    fn misses(&self, order: &Order) -> bool {
        self.orders.get(&order.id).is_none_or(|shown| shown.version < order.version)
    }
}

/// Shows what a slow board has missed, read from the database.
async fn catch_up(
    database: &Database,
    board: &Board,
    sender: &Sender,
    (from, to): (&mut i64, i64),
    early: &Early,
) -> Result<(), End> {
    while *from < to {
        let read = changes::since(database.read(), *from, to).await;
        let (orders, to) = read.map_err(fault)?;
        let orders = orders.into_iter().map(|order| (order.id, order)).collect();
        show(board, sender, &Changes { from: *from, to, orders }, early).await?;
        *from = to;
    }
    Ok(())
}

async fn show(board: &Board, sender: &Sender, changes: &Changes, early: &Early) -> Result<(), End> {
    for order in changes.orders.values().filter(|order| board.shows(order)) {
        if early.misses(order) {
            send(sender, order).await?;
        }
    }
    Ok(())
}

async fn send(sender: &Sender, version: &Order) -> Result<(), End> {
    let event = OrderEvent { order: Some(wire::order(version)) };
    sender.send(Ok(event)).await.map_err(|_gone| End::ReaderGone)
}

fn closing() -> Fault {
    Fault::new(Reason::UpstreamUnavailable, "the service stops: watch again from the last version seen")
}
