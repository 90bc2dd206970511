//! What messaging reports: every log line with one vocabulary of fields, and every metric.
//!
//! Metrics go to whichever recorder of the crate `metrics` the process has installed, and nowhere without one.

mod ages;
mod broker;
mod chain;
mod parked;
mod pauses;
mod spans;

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use storage::{Failure, Outage};

pub(crate) use self::{
    broker::{dead_letters, dead_letters_moved, part_changed, part_state, queues, refused, restored},
    chain::chain,
    parked::{parked, redrive_failed, redriven, repeated, repeats_done},
    pauses::pauses,
    spans::{effects, publishing},
};
use crate::{
    broker::{Delivery, Outcome},
    envelope::Envelope,
    outbox::Backlog,
    parked::State,
};

const OUTBOX: &str = "messaging_outbox_messages";
const OLDEST: &str = "messaging_outbox_oldest_age_seconds";
const TO_CONFIRM: &str = "messaging_commit_to_confirm_seconds";
const TO_EFFECT: &str = "messaging_commit_to_effect_seconds";
const IMPLAUSIBLE: &str = "messaging_implausible_times_total";
const WINDOWS: &str = "messaging_window_messages";
const BATCHES: &str = "messaging_batch_messages";
const REDELIVERIES: &str = "messaging_redeliveries_total";
const PARKED: &str = "messaging_parked_total";
const HELD: &str = "messaging_held_total";
const REPEATS: &str = "messaging_parked_repeats_total";
const WAITING: &str = "messaging_waiting_messages";
const PARKED_NOW: &str = "messaging_parked_messages";
const INBOX_OVERDUE: &str = "messaging_inbox_overdue_age_seconds";
const CONNECTIONS: &str = "messaging_connections_total";
const STATE: &str = "messaging_part_state";
const DEAD_LETTERS: &str = "messaging_dead_letters";
const QUEUED: &str = "messaging_queue_messages";
const CONSUMERS: &str = "messaging_queue_consumers";

/// Describes the metrics to the recorder.
fn describe() {
    describe_gauge!(OUTBOX, "messages that wait in the outbox, by state");
    describe_gauge!(OLDEST, "how long the oldest message in the outbox waits, by state; 0 when none does");
    describe_histogram!(TO_CONFIRM, "from the writing of a message to the broker's confirm");
    describe_histogram!(TO_EFFECT, "from the writing of a message to the commit of its effect");
    describe_counter!(
        IMPLAUSIBLE,
        "messages whose time is more than seven days from this clock: they are not among the times to their effect"
    );
    describe_histogram!(WINDOWS, "messages that a relay published together");
    describe_histogram!(BATCHES, "messages that a consumer committed together");
    describe_counter!(REDELIVERIES, "messages that the broker may have delivered before");
    describe_counter!(PARKED, "messages that a consumer could not handle");
    describe_counter!(HELD, "messages of a kind that the consumer does not know yet");
    describe_counter!(REPEATS, "requests that repeat a parked one, and are counted on its row");
    describe_gauge!(
        WAITING,
        "messages of keys that others hold, received and tried again apart while the rest of their partition goes on"
    );
    describe_gauge!(PARKED_NOW, "messages that wait in the table of parked ones, by state");
    describe_gauge!(
        INBOX_OVERDUE,
        "by how much the oldest row of the inbox should have been forgotten; 0 when none should"
    );
    describe_counter!(CONNECTIONS, "connections to the broker; all but the first are reconnects");
    describe_gauge!(
        DEAD_LETTERS,
        "messages in a dead-letter queue of the broker that are not parked yet, but for up to 20 that a consumer is parking"
    );
    describe_gauge!(QUEUED, "messages that wait in a queue of the broker: not what a consumer has in hand");
    describe_gauge!(CONSUMERS, "who has subscribed to a queue of the broker, active or standing by");
    describe_gauge!(
        STATE,
        "0 when a part does its work, 1 when it tries again by itself, 2 when somebody has to act, 3 when an operator has paused it"
    );
}

/// A relay begins. What it counts is there from the start: an alarm cannot distinguish an absent number from one that never rises.
pub(crate) fn relay_begins(source: &str) {
    describe();
    counter!(CONNECTIONS, "part" => "relay", "of" => source.to_owned()).increment(0);
}

/// A consumer begins; as [`relay_begins`].
pub(crate) fn consumer_begins(consumer: &str) {
    describe();
    counter!(CONNECTIONS, "part" => "consumer", "of" => consumer.to_owned()).increment(0);
    for name in [REDELIVERIES, PARKED, HELD, REPEATS, IMPLAUSIBLE] {
        counter!(name, "consumer" => consumer.to_owned()).increment(0);
    }
}

/// How many messages of a consumer are parked in each state.
pub(crate) fn parked_now(consumer: &str, counts: [(State, i64); 4]) {
    for (state, count) in counts {
        let state = match state {
            State::Parked => "parked",
            State::Held => "held",
            State::Redriven => "redriven",
            State::Waiting => "waiting",
        };
        gauge!(PARKED_NOW, "consumer" => consumer.to_owned(), "state" => state).set(as_f64(count));
    }
}

/// By how much the oldest row of the inbox is older than it should be.
pub(crate) fn inbox_overdue(overdue: Duration) {
    gauge!(INBOX_OVERDUE).set(overdue.as_secs_f64());
}

/// The broker did not confirm the last window in time.
pub(crate) fn given_up(source: &str) {
    tracing::warn!(
        messaging.source = source,
        "the stop does not wait for a window that the broker has not confirmed"
    );
}

