//! The domain's noun in the words of the contract.

use chassis::clock::timestamp;
use ordermesh::orders::v1 as pb;

use crate::store::entity::order::{CancelReason, Model, Status};

/// An order.
#[must_use]
pub fn order(order: &Model) -> pb::Order {
    let status = match order.status {
        Status::New => pb::order::Status::New,
        Status::Finished => pb::order::Status::Finished,
        Status::Cancelled => pb::order::Status::Cancelled,
    };
    let reason = order.cancel_reason.map_or(pb::order::CancelReason::Unspecified, |reason| match reason {
        CancelReason::InsufficientFunds => pb::order::CancelReason::InsufficientFunds,
        CancelReason::AccountNotFound => pb::order::CancelReason::AccountNotFound,
        CancelReason::CurrencyMismatch => pb::order::CancelReason::CurrencyMismatch,
        CancelReason::UserRequested => pb::order::CancelReason::UserRequested,
        CancelReason::PaymentExpired => pb::order::CancelReason::PaymentExpired,
    });
    pb::Order {
        id: order.id.to_string(),
        user_id: order.user_id.clone(),
        amount: order.amount,
        currency_code: order.currency_code.clone(),
        description: order.description.clone(),
        status: status.into(),
        cancel_reason: reason.into(),
        create_time: Some(timestamp(order.create_time)),
        update_time: Some(timestamp(order.update_time)),
        expire_time: Some(timestamp(order.expire_time)),
        cancel_request_time: order.cancel_request_time.map(timestamp),
        version: order.version,
        ledger_entry_id: order.ledger_entry_id.map(|id| id.to_string()).unwrap_or_default(),
    }
}

/// The reason of the contract as the domain's; `None` for no choice.
#[must_use]
pub fn cancel_reason(reason: pb::order::CancelReason) -> Option<CancelReason> {
    match reason {
        pb::order::CancelReason::Unspecified => None,
        pb::order::CancelReason::InsufficientFunds => Some(CancelReason::InsufficientFunds),
        pb::order::CancelReason::AccountNotFound => Some(CancelReason::AccountNotFound),
        pb::order::CancelReason::CurrencyMismatch => Some(CancelReason::CurrencyMismatch),
        pb::order::CancelReason::UserRequested => Some(CancelReason::UserRequested),
        pb::order::CancelReason::PaymentExpired => Some(CancelReason::PaymentExpired),
    }
}

/// The status that a list is narrowed to; `None` for no choice.
///
/// # Errors
/// A number that is no status.
pub fn status(number: i32) -> Result<Option<Status>, &'static str> {
    match pb::order::Status::try_from(number) {
        Ok(pb::order::Status::Unspecified) => Ok(None),
        Ok(pb::order::Status::New) => Ok(Some(Status::New)),
        Ok(pb::order::Status::Finished) => Ok(Some(Status::Finished)),
        Ok(pb::order::Status::Cancelled) => Ok(Some(Status::Cancelled)),
        Err(_) => Err("must be a status of orders"),
    }
}
