//! Lists: what a filter says of a column, as a condition of a query.

use sea_orm::{ColumnTrait, ExprTrait as _, Value, sea_query::SimpleExpr};

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
