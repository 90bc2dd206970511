//! What is reported of parked messages.

use metrics::counter;

use super::{HELD, PARKED, REPEATS};
use crate::parked::{Repeat, Report, State};

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
        message.kind = report.kind,
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

/// A request repeats one that is parked, and is counted there. Said after the commit.
pub(crate) fn repeated(consumer: &str, repeat: &Repeat) {
    counter!(REPEATS, "consumer" => consumer.to_owned()).increment(1);
    tracing::info!(
        messaging.part = consumer,
        message.id = %repeat.message_id,
        message.kind = repeat.kind,
        trace.parent = repeat.traceparent.as_deref(),
        parked.message_id = %repeat.parked_id,
        "a request repeats one that is parked: it is counted there"
    );
}

/// A parked message has left, and what was counted on its row with it. Said after the commit.
pub(crate) fn repeats_done(consumer: &str, seq: i64, repeats: i64) {
    tracing::info!(
        messaging.part = consumer,
        parked.seq = seq,
        parked.repeats = repeats,
        "the requests that repeated a parked message are done with it"
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
