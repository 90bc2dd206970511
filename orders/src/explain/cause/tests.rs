//! Each cause alone, and which of several is the first.

use chassis::clock::Micros;
use ordermesh::{
    messaging::v1::{
        ConsumerState, PartState, RelayState, WaitingMessage, Whereabouts,
        parked_message::State,
        part_state::{self, Condition},
    },
    payments::v1::{Payment, PaymentExplanation},
};
use uuid::Uuid;

use super::*;
use crate::explain::position::{Discard, Position};
use crate::store::entity::order::{Model as Order, Status};

const NOW: Micros = 1_000_000_000;

fn order(age: Micros) -> Order {
    Order {
        id: Uuid::nil(),
        user_id: "alice".into(),
        amount: 1,
        currency_code: "RUB".into(),
        description: String::new(),
        status: Status::New,
        cancel_reason: None,
        create_time: NOW - age,
        update_time: NOW - age,
        expire_time: NOW + 600_000_000,
        cancel_request_time: None,
        cancel_request_id: None,
        void_due_time: NOW + 600_000_000,
        ask_due_time: NOW + 30_000_000,
        asked_message_id: None,
        version: 1,
        change_number: 1,
        ledger_entry_id: None,
        request_id: None,
        fingerprint: None,
        subject: None,
        token_id: None,
        x_request_id: None,
    }
}

fn part(condition: Condition, reason: &str) -> Option<PartState> {
    Some(PartState { condition: condition.into(), reason: reason.into(), ..PartState::default() })
}

fn degraded(cause: part_state::Cause, reason: &str) -> Option<PartState> {
    part(Condition::Degraded, reason).map(|state| PartState { cause: cause.into(), ..state })
}

/// A service on RabbitMQ that works.
fn working(name: &str) -> Whereabouts {
    Whereabouts {
        relay: Some(RelayState { state: part(Condition::Ok, ""), per_second: 50.0, ..RelayState::default() }),
        consumer: Some(ConsumerState {
            consumer: name.into(),
            state: part(Condition::Ok, ""),
            queue: format!("mesh.{name}.0"),
            queue_consumers: 1,
            ..ConsumerState::default()
        }),
        ..Whereabouts::default()
    }
}

/// An order of this age whose request was published.
fn facts(age: Micros) -> Facts {
    let theirs =
        PaymentExplanation { whereabouts: Some(working("payments")), ..PaymentExplanation::default() };
    Facts {
        order: order(age),
        now: NOW,
        own: working("orders"),
        payments: Ok(theirs),
        position: Position::default(),
        discards: Vec::new(),
        difference: None,
    }
}

fn message(kind: &str) -> WaitingMessage {
    WaitingMessage {
        kind: format!("ordermesh.v1.{kind}"),
        create_time: Some(timestamp(NOW - 5_000_000)),
        ..WaitingMessage::default()
    }
}

fn theirs(facts: &mut Facts) -> &mut Whereabouts {
    let payments = facts.payments.as_mut().expect("payments answers");
    payments.whereabouts.as_mut().expect("it knows where its messages are")
}

#[track_caller]
fn assert_is(facts: &Facts, cause: Cause, said: &str) -> Stuck {
    let stuck = of(facts);
    assert_eq!(stuck.cause(), cause, "{}", stuck.sentence);
    assert!(stuck.sentence.contains(said), "{}", stuck.sentence);
    stuck
}

