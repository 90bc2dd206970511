//! Why an order has not ended: the first thing in its way, by what is known of it.

mod said;
mod outbox;
mod consumer;
#[cfg(test)]
mod tests;

use chassis::clock::timestamp;
use ordermesh::{
    messaging::v1::{ParkedMessage, parked_message},
    orders::v1::{Stuck, stuck::Cause},
};

use self::{
    consumer::at_consumer,
    outbox::{behind, in_outbox},
    said::{Adding as _, short, stuck, under_way},
};
use super::facts::Facts;

/// Why an order has not ended, and whether it should have.
#[must_use]
pub fn of(facts: &Facts) -> Stuck {
    let stuck = first(facts);
    if !facts.order.is_expired(facts.now) {
        return stuck;
    }
    let (sentence, expired) = (&stuck.sentence, timestamp(facts.order.expire_time));
    let sentence = format!(
        "{sentence}; its time was over at {expired}: it is still paid if its request comes to payments before the one for its void, and \
         cancelled otherwise"
    );
    Stuck { sentence, ..stuck }
}

fn first(facts: &Facts) -> Stuck {
    if let Some(error) = facts.own_error() {
        let sentence = format!("where its messages are is not known: {error}");
        return stuck(Cause::OrdersDatabaseAway, "orders", sentence).with_error(error);
    }
    if let Some(request) = facts.request() {
        let relay = facts.own.relay.clone().unwrap_or_default();
        let before = in_outbox(&relay, request, "orders");
        // The broker within a process leaves a message in the outbox until its consumer has handled it.
        let queued = facts.own.consumer.as_ref().is_none_or(|consumer| !consumer.queue.is_empty());
        let beyond = if queued { None } else { beyond_outbox(facts) };
        return before.or(beyond).unwrap_or_else(|| behind(facts, &relay, request, "orders"));
    }
    beyond_outbox(facts).unwrap_or_else(|| not_answered(facts))
}

/// What is wrong behind the outbox of orders.
fn beyond_outbox(facts: &Facts) -> Option<Stuck> {
    if let Some(parked) = facts.parked_answer() {
        return Some(parked_at(parked, "orders"));
    }
    let theirs = match (&facts.payments, facts.theirs()) {
        (Err(_), _) if facts.is_young() => return None,
        (Err(error), _) => {
            let sentence = format!("payments cannot be asked: {error}");
            return Some(stuck(Cause::PaymentsUnreachable, "payments", sentence).with_error(error));
        }
        (Ok(_), None) => return None,
        (Ok(_), Some(theirs)) => theirs,
    };
    if !theirs.database_error.is_empty() {
        let error = &theirs.database_error;
        let sentence = format!("the database of payments is away: {error}");
        return Some(stuck(Cause::PaymentsDatabaseAway, "payments", sentence).with_error(error));
    }
    if let Some(parked) = facts.parked_request() {
        return Some(parked_at(parked, "payments"));
    }
    if facts.decision().is_none() {
        return at_consumer(facts, theirs, "payments");
    }
    if let Some(answer) = facts.answer() {
        let relay = theirs.relay.clone().unwrap_or_default();
        let before = in_outbox(&relay, answer, "payments");
        return before
            .or_else(|| at_consumer(facts, &facts.own, "orders"))
            .or_else(|| Some(behind(facts, &relay, answer, "payments")));
    }
    at_consumer(facts, &facts.own, "orders")
}

fn parked_at(parked: &ParkedMessage, service: &str) -> Stuck {
    use parked_message::State;
    let (kind, error, number) = (short(&parked.kind), &parked.error, parked.sequence);
    let (cause, sentence) = match parked.state() {
        State::Held => (
            Cause::Held,
            format!("{service} does not know {}: it waits for a version that does", parked.kind),
        ),
        State::Redriven => {
            (Cause::Redriven, format!("its {kind} was sent back to {service}, which has not come to it yet"))
        }
        State::Waiting => {
            let sentence = format!(
                "its {kind} waits at {service} for the end of a pause, or behind a parked message of its user: {error}"
            );
            (Cause::Waiting, sentence)
        }
        _ => (Cause::Parked, format!("{service} has parked its {kind} (number {number}): {error}")),
    };
    let stuck = stuck(cause, service, sentence).with_error(error);
    Stuck { message_id: parked.message_id.clone(), since: parked.park_time, parked_sequence: number, ..stuck }
}

/// Nothing is known to be in the way.
fn not_answered(facts: &Facts) -> Stuck {
    if facts.is_young() {
        return under_way(facts);
    }
    let (service, what) =
        if facts.decision().is_some() { ("orders", "decision") } else { ("payments", "request") };
    let mut sentence = if facts.position.overtaken {
        format!(
            "its {what} waits nowhere, and orders of its partition that were placed later have ended: it was lost or discarded, or the \
             consumer of {service} has not finished with it alone; payments is asked again"
        )
    } else {
        format!(
            "its {what} waits nowhere: the consumer of {service} has it and has not finished, or it was lost; payments is asked again"
        )
    };
    for discard in facts.discards.iter().filter(|discard| discard.service == service) {
        sentence = format!("{sentence}; {}", discard.sentence());
    }
    if let Some(difference) = &facts.difference {
        sentence = format!("{sentence}; reconciliation: {difference}");
    }
    Stuck {
        next_attempt_time: Some(timestamp(facts.order.ask_due_time)),
        message_id: facts.order.last_message().to_string(),
        ..stuck(Cause::NotAnswered, service, sentence)
    }
}
