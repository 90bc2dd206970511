//! What orders tells payments: each message is written into the outbox by the transaction that causes it.

use chassis::clock::{Clock, Micros};
use messaging::envelope::Envelope;
use ordermesh::{
    orders::v1::OrderPlaced,
    payments::v1::{VoidPayment, payment::Reason},
};

use crate::domain::order::Model as Order;

/// Asks for the payment of an order that was just placed.
#[must_use]
pub fn placed(order: &Order, clock: &dyn Clock) -> Envelope {
    let payload = OrderPlaced {
        order_id: order.id.to_string(),
        user_id: order.user_id.clone(),
        amount: order.amount,
        currency_code: order.currency_code.clone(),
    };
    Envelope::new(clock.new_id(), &order.user_id, &payload, order.create_time)
}

/// Asks that an order be never paid. It holds all that a decision needs, so it may overtake the request for payment.
#[must_use]
pub fn void(order: &Order, clock: &dyn Clock, now: Micros) -> Envelope {
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
    Envelope::new(clock.new_id(), &order.user_id, &payload, now)
}