#[test]
fn what_waits_in_the_outbox_has_the_first_cause() {
    let mut facts = facts(5_000_000);
    facts.own.outbox = vec![WaitingMessage { ahead: 100, ..message("OrderPlaced") }];
    let behind = assert_is(&facts, Cause::BehindOthers, "100 messages of orders");
    assert_eq!((behind.messages_before, behind.estimate.map(|time| time.seconds)), (100, Some(2)));
    let relay = facts.own.relay.as_mut().expect("a relay");
    relay.state = degraded(part_state::Cause::Broker, "the outbox of others");
    assert_is(&facts, Cause::BrokerAway, "the outbox of others");
    let relay = facts.own.relay.as_mut().expect("a relay");
    relay.state = degraded(part_state::Cause::Database, "a lock");
    assert_is(&facts, Cause::OrdersDatabaseAway, "a lock");
    let relay = facts.own.relay.as_mut().expect("a relay");
    relay.lease_holder = "process 7".into();
    relay.lease_left = Some(prost_types::Duration { seconds: 4, nanos: 0 });
    relay.lease_unrenewed = Some(prost_types::Duration { seconds: 8, nanos: 0 });
    assert_is(&facts, Cause::LeaseHeld, "process 7");
    facts.own.outbox[0].ahead_of_key = 3;
    assert_is(&facts, Cause::BehindKey, "3 messages of its user");
    facts.own.outbox[0].attempts = 2;
    assert_is(&facts, Cause::Refused, "2 times");
    facts.own.outbox[0].unroutable = true;
    assert_is(&facts, Cause::Unroutable, "no queue is bound");
    facts.own.relay.as_mut().expect("a relay").state = part(Condition::Paused, "paused by olga");
    assert_is(&facts, Cause::Paused, "the relay of orders is paused by olga");
}

#[test]
fn what_was_published_waits_for_payments() {
    assert_is(&facts(0), Cause::UnderWay, "merely young");
    let lost = assert_is(&facts(5_000_000), Cause::NotAnswered, "request");
    assert!(lost.next_attempt_time.is_some());
    let mut facts = facts(5_000_000);
    let consumer = |facts: &mut Facts, change: fn(&mut ConsumerState)| {
        change(theirs(facts).consumer.as_mut().expect("a consumer"));
    };
    consumer(&mut facts, |consumer| {
        consumer.queue_messages = 1_000;
        consumer.per_second = 20.0;
    });
    let slow = assert_is(&facts, Cause::ConsumerTooSlow, "1000 messages");
    assert_eq!(slow.estimate.map(|time| time.seconds), Some(50));
    facts.order.cancel_request_time = Some(NOW - 1_000_000);
    assert_is(&facts, Cause::UnderWay, "requested less than 2 s ago");
    facts.order.cancel_request_time = Some(NOW - 3_000_000);
    assert_is(&facts, Cause::VoidPending, "not be paid");
    consumer(&mut facts, |consumer| consumer.queue_consumers = 0);
    assert_is(&facts, Cause::NoConsumer, "nobody consumes");
    consumer(&mut facts, |consumer| consumer.state = part(Condition::Paused, "paused by olga"));
    assert_is(&facts, Cause::Paused, "the consumer of payments is paused");
    consumer(&mut facts, |consumer| {
        consumer.state = degraded(part_state::Cause::Messages, "the broker of this row holds it");
    });
    assert_is(&facts, Cause::PartitionBlocked, "the broker of this row holds it");
    consumer(&mut facts, |consumer| {
        consumer.state = degraded(part_state::Cause::Database, "no space is left");
    });
    assert_is(&facts, Cause::PaymentsDatabaseAway, "no space is left");
    consumer(&mut facts, |consumer| consumer.state = degraded(part_state::Cause::Broker, "gone"));
    assert_is(&facts, Cause::BrokerAway, "gone");
    consumer(&mut facts, |consumer| {
        let state = consumer.state.as_mut().expect("a state");
        state.condition = Condition::Failed.into();
    });
    assert_is(&facts, Cause::BrokerRefuses, "the broker refuses the consumer of payments");
    for (state, cause) in
        [(State::Parked, Cause::Parked), (State::Held, Cause::Held), (State::Redriven, Cause::Redriven)]
    {
        let parked = ParkedMessage { state: state.into(), sequence: 9, ..ParkedMessage::default() };
        theirs(&mut facts).parked = vec![parked];
        assert_eq!(assert_is(&facts, cause, "payments").parked_sequence, 9);
    }
    // What an operator has to look at is before what waits behind it.
    let number =
        |state: State, sequence| ParkedMessage { state: state.into(), sequence, ..ParkedMessage::default() };
    theirs(&mut facts).parked = vec![number(State::Waiting, 12), number(State::Parked, 9)];
    assert_eq!(assert_is(&facts, Cause::Parked, "number 9").parked_sequence, 9);
    theirs(&mut facts).database_error = "connection refused".into();
    assert_is(&facts, Cause::PaymentsDatabaseAway, "connection refused");
    facts.payments = Err("it has not answered".into());
    assert_is(&facts, Cause::PaymentsUnreachable, "it has not answered");
}

