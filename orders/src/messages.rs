//! What orders publishes for payments: each message is written into the outbox by the transaction that causes it.

use chassis::{clock::Micros, trace::Context};
use messaging::envelope::Envelope;
use ordermesh::{
    orders::v1::OrderPlaced,
    payments::v1::{VoidPayment, payment::Reason},
};
use uuid::Uuid;

use crate::store::entity::order::Model as Order;

/// Asks for the payment of an order, on behalf of who has placed it: with its own id as that of the message when it was just placed, and with another one whenever it is
/// asked again, or the inbox of payments would keep the request from being answered.
#[must_use]
pub fn placed(order: &Order, id: Uuid, now: Micros) -> Envelope {
    let payload = OrderPlaced {
        order_id: order.id.to_string(),
        user_id: order.user_id.clone(),
        amount: order.amount,
        currency_code: order.currency_code.clone(),
        x_request_id: order.x_request_id.clone().unwrap_or_default(),
    };
    let message = Envelope::new(id, &order.user_id, &payload, now);
    message.on_behalf_of(order.subject.as_deref(), order.token_id.as_deref())
}

/// Asks that an order be never paid. It holds all that a decision needs, so it may overtake the request for payment.
#[must_use]
pub fn void(order: &Order, id: Uuid, now: Micros) -> Envelope {
    // Who asked first gives the reason: the order may expire while a cancellation is on its way.
    let reason =
        if order.cancel_request_time.is_some() { Reason::UserRequested } else { Reason::PaymentExpired };
    let payload = VoidPayment {
        order_id: order.id.to_string(),
        user_id: order.user_id.clone(),
        amount: order.amount,
        currency_code: order.currency_code.clone(),
        reason: reason.into(),
    };
    Envelope::new(id, &order.user_id, &payload, now)
}

/// A message in the trace of the request that causes it.
#[must_use]
pub fn in_trace(message: Envelope, trace: Option<&Context>) -> Envelope {
    let state = trace.and_then(|trace| trace.state.as_deref());
    message.with_trace(trace.map(|trace| trace.parent.clone()), state)
}
