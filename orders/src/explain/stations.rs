//! The stations of one order: which it has passed, when, and by which message.

use chassis::clock::{Micros, moment_of, timestamp};
use ordermesh::orders::v1::{
    Station,
    station::{Name, State},
};
use prost_types::Timestamp;

use super::facts::Facts;

/// What is said where a row is removed together with the moment.
const NOT_RECORDED: &str = "when is not recorded: the message leaves no row behind";

/// Payments remembers for so many seconds when it had a message.
const REMEMBERED_S: i64 = 7 * 24 * 3_600;

/// The stations of an order, in their order.
#[must_use]
pub fn of(facts: &Facts) -> Vec<Station> {
    let order = &facts.order;
    let mut stations = vec![at(Name::Placed, order.create_time)];
    stations.extend(order.cancel_request_time.map(|time| at(Name::CancelRequested, time)));
    stations.extend([
        in_outbox(facts),
        published(facts),
        delivered(facts),
        decided(facts),
        decision_published(facts),
        ended(facts),
    ]);
    for station in &mut stations {
        station.age = station.time.map(|time| age(time, facts.now));
        let is_passed = matches!(station.state(), State::Passed | State::Waiting);
        if is_passed && station.trace_id.is_empty() {
            station.trace_id = trace(facts, station.name());
        }
    }
    stations
}

/// The trace of the request that has caused a station, where that is known: a cancellation is another request than the placement.
fn trace(facts: &Facts, name: Name) -> String {
    match name {
        Name::Placed => facts.placed_in(),
        Name::CancelRequested => facts.cancelled_in(),
        Name::InOutbox | Name::Published if facts.is_asked_once() => facts.placed_in(),
        Name::InOutbox | Name::Published => String::new(),
        _ if facts.is_asked_once() || facts.is_debited() => facts.placed_in(),
        _ => String::new(),
    }
}

fn station(name: Name, state: State) -> Station {
    Station { name: name.into(), state: state.into(), ..Station::default() }
}

fn at(name: Name, time: Micros) -> Station {
    Station { time: Some(timestamp(time)), ..station(name, State::Passed) }
}

fn noted(name: Name, state: State, note: impl Into<String>) -> Station {
    Station { note: note.into(), ..station(name, state) }
}

/// The id of the request has the moment at which it was written.
fn in_outbox(facts: &Facts) -> Station {
    if let Some(unknown) = not_found(facts, Name::InOutbox) {
        return unknown;
    }
    let id = facts.order.last_message();
    let waits = facts.last_request().or_else(|| facts.request());
    let state = if waits.is_some() { State::Waiting } else { State::Passed };
    Station {
        time: moment_of(id).map(timestamp),
        message_id: id.to_string(),
        trace_id: facts.last_request().map(|message| message.trace_id.clone()).unwrap_or_default(),
        ..station(Name::InOutbox, state)
    }
}

fn published(facts: &Facts) -> Station {
    if let Some(unknown) = not_found(facts, Name::Published) {
        return unknown;
    }
    match facts.request() {
        Some(_) if facts.decision().is_none() => station(Name::Published, State::Ahead),
        _ => noted(Name::Published, State::Passed, NOT_RECORDED),
    }
}

fn delivered(facts: &Facts) -> Station {
    let name = Name::Delivered;
    let Ok(payments) = &facts.payments else {
        return if facts.has_ended() {
            noted(name, State::Passed, "payments cannot be asked when")
        } else {
            unknown(name)
        };
    };
    if let Some(parked) = facts.parked_request() {
        let note = format!("parked after {} attempts: {}", parked.attempts, parked.error);
        let id = parked.message_id.clone();
        return Station { time: parked.park_time, message_id: id, ..noted(name, State::Waiting, note) };
    }
    let is_away = facts.theirs().is_some_and(|theirs| !theirs.database_error.is_empty());
    match (payments.receive_time, &payments.payment) {
        (Some(time), _) => {
            let message_id = payments.receive_message_id.clone();
            Station { time: Some(time), message_id, ..station(name, State::Passed) }
        }
        (None, Some(payment)) => {
            let age = payment.decide_time.map(|time| age(time, facts.now).seconds);
            let is_forgotten = age.is_some_and(|seconds| seconds >= REMEMBERED_S);
            let note = if is_forgotten {
                "when is forgotten after 7 days"
            } else {
                "by another message: when is not recorded"
            };
            noted(name, State::Passed, note)
        }
        (None, None) if facts.has_ended() && is_away => {
            noted(name, State::Passed, "payments cannot be asked when")
        }
        (None, None) if facts.has_ended() => {
            noted(name, State::Passed, "payments has forgotten when, or has lost it")
        }
        (None, None) if is_away => unknown(name),
        (None, None) => station(name, State::Ahead),
    }
}

