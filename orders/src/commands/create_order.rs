//! CreateOrder: the order and the request for its payment, in one transaction.

use std::collections::{HashMap, HashSet};

use chassis::{
    status::{Fault, Reason},
    trace::Context,
};
use futures_util::future::BoxFuture;
use messaging::{envelope::Envelope, outbox::Outbox};
use sea_orm::{DbBackend, DbErr};
use service::{fault, request::key_reused};
use storage::{Executor, group::Batch};
use uuid::Uuid;

use crate::{
    messages,
    store::{
        entity::order::Model as Order,
        orders::{self, NewOrders},
    },
};

/// Places orders, a group in a transaction.
#[derive(Debug, Clone)]
pub struct CreateOrder {
    /// Where the requests for payment go.
    pub outbox: Outbox,
}

/// An order to place.
#[derive(Debug, Clone)]
pub struct Placing {
    /// The order as it is to be stored.
    pub order: Order,
    /// The W3C trace context of the request.
    pub trace: Option<Context>,
}

/// The order as it was placed, and whether that was an earlier call with the same key.
pub type Placed = Result<(Order, bool), Fault>;

impl Batch for CreateOrder {
    type Request = Placing;
    type Reply = Placed;
    type Prepared = NewOrders;

    fn prepare(&self, backend: DbBackend, placings: &[Placing]) -> Result<NewOrders, DbErr> {
        let rows: Vec<&Order> = orders_of(placings).collect();
        let messages: Vec<Envelope> = placings.iter().map(message).collect();
        orders::new(backend, &rows, messages)
    }

    fn is_one_statement(&self, prepared: &NewOrders) -> bool {
        prepared.are_one_statement()
    }

    fn apply<'t>(
        &'t self,
        executor: Executor<'t>,
        placings: &'t [Placing],
        prepared: &'t NewOrders,
    ) -> BoxFuture<'t, Result<Vec<Placed>, DbErr>> {
        Box::pin(async move {
            let placed = prepared.insert(&executor).await?;
            let placed: HashSet<Uuid> = placed.into_iter().collect();
            let repeated: Vec<&Order> =
                orders_of(placings).filter(|order| !placed.contains(&order.id)).collect();
            let earlier = match (Earlier::find(&executor, &repeated).await, executor) {
                // The others are stored, each together with its message, and their callers have to learn so.
                (Err(error), Executor::Connections(_)) => Err(fault(error)),
                (found, _) => Ok(found?),
            };
            Ok(orders_of(placings)
                .map(|order| match &earlier {
                    _ if placed.contains(&order.id) => Ok((order.clone(), false)),
                    Ok(earlier) => earlier.reply(order),
                    Err(fault) => Err(fault.clone()),
                })
                .collect())
        })
    }

    fn committed(&self) {
        self.outbox.wake();
    }
}

fn orders_of(placings: &[Placing]) -> impl Iterator<Item = &Order> {
    placings.iter().map(|placing| &placing.order)
}

/// Asks for the payment of an order.
fn message(Placing { order, trace }: &Placing) -> Envelope {
    messages::in_trace(messages::placed(order, order.id, order.create_time), trace.as_ref())
}

fn key(order: &Order) -> Option<(&str, &str)> {
    Some((&order.user_id, order.request_id.as_deref()?))
}

/// What was stored before, of orders that could not be inserted.
struct Earlier {
    by_key: HashMap<(String, String), Order>,
    /// Those without a key were placed by an earlier attempt, of which a part was a transaction by itself.
    keyless: HashSet<Uuid>,
}

impl Earlier {
    async fn find(executor: &Executor<'_>, repeated: &[&Order]) -> Result<Self, DbErr> {
        let keys: Vec<_> = repeated.iter().filter_map(|order| key(order)).collect();
        let with_key = orders::find_requests(executor, &keys).await?;
        let owned = |order: &Order| key(order).map(|(user, request)| (user.to_owned(), request.to_owned()));
        let by_key = with_key.into_iter().filter_map(|order| Some((owned(&order)?, order))).collect();
        let keyless = repeated.iter().filter(|order| order.request_id.is_none()).map(|order| order.id);
        let keyless = orders::find_ids(executor, &keyless.collect::<Vec<_>>()).await?;
        Ok(Self { by_key, keyless: keyless.into_iter().collect() })
    }

    fn reply(&self, order: &Order) -> Placed {
        if self.keyless.contains(&order.id) {
            return Ok((order.clone(), false));
        }
        let key = key(order).map(|(user, request)| (user.to_owned(), request.to_owned()));
        replay(order, key.and_then(|key| self.by_key.get(&key)))
    }
}

/// The first answer again, byte for byte, to the one who sends the same request.
fn replay(order: &Order, earlier: Option<&Order>) -> Placed {
    match earlier {
        Some(earlier) if earlier.fingerprint == order.fingerprint => {
            // The same order again is that of an earlier attempt at this very call.
            Ok((earlier.as_placed(), earlier.id != order.id))
        }
        Some(_) => Err(key_reused()),
        // Nothing but a key can keep an order out: its id is new.
        None => Err(Fault::new(Reason::ConcurrentUpdate, "others changed the same data: try again")),
    }
}
