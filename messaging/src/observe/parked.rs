//! What is reported of parked messages.

use metrics::counter;

use super::{HELD, PARKED};
use crate::{
    envelope::Envelope,
    parked::{Report, State},
};

/// Said after the commit.
pub(crate) fn parked(consumer: &str, report: &Report) {
    let name = match report.state {
        State::Held => HELD,
        // Nothing is wrong with it.
        State::Waiting => return waits(consumer, report),
        State::Parked | State::Redriven => PARKED,
    };
    counter!(name, "consumer" => consumer.to_owned()).increment(1);
    tracing::error!(
        messaging.part = consumer,
        message.id = report.message_id.map(tracing::field::display),
        message.kind = report.message_id.map(|_| report.kind.as_str()),
        trace.parent = report.traceparent.as_deref(),
        parked.state = ?report.state,
        error = report.error,
        "a message is parked: an operator must look"
    );
}

fn waits(consumer: &str, report: &Report) {
    tracing::debug!(
        messaging.part = consumer,
        message.id = report.message_id.map(tracing::field::display),
        message.kind = report.kind,
        trace.parent = report.traceparent.as_deref(),
        reason = report.error,
        "a message waits in the table of parked ones"
    );
}

/// A request that cannot be handled repeats one that is parked.
pub(crate) fn parked_before(consumer: &str, message: &Envelope, error: &str) {
    tracing::debug!(
        messaging.part = consumer,
        message.id = %message.id,
        message.kind = message.kind,
        trace.parent = message.traceparent.as_deref(),
        error,
        "the same request is parked already"
    );
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
