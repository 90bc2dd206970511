//! What is known of one order, at orders and at payments.

use chassis::clock::Micros;
use ordermesh::{
    messaging::v1::{ParkedMessage, WaitingMessage, Whereabouts, parked_message::State},
    payments::v1::{Payment, PaymentExplanation},
};

use super::position::{Discard, Position};
use crate::store::entity::order::{Model as Order, Status};

/// An order that nothing is known to be in the way of is merely under way for so long, in microseconds.
pub const YOUNG: Micros = 2_000_000;

/// What is known of one order.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The order.
    pub order: Order,
    /// When it was looked.
    pub now: Micros,
    /// Its messages at orders.
    pub own: Whereabouts,
    /// What payments says of it, or why it says nothing.
    pub payments: Result<PaymentExplanation, String>,
    /// What the orders around it say.
    pub position: Position,
    /// What operators have discarded since it was placed, at either service.
    pub discards: Vec<Discard>,
    /// What reconciliation says of it, if orders and payments have it otherwise.
    pub difference: Option<String>,
}

impl Facts {
    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.order.status != Status::New
    }

    /// Whether its payment is to be given up.
    #[must_use]
    pub fn is_to_be_voided(&self) -> bool {
        self.order.cancel_request_time.is_some() || self.order.is_expired(self.now)
    }

    /// Whether nothing has had the time to be done about it.
    #[must_use]
    pub fn is_young(&self) -> bool {
        self.now.saturating_sub(self.last_moved()) < YOUNG
    }

    /// Why it is not known where its messages at orders are, if so.
    #[must_use]
    pub fn own_error(&self) -> Option<&str> {
        Some(self.own.database_error.as_str()).filter(|error| !error.is_empty())
    }

    /// When something was last to happen to it: it was placed, its cancellation was requested, or it has expired.
    #[must_use]
    pub fn last_moved(&self) -> Micros {
        let expired = self.order.is_expired(self.now).then_some(self.order.expire_time);
        self.order.create_time.max(self.order.cancel_request_time.max(expired).unwrap_or_default())
    }

    /// The request that waits to be published.
    #[must_use]
    pub fn request(&self) -> Option<&WaitingMessage> {
        self.own.outbox.first()
    }

    /// Its messages at payments.
    #[must_use]
    pub fn theirs(&self) -> Option<&Whereabouts> {
        self.payments.as_ref().ok()?.whereabouts.as_ref()
    }

    /// The decision.
    #[must_use]
    pub fn decision(&self) -> Option<&Payment> {
        self.payments.as_ref().ok()?.payment.as_ref()
    }

    /// The decision as long as it waits to be published.
    #[must_use]
    pub fn answer(&self) -> Option<&WaitingMessage> {
        self.theirs()?.outbox.first()
    }

    /// The request as it was parked by payments.
    #[must_use]
    pub fn parked_request(&self) -> Option<&ParkedMessage> {
        first(&self.theirs()?.parked).filter(|_| self.decision().is_none())
    }

    /// The decision as it was parked by orders.
    #[must_use]
    pub fn parked_answer(&self) -> Option<&ParkedMessage> {
        first(&self.own.parked)
    }

    /// The message that payments was asked with last, as long as it waits to be published.
    #[must_use]
    pub fn last_request(&self) -> Option<&WaitingMessage> {
        let last = self.order.last_message().to_string();
        self.own.outbox.iter().find(|message| message.message_id == last)
    }

    /// Whether payments was asked by nothing but the placement, so that all that has come of it has its trace.
    #[must_use]
    pub const fn is_asked_once(&self) -> bool {
        self.order.asked_message_id.is_none()
    }

    /// Whether it was debited for, which its placement has caused.
    #[must_use]
    pub fn is_debited(&self) -> bool {
        self.payments.as_ref().is_ok_and(|payments| !payments.trace_id.is_empty())
    }

    /// The trace of the request that has placed it, where anything has kept that.
    #[must_use]
    pub fn placed_in(&self) -> String {
        let id = self.order.id.to_string();
        let debit = self.payments.as_ref().ok().map(|payments| payments.trace_id.as_str());
        let placement = self.own.outbox.iter().find(|message| message.message_id == id);
        let answer = self.answer().filter(|_| self.is_asked_once());
        let waiting = [placement, answer].into_iter().flatten().map(|message| message.trace_id.as_str());
        let mut known = debit.into_iter().chain(waiting);
        known.find(|trace| !trace.is_empty()).unwrap_or_default().to_owned()
    }

    /// The trace of the request that has cancelled it, as long as the message that follows from that waits.
    #[must_use]
    pub fn cancelled_in(&self) -> String {
        let request = self.last_request().filter(|_| self.order.cancel_request_time.is_some());
        request.map(|message| message.trace_id.clone()).unwrap_or_default()
    }
}

/// The newest of those that stand for themselves: what waits behind one of them is not why.
fn first(parked: &[ParkedMessage]) -> Option<&ParkedMessage> {
    parked.iter().min_by_key(|message| message.state() == State::Waiting)
}
