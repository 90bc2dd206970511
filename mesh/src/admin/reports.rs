//! `ordermesh admin audit` and `accounts`: lists.

use ordermesh::{
    audit::v1::{AuditEvent, ListAuditEventsRequest, audit_service_client::AuditServiceClient},
    payments::v1::{ListAccountsRequest, payments_admin_service_client::PaymentsAdminServiceClient},
};

use super::{answers::Answers, service::Service, show};
use crate::services::{Caller, Services};

/// Rows of one call at most.
const PAGE: usize = 1_000;

/// Flags of `audit`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Audit {
    /// Only of this service
    #[arg(long)]
    service: Option<Service>,
    /// Only events that meet this expression, such as `subject = alice AND time >= 2026-01-31T00:00:00Z`
    #[arg(long, default_value = "", hide_default_value = true)]
    filter: String,
    /// So many events of each service at most
    #[arg(long, default_value = "50", value_parser = show::limit)]
    limit: usize,
}

/// Flags of `accounts`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Accounts {
    /// So many accounts at most
    #[arg(long, default_value = "1000", value_parser = show::limit)]
    limit: usize,
}

/// The size of the next page of a list that is to have so many rows.
fn page_size(limit: usize, had: usize) -> i32 {
    i32::try_from(limit.saturating_sub(had).min(PAGE)).unwrap_or(i32::MAX)
}

/// Lists who did what.
///
/// # Errors
/// When a service cannot be asked.
pub(super) async fn audit(services: &Services, audit: Audit, as_json: bool) -> anyhow::Result<bool> {
    let answers = Answers::of(audit.service, async |service: Service| {
        events(AuditServiceClient::new(service.of(services).await?), &audit).await
    });
    answers.await.show(
        as_json,
        |events| show::all_json("events", events),
        |listed| {
            let rows = |(service, events): &(Service, Vec<AuditEvent>)| {
                events.iter().map(|event| row(*service, event)).collect::<Vec<_>>()
            };
            let heads = ["service", "time", "action", "who", "about", "amount", "trace", "reason"];
            show::table(heads, &listed.iter().flat_map(rows).collect::<Vec<_>>())
        },
    )?;
    Ok(true)
}

async fn events(mut client: AuditServiceClient<Caller>, audit: &Audit) -> anyhow::Result<Vec<AuditEvent>> {
    let (mut events, mut page_token) = (Vec::new(), String::new());
    while events.len() < audit.limit {
        let page_size = page_size(audit.limit, events.len());
        let request = ListAuditEventsRequest { page_size, page_token, filter: audit.filter.clone() };
        let page = client.list_audit_events(request).await?.into_inner();
        events.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(events)
}

fn row(service: Service, event: &AuditEvent) -> [String; 8] {
    let who = match (event.operator.as_str(), event.subject.as_str()) {
        ("", subject) => show::or_dash(subject),
        (operator, "") => operator.to_owned(),
        (operator, subject) => format!("{operator} ({subject})"),
    };
    let about = if event.operator.is_empty() {
        [event.user_id.as_str(), event.order_id.as_str()].join(" ").trim().to_owned()
    } else {
        format!("{} messages: {}", event.affected, show::short(&event.filter, 200))
    };
    [
        service.name().to_owned(),
        show::moment(event.time.as_ref()),
        event.action.clone(),
        who,
        about,
        event.amount.to_string(),
        show::or_dash(&event.trace_id),
        show::or_dash(&show::short(&event.reason, 200)),
    ]
}

/// Lists accounts.
///
/// # Errors
/// When payments cannot be asked.
pub(super) async fn accounts(services: &Services, flags: Accounts, as_json: bool) -> anyhow::Result<bool> {
    let mut client = PaymentsAdminServiceClient::new(services.payments().await?);
    let (mut accounts, mut page_token) = (Vec::new(), String::new());
    while accounts.len() < flags.limit {
        let page_size = page_size(flags.limit, accounts.len());
        let page = client.list_accounts(ListAccountsRequest { page_size, page_token }).await?.into_inner();
        accounts.extend(page.accounts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if as_json {
        show::answer(Service::Payments, &show::all_json("accounts", &accounts)?)?;
    } else {
        let row = |account: &ordermesh::payments::v1::Account| {
            [
                account.user_id.clone(),
                account.balance.unwrap_or_default().to_string(),
                account.currency_code.clone(),
                show::moment(account.update_time.as_ref()),
            ]
        };
        let rows: Vec<_> = accounts.iter().map(row).collect();
        show::lines(&show::table(["user", "balance", "currency", "changed"], &rows))?;
    }
    Ok(true)
}
