//! `ordermesh check --reconcile`: every decided order, as orders and as payments has it. The mesh may be at work.

use std::{
    collections::BTreeMap,
    fmt,
    io::{IsTerminal as _, Write as _, stderr, stdout},
    process::ExitCode,
    time::Duration,
};

use async_trait::async_trait;
use chassis::clock::{Clock as _, Micros, SystemClock, timestamp};
use ordermesh::{
    orders::v1::orders_admin_service_client::OrdersAdminServiceClient,
    payments::v1::{payment::Reason, payments_admin_service_client::PaymentsAdminServiceClient},
    reconciliation::v1::{DecidedOrder, DigestDecisionsRequest, ListDecisionsRequest, ListDecisionsResponse},
};
use orders::reconciliation::{
    compare::{self, Difference, MOST_FOUND},
    side::{Counted, Side},
};
use serde_json::{Value, json};
use tonic::Status;

use crate::{
    out,
    services::{Caller, Services},
};

/// The longest range of a digest, in microseconds.
const MINUTE: Micros = 60_000_000;
/// Orders that are asked for at once.
const TOGETHER: usize = 1_000;

struct Orders(OrdersAdminServiceClient<Caller>);
struct Payments(PaymentsAdminServiceClient<Caller>);

fn digests(from: Micros, until: Micros) -> DigestDecisionsRequest {
    DigestDecisionsRequest { from: Some(timestamp(from)), until: Some(timestamp(until)) }
}

fn error(service: &str) -> impl Fn(Status) -> String {
    move |status| format!("{service}: {}: {}", status.code(), status.message())
}

#[async_trait]
impl Side for Orders {
    async fn digest(&self, from: Micros, until: Micros) -> Result<Counted, String> {
        let digest = self.0.clone().digest_decisions(digests(from, until)).await;
        Ok(Counted::from(digest.map_err(error("orders"))?.into_inner()))
    }

    async fn list(&self, request: ListDecisionsRequest) -> Result<ListDecisionsResponse, String> {
        Ok(self.0.clone().list_decisions(request).await.map_err(error("orders"))?.into_inner())
    }
}

#[async_trait]
impl Side for Payments {
    async fn digest(&self, from: Micros, until: Micros) -> Result<Counted, String> {
        let digest = self.0.clone().digest_decisions(digests(from, until)).await;
        Ok(Counted::from(digest.map_err(error("payments"))?.into_inner()))
    }

    async fn list(&self, request: ListDecisionsRequest) -> Result<ListDecisionsResponse, String> {
        Ok(self.0.clone().list_decisions(request).await.map_err(error("payments"))?.into_inner())
    }
}

impl fmt::Debug for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Orders")
    }
}

impl fmt::Debug for Payments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payments")
    }
}

/// Compares everything, and shows what differs; exit status 1 when anything does.
///
/// # Errors
/// When the services cannot be asked.
pub(super) async fn run(services: &Services, settle: Duration, as_json: bool) -> anyhow::Result<ExitCode> {
    let orders = Orders(OrdersAdminServiceClient::new(services.orders().await?));
    let payments = Payments(PaymentsAdminServiceClient::new(services.payments().await?));
    let (count, found) = everything(&orders, &payments, settle).await.map_err(anyhow::Error::msg)?;
    out::whether_read(show(count, &found, as_json))?;
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many decided orders there are, and what differs and still does when everything has settled.
async fn everything(
    orders: &Orders,
    payments: &Payments,
    settle: Duration,
) -> Result<(i64, Vec<Difference>), String> {
    let settled = Micros::try_from(settle.as_micros()).unwrap_or(Micros::MAX);
    let mut until = (SystemClock.now() - settled) / 1_000 * 1_000;
    let (mut count, mut suspects, mut is_rest) = (0, BTreeMap::new(), false);
    loop {
        let from = (until - 1) / MINUTE * MINUTE;
        let compared = compare::range(orders, payments, from, until, MOST_FOUND).await?;
        // Those of a minute that was left are counted already.
        count += if is_rest { 0 } else { compared.orders };
        let found = compared.differences.into_iter();
        suspects.extend(found.map(|difference| (difference.order_id, difference)));
        progress(count);
        is_rest = compared.left_at.is_some();
        if let Some(left_at) = compared.left_at {
            until = left_at;
            continue;
        }
        let Some(earlier) = compared.earlier else { break };
        until = from.min(earlier / 1_000 * 1_000 + 1_000);
    }
    if suspects.is_empty() {
        return Ok((count, Vec::new()));
    }
    tokio::time::sleep(settle).await;
    let ids: Vec<_> = suspects.into_keys().collect();
    let mut found = Vec::new();
    for ids in ids.chunks(TOGETHER) {
        found.extend(compare::these(orders, payments, ids).await?.0);
    }
    Ok((count, found))
}

/// Shows how far the comparison is, to a person who watches.
fn progress(compared: i64) {
    if stderr().is_terminal() {
        // Nobody reads a terminal that has gone.
        let _unseen = write!(stderr(), "\r\x1b[Kcompared: {compared}");
    }
}

fn show(count: i64, found: &[Difference], as_json: bool) -> std::io::Result<()> {
    let mut out = stdout().lock();
    if as_json {
        let row = |difference: &Difference| {
            json!({
                "orderId": difference.order_id.to_string(),
                "kind": difference.kind.name(),
                "orders": difference.orders.as_ref().map(words),
                "payments": difference.payments.as_ref().map(words),
            })
        };
        let rows: Vec<Value> = found.iter().map(row).collect();
        return writeln!(out, "{}", json!({ "compared": count, "differences": rows }));
    }
    if stderr().is_terminal() {
        write!(stderr(), "\r\x1b[K")?;
    }
    writeln!(out, "{count} decided orders were compared, {} differ", found.len())?;
    for Difference { order_id, kind, orders, payments } in found {
        let side = |order: &Option<DecidedOrder>| order.as_ref().map_or_else(|| "nothing".to_owned(), words);
        writeln!(
            out,
            "{order_id} {}: orders has {}, payments has {}",
            kind.name(),
            side(orders),
            side(payments)
        )?;
    }
    Ok(())
}

fn words(order: &DecidedOrder) -> String {
    let DecidedOrder { user_id, amount, currency_code, .. } = order;
    let outcome = order.outcome().as_str_name();
    let reason = match order.reason() {
        Reason::Unspecified => String::new(),
        reason => format!(" for {}", reason.as_str_name()),
    };
    format!("{outcome}{reason}, {amount} {currency_code} of {user_id}")
}
