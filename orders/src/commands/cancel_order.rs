//! CancelOrder: the wish and the request to void the payment, in one transaction. Payments decides which of the two came first,
//! so the order itself does not end here.

use std::sync::Arc;

use auth::Access;
use chassis::{
    clock::Clock,
    status::{Fault, Reason},
    trace::Context,
};
use messaging::{envelope::Envelope, outbox::Outbox};
use sea_orm::{ConnectionTrait as _, DbErr};
use service::request::key_reused;
use storage::{Database, Failure, Transaction, rows};
use uuid::Uuid;

use crate::{
    feed::Feed,
    messages,
    store::{
        cancellations,
        entity::order::{Model as Order, Status},
        orders,
    },
};

/// Asks for cancellations.
#[derive(Debug, Clone)]
pub struct CancelOrder {
    /// The orders.
    pub database: Database,
    /// Where the requests to void go.
    pub outbox: Outbox,
    /// Who publishes to those who watch.
    pub feed: Feed,
    /// Where orders take their time from, and messages their ids.
    pub clock: Arc<dyn Clock>,
}

/// An order to cancel.
#[derive(Debug, Clone)]
pub struct Cancelling {
    /// The order's id.
    pub order_id: Uuid,
    /// Whose order it may be.
    pub access: Access,
    /// The idempotency key.
    pub request_id: Option<String>,
    /// The versions that the order may have; `None` for any.
    pub versions: Option<Vec<i64>>,
    /// The W3C trace context of the request.
    pub trace: Option<Context>,
}

/// The order with its cancellation requested, and whether an earlier call with the same key did that.
pub type Cancelled = Result<(Order, bool), Fault>;

impl CancelOrder {
    /// Requests the cancellation of an order.
    ///
    /// # Errors
    /// As [`Database::transact`]; refusals of the domain are in the reply.
    pub async fn cancel(&self, request: Cancelling) -> Result<Cancelled, Failure> {
        let this = self.clone();
        let cancelled = self.database.transact(move |transaction| {
            let (this, request) = (this.clone(), request.clone());
            Box::pin(async move { this.apply(transaction, request).await })
        });
        Ok(match cancelled.await? {
            Applied::Requested(order) => {
                self.outbox.wake();
                self.feed.publish(|| vec![order.clone()]);
                Ok((order, false))
            }
            // Who watches has received it before: a version is published once.
            Applied::Before(order, replayed) => Ok((order, replayed)),
            Applied::Refused(fault) => Err(fault),
        })
    }

    async fn apply(&self, transaction: &Transaction, request: Cancelling) -> Result<Applied, DbErr> {
        let Some(order) = orders::lock_one(transaction, request.order_id, request.access.owner()).await?
        else {
            let text = format!("there is no order {}", request.order_id);
            return Ok(Applied::refused(Reason::OrderNotFound, text));
        };
        let backend = transaction.get_database_backend();
        if let Some(key) = &request.request_id {
            match cancellations::find(transaction, &order.user_id, key).await? {
                Some(earlier) if earlier != order.id => return Ok(Applied::Refused(key_reused())),
                Some(_) => return Ok(Applied::Before(order.as_cancel_requested().unwrap_or(order), true)),
                None => {}
            }
        }
        if request.versions.as_ref().is_some_and(|versions| !versions.contains(&order.version)) {
            let text = format!("order {} has version {}", order.id, order.version);
            return Ok(Applied::refused(Reason::PreconditionFailed, text));
        }
        if order.status != Status::New {
            return Ok(Applied::refused(
                Reason::OrderNotCancellable,
                format!("order {} has ended", order.id),
            ));
        }
        if let Some(key) = &request.request_id {
            // Before all else, by itself: who finds the key taken by a call at the same moment writes nothing, and is tried again.
            let key = cancellations::remember(backend, &order.user_id, key, order.id)?;
            rows::write(transaction, &key).await?;
        }
        if order.cancel_request_time.is_some() {
            return Ok(Applied::Before(order, false));
        }
        let (order, void) = self.requested(order, request);
        let mut writes = vec![orders::cancellation(backend, &order)];
        writes.extend(self.outbox.writes(backend, vec![void])?);
        rows::write(transaction, &writes).await?;
        Ok(Applied::Requested(order))
    }

    /// The order with its cancellation requested, and the message that requests it of payments.
    fn requested(&self, order: Order, request: Cancelling) -> (Order, Envelope) {
        // Another process, whose clock is ahead, may have placed the order.
        let now = self.clock.now().max(order.update_time);
        let message_id = self.clock.new_id();
        let order = Order {
            cancel_request_time: Some(now),
            cancel_request_id: request.request_id,
            update_time: now,
            version: order.version + 1,
            asked_message_id: Some(message_id),
            ..order
        };
        let order = Order { ask_due_time: order.next_ask(now), ..order };
        let void = messages::in_trace(messages::void(&order, message_id, now), request.trace.as_ref());
        (order, void)
    }
}

/// What a transaction came to.
enum Applied {
    /// The cancellation is requested by it.
    Requested(Order),
    /// It was requested before; whether by a call with the same key.
    Before(Order, bool),
    Refused(Fault),
}

impl Applied {
    fn refused(reason: Reason, text: impl Into<String>) -> Self {
        Self::Refused(Fault::new(reason, text))
    }
}
