//! `ordermesh admin reconciliation`: the sums, and what orders and payments have stored otherwise.

use anyhow::Context as _;
use ordermesh::{
    orders::v1::{
        Difference, GetReconciliationRequest, HealDifferencesRequest, Reconciliation as Compared,
        orders_admin_service_client::OrdersAdminServiceClient,
    },
    payments::v1::{
        GetReconciliationReportRequest, ReconciliationReport,
        payments_admin_service_client::PaymentsAdminServiceClient, reconciliation_report::Currency,
    },
};
use serde_json::{Value, json};

use super::{service::Service, show};
use crate::services::Services;

/// Differences that are shown at most.
const SHOWN: i32 = 1_000;

/// Flags of `reconciliation`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Reconciliation {
    /// Those that are healed, instead of those that are there
    #[arg(long)]
    healed: bool,
    /// Heals what can be healed now, instead of when it is due
    #[arg(long, requires = "operator")]
    heal: bool,
    /// Only this order is healed; may be given several times
    #[arg(long, value_name = "ORDER", requires = "heal")]
    order: Vec<String>,
    /// Who acts
    #[arg(long, default_value = "", hide_default_value = true)]
    operator: String,
    /// Why
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

/// Shows the sums and the differences, or lets them be healed; whether nothing is wrong.
///
/// # Errors
/// When a service cannot be asked.
pub(super) async fn run(services: &Services, flags: Reconciliation, as_json: bool) -> anyhow::Result<bool> {
    if flags.heal {
        return heal(services, flags, as_json).await;
    }
    // Of the one that answers everything is shown, also while the other one is away.
    let (report, compared) = tokio::join!(reported(services), compared(services, flags.healed));
    if as_json {
        show::json(&together(&report, &compared)?)?;
    } else {
        report.as_ref().map_or(Ok(()), |report| show::lines(&sums(report)))?;
        compared.as_ref().map_or(Ok(()), |compared| show::lines(&differences(compared)))?;
    }
    let compared = compared.context("orders cannot be asked");
    let report = report.context("payments cannot be asked")?;
    let is_right = |sums: &Currency| sums.balances == sums.top_ups - sums.debits;
    Ok(compared?.total == 0 && report.currencies.iter().all(is_right))
}

async fn heal(services: &Services, flags: Reconciliation, as_json: bool) -> anyhow::Result<bool> {
    let Reconciliation { order: order_ids, operator, reason, .. } = flags;
    let request = HealDifferencesRequest { order_ids, operator, reason };
    let mut orders = OrdersAdminServiceClient::new(services.orders().await?);
    let healed = orders.heal_differences(request).await?.into_inner();
    if as_json {
        show::answer(Service::Orders, &show::json_of(&healed)?)?;
    } else {
        show::lines(&[format!("{} differences are to be healed now", healed.differences)])?;
    }
    Ok(true)
}

async fn reported(services: &Services) -> anyhow::Result<ReconciliationReport> {
    let mut payments = PaymentsAdminServiceClient::new(services.payments().await?);
    Ok(payments.get_reconciliation_report(GetReconciliationReportRequest {}).await?.into_inner())
}

async fn compared(services: &Services, healed: bool) -> anyhow::Result<Compared> {
    let mut orders = OrdersAdminServiceClient::new(services.orders().await?);
    let request =
        GetReconciliationRequest { page_size: SHOWN, healed, ..GetReconciliationRequest::default() };
    Ok(orders.get_reconciliation(request).await?.into_inner())
}

/// What both services answer, each below its name; of one that does not, why.
fn together(
    report: &anyhow::Result<ReconciliationReport>,
    compared: &anyhow::Result<Compared>,
) -> anyhow::Result<Value> {
    let away = |error: &anyhow::Error| Ok(json!({ "error": show::error(error) }));
    let differences =
        compared.as_ref().map_or_else(away, |compared| show::list_of("differences", compared))?;
    let sums = report.as_ref().map_or_else(away, |report| show::list_of("currencies", report))?;
    Ok(json!({ (Service::Orders.name()): differences, (Service::Payments.name()): sums }))
}

fn sums(report: &ReconciliationReport) -> Vec<String> {
    let row = |sums: &Currency| {
        let difference = sums.top_ups - sums.debits - sums.balances;
        let sums_of = [sums.accounts, sums.balances, sums.top_ups, sums.debits, difference];
        let [accounts, balances, top_ups, debits, difference] = sums_of.map(|sum| sum.to_string());
        [sums.currency_code.clone(), accounts, balances, top_ups, debits, difference]
    };
    let rows: Vec<_> = report.currencies.iter().map(row).collect();
    let heads = ["currency", "accounts", "balances", "top-ups", "debits", "difference"];
    show::table(heads, &rows)
}

fn differences(compared: &Compared) -> Vec<String> {
    let row = |difference: &Difference| {
        [
            difference.order_id.clone(),
            difference.kind().as_str_name().to_owned(),
            show::moment(difference.find_time.as_ref()),
            difference.heal_attempts.to_string(),
            difference.sentence.clone(),
        ]
    };
    let rows: Vec<_> = compared.differences.iter().map(row).collect();
    let mut lines =
        vec![String::new(), format!("{} orders differ between orders and payments", compared.total)];
    if !compared.error.is_empty() {
        lines.push(format!("not compared by the process that answers: {}", compared.error));
    } else if compared.comparing {
        let (from, until) = (compared.sweep_time.as_ref(), compared.compared_time.as_ref());
        lines.push(format!("compared up to {}, back to {}", show::moment(until), show::moment(from)));
    }
    if !rows.is_empty() {
        lines.extend(show::table(["order", "kind", "found", "attempts", "what"], &rows));
    }
    if !compared.next_page_token.is_empty() {
        lines.push(format!("and more: these are the first {}", compared.differences.len()));
    }
    lines
}