fn decided(facts: &Facts) -> Station {
    let name = Name::Decided;
    match facts.decision() {
        Some(payment) => {
            let note = match (payment.outcome().as_str_name(), payment.reason().as_str_name()) {
                (outcome, "REASON_UNSPECIFIED") => outcome.to_owned(),
                (outcome, reason) => format!("{outcome}: {reason}"),
            };
            Station { time: payment.decide_time, ..noted(name, State::Passed, note) }
        }
        None if facts.has_ended() => noted(name, State::Passed, not_decided(facts)),
        None => undecided(facts, name),
    }
}

/// What is said of an order that has ended, where payments says nothing of a decision.
fn not_decided(facts: &Facts) -> String {
    let knows = facts.theirs().is_some_and(|theirs| theirs.database_error.is_empty());
    match &facts.difference {
        _ if !knows => "payments cannot be asked when".to_owned(),
        Some(difference) => format!("payments has no decision; reconciliation: {difference}"),
        None => {
            "payments has no decision: it has lost it, and reconciliation has not come to that yet".to_owned()
        }
    }
}

fn decision_published(facts: &Facts) -> Station {
    let name = Name::DecisionPublished;
    match facts.answer() {
        Some(answer) if !facts.has_ended() => Station {
            time: answer.create_time,
            message_id: answer.message_id.clone(),
            trace_id: answer.trace_id.clone(),
            ..noted(name, State::Waiting, "in the outbox of payments")
        },
        _ if facts.decision().is_some() || facts.has_ended() => noted(name, State::Passed, NOT_RECORDED),
        _ => undecided(facts, name),
    }
}

fn ended(facts: &Facts) -> Station {
    let name = Name::Ended;
    if facts.has_ended() {
        return at(name, facts.order.update_time);
    }
    match facts.parked_answer() {
        Some(parked) => Station {
            time: parked.park_time,
            message_id: parked.message_id.clone(),
            ..noted(name, State::Waiting, format!("the decision is parked: {}", parked.error))
        },
        None => station(name, State::Ahead),
    }
}

/// Whether payments has not decided, or is not known to have.
fn undecided(facts: &Facts, name: Name) -> Station {
    let is_known = facts.theirs().is_some_and(|theirs| theirs.database_error.is_empty());
    if is_known { station(name, State::Ahead) } else { unknown(name) }
}

/// What is said while it is not known where its messages are.
fn not_found(facts: &Facts, name: Name) -> Option<Station> {
    let error = facts.own_error().filter(|_| !facts.has_ended() && facts.decision().is_none())?;
    Some(noted(name, State::Unknown, format!("orders does not know: {error}")))
}

fn unknown(name: Name) -> Station {
    noted(name, State::Unknown, "payments knows, and cannot be asked")
}

fn age(time: Timestamp, now: Micros) -> prost_types::Duration {
    let then = time.seconds.saturating_mul(1_000_000).saturating_add(i64::from(time.nanos) / 1_000);
    let micros = now.saturating_sub(then).max(0);
    prost_types::Duration {
        seconds: micros / 1_000_000,
        // Below 10^9.
        nanos: i32::try_from(micros % 1_000_000 * 1_000).unwrap_or_default(),
    }
}
