//! Lists: a request, read into a selection, an order and a place to go on.

use chassis::status::{Fault, Reason};
use ordermesh::{
    orders::v1::{ListOrdersRequest, order},
    rules,
};
use service::{
    filter::{self, Comparison},
    page,
    request::{Checks, non_empty},
};
use uuid::Uuid;

use super::wire;
use crate::store::{
    entity::order::{Model as Order, Status},
    selection::{Condition, Cursor, Selection, SortKey, Sorting},
};

/// What a list is to hold, and how much of it a page.
///
/// # Errors
/// INVALID_FIELD, INVALID_FILTER or INVALID_ORDER_BY.
pub(super) fn selection(request: &ListOrdersRequest) -> Result<(Selection, u64), Fault> {
    let mut checks = Checks::default();
    let size = page::size(request.page_size, &mut checks);
    let user = if request.user_id.is_empty() { Ok(()) } else { rules::user_id(&request.user_id) };
    let status = wire::status(request.status);
    checks.field("user_id", user).field("status", status.map(drop)).finish()?;
    let selection = Selection {
        user_id: non_empty(request.user_id.clone()),
        status: status.unwrap_or_default(),
        conditions: filter::conditions(&request.filter, condition)?,
        sorting: sorting(&request.order_by)?,
    };
    Ok((selection, size))
}

fn sorting(order_by: &str) -> Result<Sorting, Fault> {
    let words: Vec<&str> = order_by.split_whitespace().collect();
    let (key, direction) = match words.as_slice() {
        [] => return Ok(Sorting { key: SortKey::CreateTime, descending: true }),
        [key] => (*key, "asc"),
        [key, direction] => (*key, *direction),
        _ => ("", ""),
    };
    let key = match key {
        "create_time" => Some(SortKey::CreateTime),
        "amount" => Some(SortKey::Amount),
        _ => None,
    };
    let descending = match direction {
        "asc" => Some(false),
        "desc" => Some(true),
        _ => None,
    };
    let text = "must be create_time or amount, asc or desc";
    let invalid = || Fault::of_field(Reason::InvalidOrderBy, "order_by", text);
    Ok(Sorting { key: key.ok_or_else(invalid)?, descending: descending.ok_or_else(invalid)? })
}

fn condition(comparison: &Comparison) -> Result<Condition, String> {
    let Comparison { field, operator, value } = comparison;
    match field.as_str() {
        "status" => {
            let known =
                order::Status::from_str_name(value).and_then(|status| wire::status(status.into()).ok());
            let status: Option<Status> = known.ok_or_else(|| format!("{value:?} is no status"))?;
            Ok(Condition::Status(comparison.by_equality()?, status))
        }
        "cancel_reason" => {
            let known = order::CancelReason::from_str_name(value);
            let reason = known.ok_or_else(|| format!("{value:?} is no reason of cancellation"))?;
            Ok(Condition::CancelReason(comparison.by_equality()?, wire::cancel_reason(reason)))
        }
        "request_id" => Ok(Condition::RequestId(comparison.by_equality()?, comparison.present())),
        "amount" => Ok(Condition::Amount(*operator, comparison.minor_units()?)),
        "create_time" => Ok(Condition::CreateTime(*operator, comparison.moment()?)),
        _ => Err(format!("{field} cannot be filtered by")),
    }
}

/// The bytes of the place behind an order.
pub(super) fn cursor(sorting: Sorting, last: &Order) -> Vec<u8> {
    match sorting.key {
        SortKey::CreateTime => last.id.as_bytes().to_vec(),
        SortKey::Amount => [&last.amount.to_be_bytes()[..], last.id.as_bytes()].concat(),
    }
}

/// The place that [`cursor`] wrote.
pub(super) fn place(sorting: Sorting, cursor: &[u8]) -> Option<Cursor> {
    match sorting.key {
        SortKey::CreateTime => Some(Cursor { amount: 0, id: Uuid::from_slice(cursor).ok()? }),
        SortKey::Amount => {
            let (amount, id) = cursor.split_first_chunk()?;
            Some(Cursor { amount: i64::from_be_bytes(*amount), id: Uuid::from_slice(id).ok()? })
        }
    }
}
