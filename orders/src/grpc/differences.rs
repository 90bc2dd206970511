//! What orders and payments have otherwise, for an operator, and that it is to be healed now.

use chassis::{clock::timestamp, status::Fault};
use messaging::parked::{Operator, note};
use ordermesh::{
    orders::v1::{self as pb, GetReconciliationRequest, HealDifferencesRequest, difference},
    payments::v1::payment::{Outcome, Reason},
    reconciliation::v1::DecidedOrder,
};
use prost::Message as _;
use sea_orm::prelude::Uuid;
use service::{
    decisions::MOST,
    fault,
    page::{self, PageTokens},
    request::{Checks, non_empty, origin},
};
use storage::Database;
use tonic::Request;

use crate::{
    reconciliation::status::Status,
    store::differences::{self, Kind, Model},
};

/// The longest name of an operator, and the longest reason, in characters.
const OPERATOR_MAX: usize = 64;
const REASON_MAX: usize = 1_024;

/// Answers GetReconciliation.
///
/// # Errors
/// INVALID_FIELD, INVALID_PAGE_TOKEN, and as the database says.
pub(super) async fn get(
    database: &Database,
    pages: &PageTokens,
    status: Status,
    request: GetReconciliationRequest,
) -> Result<pb::Reconciliation, Fault> {
    let GetReconciliationRequest { page_size, page_token, healed } = request;
    let mut checks = Checks::default();
    let size = page::size(page_size, &mut checks);
    checks.finish()?;
    let query: &[u8] = if healed { b"GetReconciliation healed" } else { b"GetReconciliation" };
    let id = |cursor: &[u8]| Uuid::from_slice(cursor).ok();
    let after = pages.resume(query, &page_token, id)?.unwrap_or(Uuid::nil());
    let page = differences::page(database.read(), healed, after, size + 1).await;
    let mut page = page.map_err(fault)?;
    let next_page_token = pages.cut(query, size, &mut page, |last| last.order_id.into_bytes());
    let counts = differences::counts(database.read()).await.map_err(fault)?;
    Ok(pb::Reconciliation {
        differences: page.into_iter().map(wire).collect(),
        next_page_token,
        total: counts.values().sum(),
        comparing: status.comparing,
        compared_time: status.compared.map(timestamp),
        sweep_time: status.sweep.map(timestamp),
        sweep_end_time: status.swept.map(timestamp),
        error: status.error,
    })
}

/// Answers HealDifferences: how many differences it concerns.
///
/// # Errors
/// INVALID_FIELD, and as the database says.
pub(super) async fn heal(
    database: &Database,
    request: Request<HealDifferencesRequest>,
) -> Result<i64, Fault> {
    let origin = origin(&request);
    let HealDifferencesRequest { order_ids, operator, reason } = request.into_inner();
    let ids: Vec<Uuid> = order_ids.iter().filter_map(|id| id.parse().ok()).collect();
    let are_ids = ids.len() == order_ids.len() && ids.len() <= MOST;
    let fits = |text: &str, most: usize| text.chars().count() <= most && !text.contains('\0');
    let is_name = !operator.is_empty() && fits(&operator, OPERATOR_MAX);
    Checks::default()
        .field("order_ids", are_ids.then_some(()).ok_or("must be at most 1,000 UUIDs"))
        .field("operator", is_name.then_some(()).ok_or("must be 1 to 64 characters, without U+0000"))
        .field(
            "reason",
            fits(&reason, REASON_MAX).then_some(()).ok_or("must be at most 1,024 characters, without U+0000"),
        )
        .finish()?;
    let operator = Operator { name: operator, reason: non_empty(reason), origin };
    let healed = database.transact(move |transaction| {
        let (ids, operator) = (ids.clone(), operator.clone());
        Box::pin(async move {
            let count = differences::heal_now(transaction, &ids).await?;
            let which = if ids.is_empty() { "all differences".to_owned() } else { format!("orders {ids:?}") };
            note::write(transaction, operator, "Heal", which, count).await?;
            Ok(count)
        })
    });
    Ok(i64::try_from(healed.await.map_err(fault)?).unwrap_or(i64::MAX))
}

fn wire(row: Model) -> pb::Difference {
    let (orders, payments) = (order(row.orders_has.as_deref()), order(row.payments_has.as_deref()));
    let kind = match row.kind {
        Kind::NotApplied => difference::Kind::NotApplied,
        Kind::DecisionLost => difference::Kind::DecisionLost,
        Kind::OrderLost => difference::Kind::OrderLost,
        Kind::Contradiction => difference::Kind::Contradiction,
    };
    pb::Difference {
        order_id: row.order_id.to_string(),
        kind: kind.into(),
        sentence: sentence(&row),
        orders,
        payments,
        find_time: Some(timestamp(row.find_time)),
        heal_time: row.heal_time.map(timestamp),
        heal_attempts: row.heal_attempts,
        next_heal_time: row.next_heal_time.map(timestamp),
    }
}

fn order(bytes: Option<&[u8]>) -> Option<DecidedOrder> {
    DecidedOrder::decode(bytes?).ok()
}

/// What has happened and what is to be done.
#[must_use]
pub fn sentence(row: &Model) -> String {
    let (orders, payments) = (order(row.orders_has.as_deref()), order(row.payments_has.as_deref()));
    let was = orders.as_ref().map(decision).unwrap_or_default();
    let decided = payments.as_ref().map(decision).unwrap_or_default();
    match row.kind {
        Kind::NotApplied => {
            format!(
                "payments has decided {decided}, and the order is NEW: the decision was lost on its way, or is parked \
                 (ExplainOrder says where); payments is asked for it again"
            )
        }
        Kind::DecisionLost if row.heal_attempts < 2 => {
            format!(
                "the order has ended as {was}, and payments has no decision, perhaps because its database was restored \
                 from an earlier backup: payments is asked to decide as before"
            )
        }
        Kind::DecisionLost => {
            format!(
                "the order has ended as {was}, and payments has no decision and would decide otherwise now: see what the \
                 account has lost, book that again, and it is healed with the next attempt"
            )
        }
        Kind::OrderLost => {
            let money = if payments.as_ref().is_some_and(|payment| payment.outcome() == Outcome::Paid) {
                "; the money was taken: pay it back by a top-up, or place the order anew, and beware of clients that repeat it \
                 by themselves"
            } else {
                "; no money was taken"
            };
            format!(
                "payments has decided {decided}, and orders has no such order, perhaps because its database was restored \
                 from an earlier backup{money}"
            )
        }
        Kind::Contradiction => {
            format!(
                "the order has ended as {was}, and payments has decided {decided}: neither is changed by itself"
            )
        }
    }
}

/// A decision in words: `PAID, 30 RUB of alice`.
fn decision(order: &DecidedOrder) -> String {
    let DecidedOrder { user_id, amount, currency_code, .. } = order;
    let reason = match order.reason() {
        Reason::Unspecified => String::new(),
        reason => format!(" for {}", reason.as_str_name()),
    };
    format!("{}{reason}, {amount} {currency_code} of {user_id}", order.outcome().as_str_name())
}
