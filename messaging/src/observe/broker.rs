//! What is reported of the broker: the states of the parts that need it, and what it refuses, loses or gives up.

use std::collections::BTreeMap;

use metrics::gauge;

use super::{CONSUMERS, DEAD_LETTERS, QUEUED, STATE};
use crate::{
    broker::{DeadLetter, Depth, Outcome},
    envelope::Envelope,
    health::Condition,
};

/// The state of a part, as a number to alarm on.
pub(crate) fn part_state(part: &str, of: &str, condition: &Condition) {
    let state = match condition {
        Condition::Ok => 0.0,
        Condition::Degraded { .. } => 1.0,
        Condition::Failed { .. } => 2.0,
        Condition::Paused { .. } => 3.0,
    };
    gauge!(STATE, "part" => part.to_owned(), "of" => of.to_owned()).set(state);
}

/// The state of a part has changed, or lasts.
pub(crate) fn part_changed(part: &str, of: &str, condition: &Condition) {
    match condition {
        Condition::Ok => tracing::info!(messaging.part = part, messaging.of = of, "works again"),
        Condition::Degraded { reason, .. } => {
            tracing::warn!(
                messaging.part = part,
                messaging.of = of,
                error = reason,
                "degraded: trying again"
            );
        }
        Condition::Failed { reason, .. } => {
            tracing::error!(
                messaging.part = part,
                messaging.of = of,
                error = reason,
                "failed: trying again does not cure it, somebody has to act"
            );
        }
        Condition::Paused { reason, .. } => {
            tracing::info!(messaging.part = part, messaging.of = of, pause.reason = reason, "paused");
        }
    }
}

/// How much a dead-letter queue holds.
pub(crate) fn dead_letters(queue: &str, messages: u64) {
    gauge!(DEAD_LETTERS, "queue" => queue.to_owned()).set(messages as f64);
}

/// What each queue of a partition holds, and who has subscribed to it.
pub(crate) fn queues(queues: &BTreeMap<String, Depth>) {
    for (queue, Depth { messages, consumers }) in queues {
        gauge!(QUEUED, "queue" => queue.clone()).set(*messages as f64);
        gauge!(CONSUMERS, "queue" => queue.clone()).set(f64::from(*consumers));
    }
}

/// Something was deleted on the broker.
pub(crate) fn restored(source: &str, restored: &[String]) {
    tracing::error!(
        messaging.source = source,
        topology.restored = ?restored,
        "declared again what was missing on the broker: somebody, or a policy with `expires`, deleted it, and what was in it is lost"
    );
}

/// The broker has given messages of one consumer up, for one cause: they are on their way into the table of parked ones.
pub(crate) fn dead_letters_moved(source: &str, letters: &[&DeadLetter]) {
    let Some(DeadLetter { consumer, story, policy }) = letters.first() else { return };
    let messages = letters.len();
    match policy {
        Some(policy) => tracing::error!(
            messaging.source = source,
            messaging.part = consumer,
            broker.policy = policy,
            dead_letters.messages = messages,
            error = story,
            "a policy of the broker removes messages of this mesh: take the policy off, and redrive what is parked"
        ),
        None => tracing::error!(
            messaging.source = source,
            messaging.part = consumer,
            dead_letters.messages = messages,
            error = story,
            "the broker has given messages up: look at why their consumer died, and redrive what is parked"
        ),
    }
}

/// The first message of a window that the broker refuses: it is tried again ever later, and others pass it by.
pub(crate) fn refused(source: &str, window: &[Envelope], outcomes: &[Outcome]) {
    let refused = window.iter().zip(outcomes).filter_map(|(message, outcome)| match outcome {
        Outcome::Refused(reason) => Some((message, reason)),
        _ => None,
    });
    let mut refused = refused.peekable();
    let Some((Envelope { id, kind, traceparent, .. }, reason)) = refused.peek().copied() else { return };
    tracing::error!(
        messaging.source = source,
        message.id = %id,
        message.kind = kind,
        trace.parent = traceparent.as_deref(),
        window.refused = refused.count(),
        error = reason,
        "the broker refuses a message: it is tried again, ever later"
    );
}