/// What became of an attempt at something that is done again and again: as long as the database fails, that is reported now and then.
pub(crate) fn storage(who: &str, outage: &mut Outage, attempt: Result<(), &Failure>) {
    match attempt {
        Ok(()) if outage.ends() => tracing::info!(messaging.part = who, "the database works again"),
        Err(failure) if outage.fails() => storage_failed(who, failure),
        Ok(()) | Err(_) => {}
    }
}

pub(crate) fn storage_failed(who: &str, failure: &Failure) {
    tracing::warn!(messaging.part = who, error = chain(failure), "the database failed: trying again");
}

pub(crate) fn connected(part: &'static str, who: &str) {
    counter!(CONNECTIONS, "part" => part, "of" => who.to_owned()).increment(1);
    tracing::debug!(messaging.part = part, messaging.of = who, "connected to the broker");
}

pub(crate) fn leads(source: &str, token: i64) {
    tracing::info!(messaging.source = source, lease.token = token, "this relay publishes the outbox");
}

pub(crate) fn lease_lost(source: &str, token: i64) {
    tracing::warn!(
        messaging.source = source,
        lease.token = token,
        "this relay stands by: its lease has passed"
    );
}

pub(crate) fn backlog(source: &str, backlog: &Backlog, now: i64) {
    let states = [
        ("pending", backlog.pending, backlog.oldest_pending),
        ("unroutable", backlog.unroutable, backlog.oldest_unroutable),
    ];
    for (state, messages, oldest) in states {
        gauge!(OUTBOX, "source" => source.to_owned(), "state" => state).set(as_f64(messages));
        let age = oldest.map_or(0.0, |oldest| seconds(now - oldest));
        gauge!(OLDEST, "source" => source.to_owned(), "state" => state).set(age);
    }
}

pub(crate) fn window_published(
    source: &str,
    window: &[Envelope],
    outcomes: &[Outcome],
    confirmed: &[&Envelope],
    took: Duration,
) {
    histogram!(WINDOWS, "source" => source.to_owned()).record(window.len() as f64);
    // Its own process has written them.
    let _implausible =
        ages::record(&histogram!(TO_CONFIRM, "source" => source.to_owned()), confirmed.iter().copied());
    each_message("published", confirmed.iter().copied());
    let (size, confirmed) = (window.len(), confirmed.len());
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    tracing::debug!(
        messaging.source = source,
        window.size = size,
        window.confirmed = confirmed,
        window.took_us = took_us,
        "published"
    );
    // What waits for the end of a pause is as it should be.
    let postponed = outcomes.iter().filter(|outcome| **outcome == Outcome::Postponed).count();
    if confirmed + postponed < size {
        tracing::warn!(
            messaging.source = source,
            window.size = size,
            window.confirmed = confirmed,
            "not every message was confirmed"
        );
    }
}

pub(crate) fn batch_received(consumer: &str, batch: &[Delivery]) {
    let again = batch.iter().filter(|delivery| delivery.redelivered).count();
    if again > 0 {
        counter!(REDELIVERIES, "consumer" => consumer.to_owned()).increment(again as u64);
    }
}

pub(crate) fn batch_applied(consumer: &str, deliveries: &[Delivery]) {
    histogram!(BATCHES, "consumer" => consumer.to_owned()).record(deliveries.len() as f64);
    let messages = || deliveries.iter().filter_map(|delivery| delivery.message.as_ref().ok());
    let implausible = ages::record(&histogram!(TO_EFFECT, "consumer" => consumer.to_owned()), messages());
    if implausible > 0 {
        counter!(IMPLAUSIBLE, "consumer" => consumer.to_owned()).increment(implausible);
    }
    tracing::debug!(messaging.part = consumer, batch.size = deliveries.len(), "applied");
    each_message("applied", messages());
}

/// The span of a handler's work: its log lines name the request the batch began with.
pub(crate) fn handling(consumer: &str, batch: &[&Envelope]) -> tracing::Span {
    let first = batch.first();
    let parent = first.and_then(|message| message.traceparent.as_deref());
    let size = batch.len();
    let span =
        tracing::info_span!("handle", messaging.part = consumer, batch.size = size, trace.parent = parent);
    if let Some(first) = first {
        spans::join(&span, first);
    }
    span
}

/// The way of each message by its trace: one line a message, so only where it is switched on.
fn each_message<'m>(what: &'static str, messages: impl Iterator<Item = &'m Envelope>) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    for message in messages {
        let Envelope { id, kind, traceparent, .. } = message;
        tracing::debug!(message.id = %id, message.kind = kind, trace.parent = traceparent.as_deref(), "{what}");
    }
}

/// From microseconds. The writer's clock may be ahead of this one.
fn seconds(micros: i64) -> f64 {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default()).as_secs_f64()
}

/// Exact up to 2^53.
fn as_f64(count: i64) -> f64 {
    count as f64
}

/// `first` unless its messages have failed before and are tried again.
pub(crate) fn batch_failed(consumer: &str, size: usize, failure: &Failure, first: bool) {
    let error = chain(failure);
    if first {
        tracing::warn!(messaging.part = consumer, batch.size = size, error, "a batch failed");
    } else {
        tracing::debug!(messaging.part = consumer, batch.size = size, error, "a batch failed again");
    }
}

/// How many messages of a source wait apart from the others.
pub(crate) fn waiting(consumer: &str, part: &str, messages: usize) {
    gauge!(WAITING, "consumer" => consumer.to_owned(), "part" => part.to_owned()).set(messages as f64);
}
