//! The whole way of one order, for an operator: what orders knows, what payments says, and what follows from both.

pub mod facts;
pub mod payments;
pub mod stations;
pub mod cause;

use std::sync::Arc;

use chassis::clock::{Clock, timestamp};
use http::HeaderMap;
use ordermesh::{orders::v1::OrderExplanation, payments::v1::ExplainPaymentRequest};
use service::whereabouts::Whereabouts;

use self::{facts::Facts, payments::Payments};
use crate::{grpc::wire, store::entity::order::Model as Order};

/// Explains orders.
#[derive(Debug, Clone)]
pub struct Explainer {
    /// Where the messages of orders are.
    pub whereabouts: Whereabouts,
    /// Who knows the other half.
    pub payments: Payments,
    /// Up to when ages are.
    pub clock: Arc<dyn Clock>,
}

impl Explainer {
    /// The way of an order, for who has sent these headers.
    pub async fn explain(&self, order: Order, headers: &HeaderMap) -> OrderExplanation {
        let id = order.id.to_string();
        let request = ExplainPaymentRequest {
            order_id: id.clone(),
            user_id: order.user_id.clone(),
            message_ids: order.asked_message_id.iter().map(ToString::to_string).collect(),
        };
        let (own, payments) =
            tokio::join!(self.whereabouts.of(&order.user_id, &id), self.payments.explain(&request, headers),);
        let facts = Facts { order, now: self.clock.now(), own, payments };
        OrderExplanation {
            order: Some(wire::order(&facts.order)),
            stations: stations::of(&facts),
            stuck: (!facts.has_ended()).then(|| cause::of(&facts)),
            payments_error: facts.payments.as_ref().err().cloned().unwrap_or_default(),
            explain_time: Some(timestamp(facts.now)),
        }
    }
}
