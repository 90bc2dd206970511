//! What keeps a message in an outbox.

use chassis::clock::Micros;
use ordermesh::{
    messaging::v1::{
        RelayState, WaitingMessage,
        part_state::{self, Condition},
    },
    orders::v1::{Stuck, stuck::Cause},
};

use super::said::{Adding as _, database_of, paused, refused_by_broker, short, stuck, under_way};
use crate::explain::facts::{Facts, YOUNG};

/// A lease that was not renewed for so many seconds is that of a process that is frozen or cut off: others renew it every 4 s.
const UNRENEWED_S: i64 = 6;
/// The next message leaves within so long, or it is known why not, in microseconds: a lease that is not renewed is seen by then.
const NEXT: Micros = 8_000_000;

/// What keeps a message in an outbox, if it is anything but its place in it.
pub(super) fn in_outbox(relay: &RelayState, message: &WaitingMessage, service: &str) -> Option<Stuck> {
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
    } else if state.cause() == part_state::Cause::Database {
        let sentence = format!("the relay of {service} does not get on: {}", state.reason);
        let stuck = stuck(database_of(service), service, sentence).with_error(&state.reason);
        Stuck { since: state.since, ..stuck }
    } else if state.condition() == Condition::Failed {
        Stuck { since: state.since, ..refused_by_broker("relay", service, &state.reason) }
    } else if state.condition() == Condition::Degraded {
        let sentence = format!("the relay of {service} has no broker: {}", state.reason);
        Stuck { since: state.since, ..stuck(Cause::BrokerAway, "broker", sentence).with_error(&state.reason) }
    } else {
        return None;
    };
    Some(Stuck { next_attempt_time: message.next_attempt_time, ..found.about(message) })
}

/// Only the messages before it keep it in the outbox, or nothing yet.
pub(super) fn behind(facts: &Facts, relay: &RelayState, message: &WaitingMessage, service: &str) -> Stuck {
    let written = message.create_time.map_or(0, |time| time.seconds.saturating_mul(1_000_000));
    let age = facts.now.saturating_sub(written);
    if age < YOUNG {
        return under_way(facts);
    }
    let (before, kind) = (message.ahead, short(&message.kind));
    if before == 0 && age < NEXT {
        let sentence =
            format!("nothing is known to be in its way: its {kind} is the next that {service} publishes");
        return Stuck { sentence, ..under_way(facts) }.about(message);
    }
    let sentence = if before == 0 {
        format!("its {kind} is the next that {service} publishes, and has not left for {} s", age / 1_000_000)
    } else {
        format!("{before} messages of {service} are published before its {kind}")
    };
    stuck(Cause::BehindOthers, service, sentence).behind(before, relay.per_second).about(message)
}
