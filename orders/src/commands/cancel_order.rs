//! CancelOrder: the wish and the request to void the payment, in one transaction. Payments decides which of the two came first,
//! so the order itself does not end here.

use std::sync::Arc;

use chassis::{
    clock::Clock,
    status::{Fault, Reason},
};
use messaging::outbox::Outbox;
use sea_orm::DbErr;
use storage::{Database, Failure, Transaction};
use uuid::Uuid;

use crate::{
    domain::order::{Model as Order, Status},
    feed::Feed,
    messages,
    store::orders,
};

/// Asks for cancellations.
#[derive(Debug, Clone)]
pub struct CancelOrder {
    /// The orders.
    pub database: Database,
    /// Where the requests to void go.
    pub outbox: Outbox,
    /// Who tells those who watch.
    pub feed: Feed,
    /// Where orders take their time from, and messages their ids.
    pub clock: Arc<dyn Clock>,
}

/// An order to cancel.
#[derive(Debug, Clone)]
pub struct Cancelling {
    /// The order's id.
    pub order_id: Uuid,
    /// The idempotency key.
    pub request_id: Option<String>,
    /// The W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// The order with its cancellation requested, and whether an earlier call with the same key did that.
pub type Cancelled = Result<(Order, bool), Fault>;

impl CancelOrder {
    /// Requests the cancellation of an order.
    ///
    /// # Errors
    /// As [`Database::transact`]; refusals of the domain are in the reply.
    pub async fn cancel(&self, asked: Cancelling) -> Result<Cancelled, Failure> {
        match self.attempt(asked.clone()).await {
            // A call at the same moment with the same key, about another order: by now it can be seen.
            Err(Failure::Refused(_)) => self.attempt(asked).await,
            settled => settled,
        }
    }

    async fn attempt(&self, asked: Cancelling) -> Result<Cancelled, Failure> {
        let this = self.clone();
        let cancelled = self
            .database
            .transact(move |transaction| {
                let (this, asked) = (this.clone(), asked.clone());
                Box::pin(async move { this.apply(transaction, asked).await })
            })
            .await?;
        self.outbox.wake();
        if let Ok((order, false)) = &cancelled {
            self.feed.tell(|| vec![order.clone()]);
        }
        Ok(cancelled)
    }

    async fn apply(&self, transaction: &Transaction, asked: Cancelling) -> Result<Cancelled, DbErr> {
        let Some(order) = orders::lock(transaction, &[asked.order_id]).await?.pop() else {
            let text = format!("there is no order {}", asked.order_id);
            return Ok(Err(Fault::new(Reason::OrderNotFound, text)));
        };
        if let Some(key) = &asked.request_id {
            match orders::find_cancellation(transaction, &order.user_id, key).await? {
                Some(earlier) if earlier.id != order.id => {
                    let text = "the idempotency key was used for a different request";
                    return Ok(Err(Fault::new(Reason::IdempotencyKeyReused, text)));
                }
                Some(earlier) => return Ok(Ok((earlier.as_cancel_requested().unwrap_or(order), true))),
                None => {}
            }
        }
        if order.status != Status::New {
            let text = format!("order {} has ended", order.id);
            return Ok(Err(Fault::new(Reason::OrderNotCancellable, text)));
        }
        if order.cancel_request_time.is_some() {
            return Ok(Ok((order, false)));
        }
        // Another process, whose clock is ahead, may have placed the order.
        let now = self.clock.now().max(order.update_time);
        let order = Order {
            cancel_request_time: Some(now),
            cancel_request_id: asked.request_id,
            update_time: now,
            version: order.version + 1,
            ..order
        };
        orders::request_cancellation(transaction, &order).await?;
        let void = messages::void(&order, self.clock.as_ref(), now).with_traceparent(asked.traceparent);
        self.outbox.write(transaction, &[void]).await?;
        Ok(Ok((order, false)))
    }
}
