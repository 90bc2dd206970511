//! What a message asks of payments, read from its payload.

use messaging::{
    envelope::Envelope,
    origin::{Origin, storable},
};
use ordermesh::{
    orders::v1::OrderPlaced,
    payments::v1::{
        RestoreDecision, VoidPayment,
        payment::{self as pb, Outcome as Decided},
    },
    rules,
};
use prost::{DecodeError, Message as _, Name as _};

use crate::{
    domain::book::{Charge, Restored},
    store::entity::payment::{Outcome, Reason},
};

/// The charge in a message, or why there is none: such a message is parked, not guessed at.
pub(super) fn read(message: &Envelope) -> Result<Charge, String> {
    let undecodable = |error: DecodeError| error.to_string();
    if message.kind == OrderPlaced::full_name() {
        let placed = OrderPlaced::decode(message.payload.clone()).map_err(undecodable)?;
        charge(placed, None, None, message)
    } else if message.kind == VoidPayment::full_name() {
        let void = VoidPayment::decode(message.payload.clone()).map_err(undecodable)?;
        let reason = voided(void.reason())?;
        let VoidPayment { order_id, user_id, amount, currency_code, .. } = void;
        let placed = OrderPlaced { order_id, user_id, amount, currency_code, ..OrderPlaced::default() };
        charge(placed, Some(reason), None, message)
    } else if message.kind == RestoreDecision::full_name() {
        restored(RestoreDecision::decode(message.payload.clone()).map_err(undecodable)?, message)
    } else {
        Err(format!("payments does not know messages of the kind {}", message.kind))
    }
}

fn restored(was: RestoreDecision, message: &Envelope) -> Result<Charge, String> {
    let (outcome, reason) = match was.outcome() {
        Decided::Paid => (Outcome::Paid, None),
        Decided::Rejected => (Outcome::Rejected, Some(rejected(was.reason())?)),
        Decided::Voided => (Outcome::Voided, Some(voided(was.reason())?)),
        other => return Err(format!("a decision is not {}", other.as_str_name())),
    };
    let id = &was.ledger_entry_id;
    let entry = (outcome == Outcome::Paid).then(|| id.parse()).transpose();
    let ledger_entry_id = entry.map_err(|_| format!("ledger_entry_id {id:?} is no UUID"))?;
    let void = reason.filter(|_| outcome == Outcome::Voided);
    let RestoreDecision { order_id, user_id, amount, currency_code, x_request_id, .. } = was;
    let restored = Restored { outcome, reason, ledger_entry_id };
    let placed = OrderPlaced { order_id, user_id, amount, currency_code, x_request_id };
    charge(placed, void, Some(restored), message)
}

fn voided(reason: pb::Reason) -> Result<Reason, String> {
    match reason {
        pb::Reason::UserRequested => Ok(Reason::UserRequested),
        pb::Reason::PaymentExpired => Ok(Reason::PaymentExpired),
        other => Err(format!("a payment is not voided for {}", other.as_str_name())),
    }
}

fn rejected(reason: pb::Reason) -> Result<Reason, String> {
    match reason {
        pb::Reason::InsufficientFunds => Ok(Reason::InsufficientFunds),
        pb::Reason::AccountNotFound => Ok(Reason::AccountNotFound),
        pb::Reason::CurrencyMismatch => Ok(Reason::CurrencyMismatch),
        other => Err(format!("a payment is not rejected for {}", other.as_str_name())),
    }
}

fn charge(
    placed: OrderPlaced,
    void: Option<Reason>,
    restored: Option<Restored>,
    message: &Envelope,
) -> Result<Charge, String> {
    for (field, verdict) in [
        ("user_id", rules::user_id(&placed.user_id)),
        ("amount", rules::amount(placed.amount)),
        ("currency_code", rules::currency_code(&placed.currency_code)),
    ] {
        verdict.map_err(|problem| format!("{field} {problem}"))?;
    }
    let OrderPlaced { order_id, user_id, amount, currency_code, x_request_id } = placed;
    let order_id = order_id.parse().map_err(|_| format!("order_id {order_id:?} is no UUID"))?;
    let x_request_id = storable(&x_request_id).map(str::to_owned);
    let origin = Origin { x_request_id, ..Origin::of(message) };
    Ok(Charge { order_id, user_id, amount, currency_code, void, origin, restored })
}
