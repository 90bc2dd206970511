//! What messaging tells of itself: every log line, with one vocabulary of fields.

use std::{error::Error, time::Duration};

use storage::Failure;

use crate::{broker::BrokerError, envelope::Envelope, outbox::Backlog, relay::window::Settlement};

/// An error with its causes.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

pub(crate) fn broker_away(who: &str, error: &BrokerError) {
    tracing::warn!(messaging.part = who, error = chain(error), "the broker is away: trying again");
}

pub(crate) fn storage_failed(who: &str, failure: &Failure) {
    tracing::warn!(messaging.part = who, error = chain(failure), "the database failed: trying again");
}

pub(crate) fn publisher_lost(reason: &str) {
    tracing::warn!(messaging.part = "relay", error = reason, "the publisher was lost: connecting again");
}

pub(crate) fn connected(part: &str, who: &str) {
    tracing::debug!(messaging.part = part, messaging.source = who, "connected to the broker");
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
    let age_us = backlog.age(now);
    tracing::trace!(
        messaging.source = source,
        backlog.pending,
        backlog.unroutable,
        backlog.age_us = age_us,
        "backlog"
    );
}

pub(crate) fn window_published(source: &str, window: &[Envelope], settlement: &Settlement, took: Duration) {
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let (size, confirmed) = (window.len(), settlement.confirmed.len());
    tracing::debug!(
        messaging.source = source,
        window.size = size,
        window.confirmed = confirmed,
        window.took_us = took_us,
        "published"
    );
    if confirmed < size {
        tracing::warn!(
            messaging.source = source,
            window.size = size,
            window.confirmed = confirmed,
            "not every message was confirmed"
        );
    }
}

pub(crate) fn batch_applied(consumer: &str, size: usize, parked: usize) {
    tracing::debug!(messaging.part = consumer, batch.size = size, batch.parked = parked, "applied");
    if parked > 0 {
        tracing::error!(
            messaging.part = consumer,
            batch.parked = parked,
            "messages were parked: an operator must look"
        );
    }
}

pub(crate) fn batch_failed(consumer: &str, size: usize, failure: &Failure) {
    tracing::warn!(messaging.part = consumer, batch.size = size, error = chain(failure), "a batch failed");
}

pub(crate) fn redriven(consumer: &str, seq: i64) {
    tracing::info!(
        messaging.part = consumer,
        parked.seq = seq,
        "a parked message came back and was judged again"
    );
}

pub(crate) fn redrive_failed(consumer: &str, seq: i64, error: &str) {
    tracing::error!(messaging.part = consumer, parked.seq = seq, error, "a parked message failed again");
}
