//! The whole way of one order, for an operator: what orders knows, what payments says, and what follows from both.

pub mod position;
pub mod facts;
pub mod payments;
pub mod stations;
pub mod cause;

use std::sync::Arc;

use chassis::clock::{Clock, Micros, timestamp};
use http::HeaderMap;
use ordermesh::{orders::v1::OrderExplanation, payments::v1::ExplainPaymentRequest};
use prost_types::Timestamp;
use service::whereabouts::Whereabouts;

use self::{
    facts::Facts,
    payments::Payments,
    position::{Discard, Position, asked},
};
use crate::{
    grpc::{differences::sentence, wire},
    store::{differences, entity::order::Model as Order},
};

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
        let mut facts = Facts {
            order,
            now: self.clock.now(),
            own,
            payments,
            position: Position::default(),
            discards: Vec::new(),
            difference: None,
        };
        if facts.own_error().is_none() {
            let found = differences::find(self.whereabouts.database.read(), facts.order.id);
            let found = self.whereabouts.within(async { Ok(found.await?) }).await.ok().flatten();
            facts.difference = found.as_ref().map(sentence);
        }
        if !facts.has_ended() && facts.own_error().is_none() {
            self.add_neighbours(&mut facts, headers).await;
        }
        OrderExplanation {
            order: Some(wire::order(&facts.order)),
            stations: stations::of(&facts),
            stuck: (!facts.has_ended()).then(|| cause::of(&facts)),
            payments_error: facts.payments.as_ref().err().cloned().unwrap_or_default(),
            explain_time: Some(timestamp(facts.now)),
        }
    }

    /// What the orders around it say, and what operators have discarded. Without them a cause is only less certain.
    async fn add_neighbours(&self, facts: &mut Facts, headers: &HeaderMap) {
        let order = &facts.order;
        let decided = facts.decision().and_then(|payment| payment.decide_time.as_ref()).map(micros);
        let written = asked(order).max(decided.unwrap_or_default());
        let position = Position::of(&self.whereabouts, order, written, facts.now);
        let own = Discard::at_orders(&self.whereabouts, order.create_time);
        let answers = facts.payments.is_ok();
        let theirs = async {
            if !answers {
                return Vec::new();
            }
            self.payments.discards(order.create_time, headers).await.unwrap_or_default()
        };
        let (position, own, theirs) =
            tokio::join!(self.whereabouts.within(position), self.whereabouts.within(own), theirs);
        let own = own.unwrap_or_default();
        facts.position = position.unwrap_or_default();
        facts.discards = own.into_iter().chain(theirs).collect();
    }
}

/// A moment of another service, in microseconds since the Unix epoch.
fn micros(time: &Timestamp) -> Micros {
    time.seconds.saturating_mul(1_000_000).saturating_add(i64::from(time.nanos) / 1_000)
}
