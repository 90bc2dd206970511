//! Lists: what a filter says of a column, as a condition of a query.

use chassis::clock::Micros;
use sea_orm::{ColumnTrait, ExprTrait as _, Value, prelude::Uuid, sea_query::SimpleExpr};

use crate::filter::Operator;

/// Of a column that always has a value.
pub fn compare(column: impl ColumnTrait, operator: Operator, value: impl Into<Value>) -> SimpleExpr {
    match operator {
        Operator::Equal => column.eq(value),
        Operator::NotEqual => column.ne(value),
        Operator::Less => column.lt(value),
        Operator::AtMost => column.lte(value),
        Operator::Greater => column.gt(value),
        Operator::AtLeast => column.gte(value),
    }
}

/// By `=` or `!=`, of what may be absent: to be without a value is to have another one.
pub fn equal(column: impl ColumnTrait, operator: Operator, value: Option<impl Into<Value>>) -> SimpleExpr {
    match (operator, value) {
        (Operator::NotEqual, Some(value)) => column.ne(value).or(column.is_null()),
        (Operator::NotEqual, None) => column.is_not_null(),
        (_, Some(value)) => column.eq(value),
        (_, None) => column.is_null(),
    }
}

/// Of a column of ids that begin with a moment (UUIDv7): by that moment, so that their index is the index of times, too.
pub fn begun(column: impl ColumnTrait, operator: Operator, at: Micros) -> SimpleExpr {
    let from = |at: Micros| column.gte(first_id(at));
    let before = |at: Micros| column.lt(first_id(at));
    let next = at.saturating_add(1);
    match operator {
        Operator::Equal => from(at).and(before(next)),
        Operator::NotEqual => before(at).or(from(next)),
        Operator::Less => before(at),
        Operator::AtMost => before(next),
        Operator::Greater => from(next),
        Operator::AtLeast => from(at),
    }
}

/// The smallest id that was made at this time or later (RFC 9562, section 5.7: 48 bits of milliseconds).
#[must_use]
pub fn first_id(at: Micros) -> Uuid {
    let millis = at.saturating_add(999).div_euclid(1_000).clamp(0, (1 << 48) - 1);
    Uuid::from_u128(u128::try_from(millis).unwrap_or_default() << 80)
}
