//! Rows cut into statements, and page tokens.

use std::hint::black_box;

use sea_orm::Value;
use service::page::{Key, PageTokens};
use storage::rows::{self, value_bytes};

use super::{Call, contracts::ORDER_ID};

/// A query is told by its fingerprint, and a place in it by the sorted value and the id of the last row.
const QUERY: [u8; 32] = [5; 32];
const CURSOR: [u8; 24] = [9; 24];

pub(super) fn statements() -> Call {
    // Of the width of an order.
    let row = |number: i64| -> Vec<Value> {
        let numbers = (0..8).map(|column| Value::from(number + column));
        numbers.chain((0..6).map(|_| Value::from(ORDER_ID))).collect()
    };
    let rows: Vec<Vec<Value>> = (0..200).map(row).collect();
    Box::new(move || {
        let bytes = |row: &Vec<Value>| row.iter().map(value_bytes).sum();
        black_box(rows::statements(black_box(&rows), bytes));
    })
}

pub(super) fn seal() -> Call {
    let tokens = PageTokens::new(&Key::new(Box::new([7; 32])));
    Box::new(move || {
        black_box(tokens.seal(black_box(&QUERY), black_box(&CURSOR)));
    })
}

pub(super) fn open() -> Call {
    let tokens = PageTokens::new(&Key::new(Box::new([7; 32])));
    let token = tokens.seal(&QUERY, &CURSOR);
    Box::new(move || {
        black_box(tokens.open(black_box(&QUERY), black_box(&token)).is_ok());
    })
}
