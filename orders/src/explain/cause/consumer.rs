//! What keeps a message that was published from being handled.

use chassis::clock::timestamp;
use ordermesh::{
    messaging::v1::{
        ConsumerState, Whereabouts,
        part_state::{self, Condition},
    },
    orders::v1::{Stuck, stuck::Cause},
};

use super::said::{Adding as _, database_of, paused, refused_by_broker, stuck};
use crate::explain::facts::Facts;

/// What keeps a message that was published from being handled; `None` where nothing is known to.
pub(super) fn at_consumer(facts: &Facts, whereabouts: &Whereabouts, service: &str) -> Option<Stuck> {
    let consumer = whereabouts.consumer.clone().unwrap_or_default();
    let state = consumer.state.clone().unwrap_or_default();
    let (ready, rate) = (consumer.queue_messages, consumer.per_second);
    let has_queue = !consumer.queue.is_empty();
    if matches!(state.condition(), Condition::Degraded | Condition::Failed) {
        let (reason, partition) = (&state.reason, consumer.partition);
        let blocked =
            || format!("the consumer of {service} does not get on with partition {partition}: {reason}");
        let found = match state.cause() {
            part_state::Cause::Broker if state.condition() == Condition::Failed => {
                refused_by_broker("consumer", service, reason)
            }
            part_state::Cause::Broker | part_state::Cause::Starting => {
                let sentence = format!("the consumer of {service} has no broker: {reason}");
                stuck(Cause::BrokerAway, "broker", sentence)
            }
            part_state::Cause::Database => stuck(database_of(service), service, blocked()),
            part_state::Cause::Messages | part_state::Cause::Unspecified => {
                stuck(Cause::PartitionBlocked, service, blocked()).behind(ready, rate)
            }
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
    if service == "payments" && facts.is_to_be_voided() && !facts.is_young() {
        let sentence = "payments has not answered yet that it will not be paid".to_owned();
        let since = facts.order.cancel_request_time.unwrap_or(facts.order.expire_time);
        let stuck = stuck(Cause::VoidPending, service, sentence).behind(ready, rate);
        return Some(Stuck { since: Some(timestamp(since)), ..stuck });
    }
    is_slow(facts, &consumer).then(|| too_slow(facts, &consumer, service))
}

/// Orders before it are handled, or wait for that; those that are in hand count as those in the queue do.
fn too_slow(facts: &Facts, consumer: &ConsumerState, service: &str) -> Stuck {
    let (ready, rate, position) = (consumer.queue_messages, consumer.per_second, facts.position);
    let at_least = if position.more || position.before == 0 { ready } else { 0 };
    let (before, in_all) = (position.before.max(at_least), position.before_in_all.max(at_least));
    let sentence = format!(
        "{before} messages of its partition are handled before it by {service}, which handles {rate:.1} a second; {ready} are ready \
         in the queue"
    );
    // The rate is that of every partition.
    let stuck = stuck(Cause::ConsumerTooSlow, service, sentence).behind(in_all, rate);
    Stuck { messages_before: before, ..stuck }
}

/// Whether messages wait longer than they should, and get on.
fn is_slow(facts: &Facts, consumer: &ConsumerState) -> bool {
    let position = facts.position;
    // What has left the queue is in hand as long as the consumer gets on with what was placed before it.
    let is_handled = position.before > 0 && position.moving;
    !facts.is_young() && !position.overtaken && (consumer.queue_messages > 0 || is_handled)
}
