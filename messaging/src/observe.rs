//! What messaging tells of itself: every log line, with one vocabulary of fields.

use std::{error::Error, time::Duration};

use storage::Failure;

use crate::broker::BrokerError;

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

pub(crate) fn window_published(size: usize, confirmed: usize, took: Duration) {
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    tracing::debug!(window.size = size, window.confirmed = confirmed, window.took_us = took_us, "published");
    if confirmed < size {
        tracing::warn!(window.size = size, window.confirmed = confirmed, "not every message was confirmed");
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
