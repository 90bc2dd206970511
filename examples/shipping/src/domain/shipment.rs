//! The shipment of an order.

use chassis::clock::Micros;
use ordermesh::payments::v1::{PaymentDecided, payment::Outcome};
use uuid::Uuid;

/// An order that is to be shipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// The order; it is shipped once.
    pub order_id: Uuid,
    /// Who gets it.
    pub user_id: String,
    /// When it was learnt that the order is paid, in microseconds since the Unix epoch.
    pub create_time: Micros,
}

impl Shipment {
    /// The shipment of an order that is paid; `None` of another one, which ends cancelled.
    ///
    /// # Errors
    /// For a decision that does not name its order.
    pub fn of(decided: PaymentDecided, now: Micros) -> Result<Option<Self>, String> {
        let payment = decided.payment.ok_or("the message holds no payment")?;
        if payment.outcome() != Outcome::Paid {
            return Ok(None);
        }
        let order_id = &payment.order_id;
        let order_id = order_id.parse().map_err(|_| format!("order_id {order_id:?} is no UUID"))?;
        Ok(Some(Self { order_id, user_id: payment.user_id, create_time: now }))
    }
}
