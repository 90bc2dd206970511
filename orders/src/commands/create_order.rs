//! CreateOrder: the order and the request for its payment, in one transaction.

use std::collections::{HashMap, HashSet};

use chassis::status::{Fault, Reason};
use futures_util::future::BoxFuture;
use messaging::{envelope::Envelope, outbox::Outbox};
use sea_orm::{DbBackend, DbErr};
use storage::{Executor, group::Batch};
use uuid::Uuid;

use crate::{
    domain::order::Model as Order,
    messages,
    store::orders::{self, NewOrders},
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
    pub traceparent: Option<String>,
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
        orders::new(backend, &rows, &messages)
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
            let mut placed: HashSet<Uuid> = placed.into_iter().collect();
            let repeated: Vec<&Order> =
                orders_of(placings).filter(|order| !placed.contains(&order.id)).collect();
            let keys: Vec<_> = repeated.iter().filter_map(|order| key(order)).collect();
            let earlier = orders::find_requests(&executor, &keys).await?;
            let earlier: HashMap<_, &Order> =
                earlier.iter().filter_map(|order| Some((key(order)?, order))).collect();
            // What no key keeps out was placed by an earlier attempt, of which a part was a transaction by itself.
            let keyless = repeated.iter().filter(|order| order.request_id.is_none()).map(|order| order.id);
            placed.extend(orders::find_ids(&executor, &keyless.collect::<Vec<_>>()).await?);
            Ok(orders_of(placings)
                .map(|order| match placed.contains(&order.id) {
                    true => Ok((order.clone(), false)),
                    false => replay(order, key(order).and_then(|key| earlier.get(&key).copied())),
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
fn message(Placing { order, traceparent }: &Placing) -> Envelope {
    messages::placed(order, order.id, order.create_time).with_traceparent(traceparent.clone())
}

fn key(order: &Order) -> Option<(&str, &str)> {
    Some((&order.user_id, order.request_id.as_deref()?))
}

/// The first answer again, byte for byte, to the one who asks the same.
fn replay(asked: &Order, earlier: Option<&Order>) -> Placed {
    match earlier {
        Some(earlier) if earlier.fingerprint == asked.fingerprint => {
            // The same order again is that of an earlier attempt at this very call.
            Ok((earlier.as_placed(), earlier.id != asked.id))
        }
        Some(_) => {
            let text = "the idempotency key was used for a different request";
            Err(Fault::new(Reason::IdempotencyKeyReused, text))
        }
        // Nothing but a key can keep an order out: its id is new.
        None => Err(Fault::new(Reason::ConcurrentUpdate, "others changed the same data: try again")),
    }
}
