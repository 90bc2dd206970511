//! How a cause is said.

use chassis::clock::timestamp;
use messaging::parked::UNREADABLE;
use ordermesh::{
    messaging::v1::WaitingMessage,
    orders::v1::{Stuck, stuck::Cause},
};

use crate::explain::facts::{Facts, YOUNG};

/// The cause of what the database of a service does not do.
pub(super) fn database_of(service: &str) -> Cause {
    if service == "orders" { Cause::OrdersDatabaseAway } else { Cause::PaymentsDatabaseAway }
}

/// Nothing is in its way.
pub(super) fn under_way(facts: &Facts) -> Stuck {
    let is_new = facts.now.saturating_sub(facts.order.create_time) < YOUNG;
    let sentence = if is_new {
        "nothing is in its way: it is merely young"
    } else {
        "nothing is known to be in its way: what it waits for was requested less than 2 s ago"
    };
    Stuck {
        message_id: facts.order.last_message().to_string(),
        since: Some(timestamp(facts.order.create_time)),
        ..stuck(Cause::UnderWay, "orders", sentence.to_owned())
    }
}

/// An operator has paused a part of a service, `reason` being `paused by olga: …`.
pub(super) fn paused(part: &str, service: &str, reason: &str) -> Stuck {
    stuck(Cause::Paused, service, format!("the {part} of {service} is {reason}")).with_error(reason)
}

/// The broker refuses a part of a service, which does not go on by itself.
pub(super) fn refused_by_broker(part: &str, service: &str, reason: &str) -> Stuck {
    let sentence = format!("the broker refuses the {part} of {service}, and somebody has to act: {reason}");
    stuck(Cause::BrokerRefuses, "broker", sentence).with_error(reason)
}

/// A cause, and who has to act or to get on.
pub(super) fn stuck(cause: Cause, service: &str, sentence: String) -> Stuck {
    Stuck { cause: cause.into(), sentence, service: service.to_owned(), ..Stuck::default() }
}

/// The name of a message without its package.
pub(super) fn short(kind: &str) -> &str {
    kind.rsplit('.').next().filter(|name| !["", UNREADABLE].contains(name)).unwrap_or("message")
}

/// What is added to a cause.
pub(super) trait Adding {
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