/// What others have handled says nothing of a message: what was placed before and after it does.
#[test]
fn what_has_left_the_queue_is_handled_as_long_as_those_before_it_are() {
    let mut facts = facts(5_000_000);
    theirs(&mut facts).consumer.as_mut().expect("a consumer").per_second = 20.0;
    let lost = assert_is(&facts, Cause::NotAnswered, "request");
    assert!(lost.next_attempt_time.is_some());
    facts.position = Position { before: 60, before_in_all: 100, ..Position::default() };
    assert_is(&facts, Cause::NotAnswered, "request");
    facts.position.moving = true;
    let slow = assert_is(&facts, Cause::ConsumerTooSlow, "60 messages of its partition");
    assert_eq!((slow.messages_before, slow.estimate.map(|time| time.seconds)), (60, Some(5)));
    facts.position.overtaken = true;
    theirs(&mut facts).consumer.as_mut().expect("a consumer").queue_messages = 9;
    assert_is(&facts, Cause::NotAnswered, "placed later have ended");
    let discard = |service| Discard {
        service,
        operator: "olga".into(),
        reason: "of a test".into(),
        filter: "sequence IN [4]".into(),
        affected: 1,
    };
    facts.discards = vec![discard("payments")];
    assert_is(
        &facts,
        Cause::NotAnswered,
        "olga has discarded 1 parked messages of payments since (sequence IN [4]): of a test",
    );
    facts.discards = vec![discard("orders")];
    assert!(!of(&facts).sentence.contains("olga"), "the request is not handled by orders");
    facts.difference = Some("the decision was lost on its way".into());
    assert_is(&facts, Cause::NotAnswered, "; reconciliation: the decision was lost on its way");
    facts.own.database_error = "it has not answered".into();
    assert_is(&facts, Cause::OrdersDatabaseAway, "it has not answered");
}

#[test]
fn what_was_decided_waits_for_orders() {
    let mut facts = facts(5_000_000);
    facts.payments.as_mut().expect("payments answers").payment = Some(Payment::default());
    assert_eq!(assert_is(&facts, Cause::NotAnswered, "decision").service, "orders");
    theirs(&mut facts).outbox = vec![WaitingMessage { ahead: 3, ..message("PaymentDecided") }];
    assert_eq!(assert_is(&facts, Cause::BehindOthers, "of payments").service, "payments");
    theirs(&mut facts).relay.as_mut().expect("a relay").state = part(Condition::Failed, "no permission");
    assert_is(
        &facts,
        Cause::BrokerRefuses,
        "the broker refuses the relay of payments, and somebody has to act: no permission",
    );
    facts.own.parked = vec![ParkedMessage { error: "another amount".into(), ..ParkedMessage::default() }];
    assert_is(&facts, Cause::Parked, "orders has parked");
}

/// The broker within a process leaves a message in the outbox until its consumer has handled it.
#[test]
fn without_queues_the_cause_may_lie_beyond_the_outbox() {
    let mut facts = facts(5_000_000);
    facts.own.outbox = vec![message("OrderPlaced")];
    facts.own.consumer.as_mut().expect("a consumer").queue.clear();
    theirs(&mut facts).consumer.as_mut().expect("a consumer").queue.clear();
    theirs(&mut facts).database_error = "it is closed".into();
    assert_is(&facts, Cause::PaymentsDatabaseAway, "it is closed");
    theirs(&mut facts).database_error.clear();
    assert_is(&facts, Cause::UnderWay, "its OrderPlaced is the next that orders publishes");
    facts.own.outbox[0].create_time = Some(timestamp(NOW - 9_000_000));
    let next =
        assert_is(&facts, Cause::BehindOthers, "is the next that orders publishes, and has not left for 9 s");
    assert_eq!(next.messages_before, 0);
}

#[test]
fn an_order_past_its_time_is_said_to_be() {
    let mut facts = facts(30_000_000);
    theirs(&mut facts).consumer.as_mut().expect("a consumer").state =
        part(Condition::Paused, "paused by olga");
    assert!(!of(&facts).sentence.contains("its time was over"));
    facts.order.expire_time = NOW - 18_000_000;
    assert_is(
        &facts,
        Cause::Paused,
        "its time was over at 1970-01-01T00:16:22Z: it is still paid if its request comes",
    );
}
