//! The contracts: an event on its way to the wire and back, and what tells one request from another.

use std::hint::black_box;

use ordermesh::{
    orders::v1::{Order, OrderPlaced, order::Status},
    payments::v1::{Payment, PaymentDecided, payment::Outcome},
};
use prost::Message;
use prost_types::Timestamp;

use super::Call;

pub(super) const ORDER_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// An order as it ends: with most of its fields.
pub(super) fn order() -> Order {
    let at = |seconds| Some(Timestamp { seconds, nanos: 123_456_000 });
    Order {
        id: ORDER_ID.to_owned(),
        user_id: "alice".to_owned(),
        amount: 1_999,
        currency_code: "EUR".to_owned(),
        description: "two tickets, row 7; \"aisle\"".to_owned(),
        status: Status::Finished.into(),
        create_time: at(1_750_000_000),
        update_time: at(1_750_000_001),
        expire_time: at(1_750_000_900),
        version: 2,
        ledger_entry_id: ORDER_ID.to_owned(),
        ..Order::default()
    }
}

fn placed() -> OrderPlaced {
    let Order { id: order_id, user_id, amount, currency_code, .. } = order();
    OrderPlaced { order_id, user_id, amount, currency_code, ..OrderPlaced::default() }
}

fn decided() -> PaymentDecided {
    let Order { id: order_id, user_id, amount, currency_code, ledger_entry_id, update_time, .. } = order();
    let payment = Payment {
        order_id,
        user_id,
        amount,
        currency_code,
        outcome: Outcome::Paid.into(),
        account_version: Some(7),
        balance_observed: Some(100_000),
        ledger_entry_id,
        decide_time: update_time,
        ..Payment::default()
    };
    PaymentDecided { payment: Some(payment) }
}

fn encode(message: impl Message + 'static) -> Call {
    Box::new(move || {
        black_box(black_box(&message).encode_to_vec());
    })
}

fn decode<M: Message + Default + 'static>(message: &M) -> Call {
    let wire = message.encode_to_vec();
    Box::new(move || {
        black_box(M::decode(black_box(wire.as_slice())).is_ok());
    })
}

pub(super) fn encode_placed() -> Call {
    encode(placed())
}

pub(super) fn decode_placed() -> Call {
    decode(&placed())
}

pub(super) fn encode_decided() -> Call {
    encode(decided())
}

pub(super) fn decode_decided() -> Call {
    decode(&decided())
}

pub(super) fn fingerprint() -> Call {
    let order = order();
    Box::new(move || {
        black_box(service::request::fingerprint(black_box(&order)));
    })
}
