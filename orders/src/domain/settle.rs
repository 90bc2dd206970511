//! What a decision about its payment does to an order: it ends it, once, or it is refused.

use uuid::Uuid;

use crate::store::entity::order::{CancelReason, Model as Order, Status};

/// A decision of payments, as orders reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The order decided about.
    pub order_id: Uuid,
    /// Whose account it was to be.
    pub user_id: String,
    /// In minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency_code: String,
    /// What becomes of the order.
    pub end: End,
}

/// How an order ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Paid, by this ledger entry.
    Finished(Uuid),
    /// Not paid, for this reason.
    Cancelled(CancelReason),
}

impl End {
    /// The status, the reason and the ledger entry of an order that ends so.
    #[must_use]
    pub const fn columns(self) -> (Status, Option<CancelReason>, Option<Uuid>) {
        match self {
            Self::Finished(entry) => (Status::Finished, None, Some(entry)),
            Self::Cancelled(reason) => (Status::Cancelled, Some(reason), None),
        }
    }
}

/// What to do with a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// The order ends by it.
    Apply,
    /// The order has ended by it before.
    Already,
    /// It does not fit the order: nobody must act on it before a person has looked.
    Refuse(String),
}

/// Holds a decision against its order.
#[must_use]
pub fn transition(order: Option<&Order>, decision: &Decision) -> Transition {
    let Some(order) = order else {
        return Transition::Refuse(format!("there is no order {}", decision.order_id));
    };
    let ordered = (order.user_id.as_str(), order.amount, order.currency_code.as_str());
    let decided = (decision.user_id.as_str(), decision.amount, decision.currency_code.as_str());
    if ordered != decided {
        let (decided, ordered) = (sum_of(decided), sum_of(ordered));
        return Transition::Refuse(format!("the decision is about {decided}, and the order about {ordered}"));
    }
    if order.status == Status::New {
        return Transition::Apply;
    }
    let ended = (order.status, order.cancel_reason, order.ledger_entry_id);
    if ended == decision.end.columns() {
        Transition::Already
    } else {
        Transition::Refuse(format!("the order has ended otherwise: {}", words(ended)))
    }
}

fn sum_of((user_id, amount, currency_code): (&str, i64, &str)) -> String {
    format!("{amount} {currency_code} of {user_id:?}")
}

/// How an order has ended, for an operator.
fn words((status, reason, entry): (Status, Option<CancelReason>, Option<Uuid>)) -> String {
    let reason = reason.map(|reason| match reason {
        CancelReason::InsufficientFunds => "INSUFFICIENT_FUNDS",
        CancelReason::AccountNotFound => "ACCOUNT_NOT_FOUND",
        CancelReason::CurrencyMismatch => "CURRENCY_MISMATCH",
        CancelReason::UserRequested => "USER_REQUESTED",
        CancelReason::PaymentExpired => "PAYMENT_EXPIRED",
    });
    match (status, reason, entry) {
        (Status::Cancelled, reason, _) => format!("CANCELLED for {}", reason.unwrap_or("no reason")),
        (Status::Finished, _, Some(entry)) => format!("FINISHED by the ledger entry {entry}"),
        (Status::Finished, _, None) => "FINISHED without a ledger entry".to_owned(),
        (Status::New, ..) => "NEW".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(status: Status) -> Order {
        Order {
            id: Uuid::nil(),
            user_id: "alice".into(),
            amount: 100,
            currency_code: "RUB".into(),
            description: String::new(),
            status,
            cancel_reason: None,
            create_time: 0,
            update_time: 0,
            expire_time: 0,
            cancel_request_time: None,
            cancel_request_id: None,
            void_due_time: 0,
            ask_due_time: 0,
            asked_message_id: None,
            version: 1,
            change_number: 0,
            ledger_entry_id: (status == Status::Finished).then(Uuid::max),
            request_id: None,
            fingerprint: None,
            subject: None,
            token_id: None,
            x_request_id: None,
        }
    }

    fn decision(end: End) -> Decision {
        Decision {
            order_id: Uuid::nil(),
            user_id: "alice".into(),
            amount: 100,
            currency_code: "RUB".into(),
            end,
        }
    }

    #[test]
    fn a_decision_ends_a_new_order_and_comes_again_harmlessly() {
        let paid = decision(End::Finished(Uuid::max()));
        assert_eq!(transition(Some(&order(Status::New)), &paid), Transition::Apply);
        assert_eq!(transition(Some(&order(Status::Finished)), &paid), Transition::Already);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let paid = decision(End::Finished(Uuid::max()));
        let refused = |order: Option<&Order>, decision: &Decision| {
            matches!(transition(order, decision), Transition::Refuse(_))
        };
        assert!(refused(None, &paid));
        assert!(refused(Some(&order(Status::New)), &Decision { amount: 99, ..paid.clone() }));
        assert!(refused(
            Some(&order(Status::New)),
            &Decision { currency_code: "EUR".into(), ..paid.clone() }
        ));
        assert!(refused(Some(&order(Status::New)), &Decision { user_id: "bob".into(), ..paid }));
        let rejected = decision(End::Cancelled(CancelReason::InsufficientFunds));
        assert!(refused(Some(&order(Status::Finished)), &rejected));
    }

    #[test]
    fn why_it_is_refused_is_read_by_an_operator() {
        let why = |order: &Order, decision: &Decision| match transition(Some(order), decision) {
            Transition::Refuse(why) => why,
            other => format!("{other:?}"),
        };
        let paid = decision(End::Finished(Uuid::nil()));
        let other = Decision { amount: 99, ..paid.clone() };
        let about = "the decision is about 99 RUB of \"alice\", and the order about 100 RUB of \"alice\"";
        assert_eq!(why(&order(Status::New), &other), about);
        let ended = format!("the order has ended otherwise: FINISHED by the ledger entry {}", Uuid::max());
        assert_eq!(why(&order(Status::Finished), &paid), ended);
        let reason = Some(CancelReason::PaymentExpired);
        let cancelled = Order { cancel_reason: reason, ..order(Status::Cancelled) };
        assert_eq!(why(&cancelled, &paid), "the order has ended otherwise: CANCELLED for PAYMENT_EXPIRED");
    }
}
