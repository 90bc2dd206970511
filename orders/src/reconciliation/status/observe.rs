//! What reconciliation reports: log lines and metrics.

use std::collections::BTreeMap;

use chassis::clock::Micros;
use metrics::{counter, describe_counter, describe_gauge, gauge};

use crate::store::differences::{Kind, Model};

const DIFFERENCES: &str = "reconciliation_differences";
const FOUND: &str = "reconciliation_found_total";
const HEALED: &str = "reconciliation_healed_total";
const ORDERS: &str = "reconciliation_compared_orders_total";
const UNTIL: &str = "reconciliation_compared_time_seconds";

/// What is counted is there from the start.
pub(crate) fn begins() {
    describe_gauge!(DIFFERENCES, "orders that orders and payments have stored otherwise, by what is wrong");
    describe_counter!(FOUND, "such orders that were found");
    describe_counter!(HEALED, "such orders that are alike again");
    describe_counter!(ORDERS, "decided orders that were compared");
    describe_gauge!(
        UNTIL,
        "orders that were placed before this time are compared, in seconds since the Unix epoch"
    );
    for kind in Kind::ALL {
        counter!(FOUND, "kind" => kind.name()).increment(0);
        counter!(HEALED, "kind" => kind.name()).increment(0);
    }
    counter!(ORDERS).increment(0);
}

/// So many decided orders were compared.
pub(crate) fn compared(orders: i64) {
    counter!(ORDERS).increment(u64::try_from(orders).unwrap_or_default());
}

/// Orders that were placed before are compared.
pub(crate) fn compared_until(until: Micros) {
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds since the epoch need 31 bits, and microseconds 51"
    )]
    gauge!(UNTIL).set(until as f64 / 1e6);
}

/// How many differences there are.
pub(crate) fn differences(counts: &BTreeMap<Kind, i64>) {
    for kind in Kind::ALL {
        let count = counts.get(&kind).copied().unwrap_or_default();
        gauge!(DIFFERENCES, "kind" => kind.name()).set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
    }
}

/// A difference was found.
pub(crate) fn found(difference: &Model) {
    let (kind, heals) = (difference.kind, difference.kind.can_heal());
    counter!(FOUND, "kind" => kind.name()).increment(1);
    let id = difference.order_id;
    if heals {
        tracing::warn!(order.id = %id, difference.kind = kind.name(), "orders and payments differ: it will be healed");
    } else {
        tracing::error!(
            order.id = %id,
            difference.kind = kind.name(),
            "orders and payments differ: an operator has to look (ordermesh admin reconciliation)"
        );
    }
}

/// A difference is gone.
pub(crate) fn healed(difference: &Model) {
    let kind = difference.kind.name();
    counter!(HEALED, "kind" => kind).increment(1);
    tracing::info!(order.id = %difference.order_id, difference.kind = kind, "orders and payments are alike again");
}
