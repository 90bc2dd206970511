//! Why an order has not ended: the first thing in its way, by what is known of it.

#[cfg(test)]
mod tests;

use chassis::clock::{Micros, timestamp};
use ordermesh::{
    messaging::v1::{
        ConsumerState, ParkedMessage, RelayState, WaitingMessage, Whereabouts, parked_message,
        part_state::Condition,
    },
    orders::v1::{Stuck, stuck::Cause},
};

use super::facts::Facts;

/// An order that nothing is known to be in the way of is merely under way for so long, in microseconds.
const YOUNG: Micros = 2_000_000;
/// Messages that a consumer has received and not yet acknowledged, at most.
const HANDLED_AT_ONCE: f64 = 400.0;
/// A lease that was not renewed for so many seconds is that of a process that is frozen or cut off: others renew it every 4 s.
const UNRENEWED_S: i64 = 6;

/// Why an order has not ended.
#[must_use]
pub fn of(facts: &Facts) -> Stuck {
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
        (Err(_), _) if is_young(facts) => return None,
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

/// What keeps a message in an outbox, if it is anything but its place in it.
fn in_outbox(relay: &RelayState, message: &WaitingMessage, service: &str) -> Option<Stuck> {
    let kind = short(&message.kind);
    let unrenewed = relay.lease_unrenewed.map_or(0, |time| time.seconds);
    let state = relay.state.clone().unwrap_or_default();
    let found = if state.condition() == Condition::Paused {
        Stuck { since: state.since, ..paused("relay", service, &state.reason) }
    } else if message.unroutable {
        let sentence = format!("no queue is bound for {}: it goes once one is", message.kind);
        stuck(Cause::Unroutable, "broker", sentence).with_error(&message.error)
    } else if message.attempts > 0 {
        let (times, error) = (message.attempts, &message.error);
        let sentence = format!("the broker has refused its {kind} {times} times: {error}");
        stuck(Cause::Refused, "broker", sentence).with_error(error)
    } else if message.ahead_of_key > 0 {
        let (count, error) = (message.ahead_of_key, &message.ahead_error);
        let sentence = format!(
            "{count} messages of its user have to leave before its {kind}, because the broker refuses one: {error}"
        );
        let stuck = stuck(Cause::BehindKey, "broker", sentence).with_error(error);
        Stuck { messages_before: count, ..stuck }
    } else if unrenewed >= UNRENEWED_S && relay.lease_left.is_some() {
        let (holder, left) = (&relay.lease_holder, relay.lease_left.map_or(0, |left| left.seconds + 1));
        stuck(
            Cause::LeaseHeld,
            service,
            format!(
                "{holder} publishes for {service} and has not renewed its lease for {unrenewed} s: it is frozen or cut \
                 off, and another takes over within {left} s"
            ),
        )
    } else if state.condition() == Condition::Degraded && state.reason.starts_with("the outbox") {
        let cause = if service == "orders" { Cause::OrdersDatabaseAway } else { Cause::PaymentsDatabaseAway };
        let sentence = format!("the relay of {service} does not get on: {}", state.reason);
        Stuck { since: state.since, ..stuck(cause, service, sentence).with_error(&state.reason) }
    } else if matches!(state.condition(), Condition::Degraded | Condition::Failed) {
        let sentence = format!("the relay of {service} has no broker: {}", state.reason);
        Stuck { since: state.since, ..stuck(Cause::BrokerAway, "broker", sentence).with_error(&state.reason) }
    } else {
        return None;
    };
    Some(Stuck { next_attempt_time: message.next_attempt_time, ..found.about(message) })
}

/// Only the messages before it keep it in the outbox, or nothing yet.
fn behind(facts: &Facts, relay: &RelayState, message: &WaitingMessage, service: &str) -> Stuck {
    let written = message.create_time.map_or(0, |time| time.seconds.saturating_mul(1_000_000));
    if facts.now.saturating_sub(written) < YOUNG {
        return under_way(facts);
    }
    let before = message.ahead;
    let sentence =
        format!("{before} messages of {service} are published before its {}", short(&message.kind));
    stuck(Cause::BehindOthers, service, sentence).behind(before, relay.per_second).about(message)
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

/// What keeps a message that was published from being handled; `None` where nothing is known to.
fn at_consumer(facts: &Facts, whereabouts: &Whereabouts, service: &str) -> Option<Stuck> {
    let consumer = whereabouts.consumer.clone().unwrap_or_default();
    let state = consumer.state.clone().unwrap_or_default();
    let (ready, rate) = (consumer.queue_messages, consumer.per_second);
    let has_queue = !consumer.queue.is_empty();
    if matches!(state.condition(), Condition::Degraded | Condition::Failed) {
        let reason = &state.reason;
        let found = if reason.starts_with("the broker") || reason.starts_with("not connected") {
            stuck(Cause::BrokerAway, "broker", format!("the consumer of {service} has no broker: {reason}"))
        } else {
            let partition = consumer.partition;
            let sentence =
                format!("the consumer of {service} does not get on with partition {partition}: {reason}");
            stuck(Cause::PartitionBlocked, service, sentence).behind(ready, rate)
        };
        return Some(Stuck { since: state.since, ..found.with_error(reason) });
    }
    if state.condition() == Condition::Paused {
        return Some(Stuck {
            since: state.since,
            ..paused("consumer", service, &state.reason).behind(ready, rate)
        });
    }
    if has_queue && consumer.queue_consumers == 0 {
        let sentence = format!("nobody consumes {}, which holds {ready} messages", consumer.queue);
        return Some(stuck(Cause::NoConsumer, service, sentence).behind(ready, rate));
    }
    if consumer.dead_letters > 0 && ready == 0 && rate == 0.0 {
        let sentence =
            format!("the broker has given up {} messages, which are not parked yet", consumer.dead_letters);
        return Some(stuck(Cause::DeadLetters, service, sentence));
    }
    if service == "payments" && facts.is_to_be_voided() && !is_young(facts) {
        let sentence = "payments has not answered yet that it will not be paid".to_owned();
        let since = facts.order.cancel_request_time.unwrap_or(facts.order.expire_time);
        let stuck = stuck(Cause::VoidPending, service, sentence).behind(ready, rate);
        return Some(Stuck { since: Some(timestamp(since)), ..stuck });
    }
    is_slow(facts, &consumer).then(|| {
        let sentence = format!(
            "{ready} messages are ready in the queue of {service}, and up to 400 are being handled: {rate:.1} a second"
        );
        stuck(Cause::ConsumerTooSlow, service, sentence).behind(ready, rate)
    })
}

/// Whether messages wait longer than they should, and get on.
fn is_slow(facts: &Facts, consumer: &ConsumerState) -> bool {
    // What has left the queue is handled, or was, for as long as so many take.
    let handled = facts.now.saturating_sub(facts.last_moved()) as f64 / 1e6 * consumer.per_second;
    let is_handled = consumer.per_second > 0.0 && handled <= HANDLED_AT_ONCE;
    !is_young(facts) && (consumer.queue_messages > 0 || is_handled)
}

/// Whether nothing has had the time to be done about it.
fn is_young(facts: &Facts) -> bool {
    facts.now.saturating_sub(facts.last_moved()) < YOUNG
}

/// Nothing is known to be in the way.
fn not_answered(facts: &Facts) -> Stuck {
    if is_young(facts) {
        return under_way(facts);
    }
    let (service, what) =
        if facts.decision().is_some() { ("orders", "decision") } else { ("payments", "request") };
    let sentence = format!(
        "its {what} waits nowhere: the consumer of {service} has it and has not finished, or it was lost; payments is asked again"
    );
    Stuck {
        next_attempt_time: Some(timestamp(facts.order.ask_due_time)),
        message_id: facts.order.last_message().to_string(),
        ..stuck(Cause::NotAnswered, service, sentence)
    }
}

fn under_way(facts: &Facts) -> Stuck {
    Stuck {
        message_id: facts.order.last_message().to_string(),
        since: Some(timestamp(facts.order.create_time)),
        ..stuck(Cause::UnderWay, "orders", "nothing is in its way: it is merely young".to_owned())
    }
}

fn paused(part: &str, service: &str, reason: &str) -> Stuck {
    stuck(Cause::Paused, service, format!("the {part} of {service} is paused: {reason}")).with_error(reason)
}

fn stuck(cause: Cause, service: &str, sentence: String) -> Stuck {
    Stuck { cause: cause.into(), sentence, service: service.to_owned(), ..Stuck::default() }
}

/// The name of a message without its package.
fn short(kind: &str) -> &str {
    kind.rsplit('.').next().filter(|name| !name.is_empty()).unwrap_or("message")
}

/// What is added to a cause.
trait Adding {
    /// What was said of it.
    fn with_error(self, error: &str) -> Self;
    /// The message that waits in an outbox.
    fn about(self, message: &WaitingMessage) -> Self;
    /// So many messages come before it, and so many leave a second.
    fn behind(self, messages: i64, per_second: f64) -> Self;
}

impl Adding for Stuck {
    fn with_error(self, error: &str) -> Self {
        Self { error: error.to_owned(), ..self }
    }

    fn about(self, message: &WaitingMessage) -> Self {
        let since = self.since.or(message.create_time);
        Self { message_id: message.message_id.clone(), since, ..self }
    }

    fn behind(self, messages: i64, per_second: f64) -> Self {
        // A thousand years is as good as any longer time.
        let seconds = (per_second > 0.0).then(|| (messages as f64 / per_second).min(3e10));
        let estimate = seconds.map(|seconds| prost_types::Duration {
            seconds: seconds as i64,
            nanos: (seconds.fract() * 1e9) as i32,
        });
        Self { messages_before: messages, per_second, estimate, ..self }
    }
}
