//! `ordermesh admin status`: what waits at each service.

use anyhow::bail;
use futures_util::future::join_all;
use ordermesh::messaging::v1::{
    GetMessagingStatusRequest, MessagingStatus, PartState, ProcessState,
    messaging_admin_service_client::MessagingAdminServiceClient,
};
use serde_json::{Value, json};

use super::{Service, show};
use crate::services::Services;

/// Of a service what waits there, or why it does not say.
pub(super) type Asked = (Service, anyhow::Result<MessagingStatus>);

/// Shows what waits at each service, and whether nobody has to look. One that is away is shown as that, beside the others.
///
/// # Errors
/// When a service cannot be asked, once all were shown.
pub(super) async fn status(services: &Services, as_json: bool) -> anyhow::Result<bool> {
    let asked = join_all(Service::ALL.map(|service| async move { (service, ask(services, service).await) }));
    let asked = asked.await;
    if as_json {
        show_json(&asked)?;
    } else {
        show::lines(&lines(&asked))?;
    }
    whether_fine(&asked)
}

async fn ask(services: &Services, service: Service) -> anyhow::Result<MessagingStatus> {
    let mut admin = MessagingAdminServiceClient::new(service.of(services).await?);
    Ok(admin.get_messaging_status(GetMessagingStatusRequest {}).await?.into_inner())
}

/// Whether nobody has to look.
///
/// # Errors
/// When a service has not said.
pub(super) fn whether_fine(asked: &[Asked]) -> anyhow::Result<bool> {
    let away = asked.iter().filter(|(_, status)| status.is_err());
    let away: Vec<&str> = away.map(|(service, _)| service.name()).collect();
    if !away.is_empty() {
        bail!("{} cannot be asked", away.join(" and "));
    }
    Ok(asked.iter().all(|(_, status)| status.as_ref().is_ok_and(is_fine)))
}

/// What waits for a person, or for somebody who subscribes, is not.
fn is_fine(status: &MessagingStatus) -> bool {
    status.parked == 0 && status.held == 0 && status.outbox_unroutable == 0 && status.dead_letters == 0
}

/// Prints a line of JSON.
///
/// # Errors
/// When nobody reads it.
pub(super) fn show_json(asked: &[Asked]) -> anyhow::Result<()> {
    let json = |(service, status): &Asked| {
        let said = match status {
            Ok(status) => show::json_of(status)?,
            Err(error) => json!({ "error": format!("{error:#}") }),
        };
        anyhow::Ok((service.name().to_owned(), said))
    };
    let all: anyhow::Result<serde_json::Map<String, Value>> = asked.iter().map(json).collect();
    show::json(&all?.into())
}

/// The same for a person.
pub(super) fn lines(asked: &[Asked]) -> Vec<String> {
    let rows: Vec<_> = asked.iter().map(row).collect();
    let heads = [
        "service",
        "in outbox",
        "oldest",
        "unroutable",
        "parked",
        "held",
        "waiting",
        "sent back",
        "dead letters",
    ];
    let mut lines = show::table(heads, &rows);
    lines.extend(parts(asked));
    lines.extend(processes(asked));
    for (service, status) in asked {
        if let Err(error) = status {
            lines.push(format!("{}: {}", service.name(), show::short(&format!("{error:#}"), 200)));
        }
    }
    lines
}

/// What each part does, as the process sees it that has answered.
fn parts(asked: &[Asked]) -> Vec<String> {
    let said = asked.iter().filter_map(|(service, status)| Some((service.name(), status.as_ref().ok()?)));
    let rows: Vec<_> = said
        .flat_map(|(service, status)| {
            let relay = status.relay.iter().map(|relay| {
                let held = format!("lease of {}", show::or_dash(&relay.lease_holder));
                part(service, status, "relay", relay.state.as_ref(), relay.per_second, held)
            });
            let consumers = status.consumers.iter().map(|consumer| {
                let name = format!("consumer.{}", consumer.partition);
                let queue = if consumer.queue.is_empty() {
                    "no queue".to_owned()
                } else {
                    format!("{} ready, {} consumers", consumer.queue_messages, consumer.queue_consumers)
                };
                part(service, status, &name, consumer.state.as_ref(), consumer.per_second, queue)
            });
            relay.chain(consumers).collect::<Vec<_>>()
        })
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let table = show::table(["service", "version", "part", "state", "a second", "of", "why"], &rows);
    [String::new()].into_iter().chain(table).collect()
}

/// The processes of each service, and when each last said that it runs.
fn processes(asked: &[Asked]) -> Vec<String> {
    let said = asked.iter().filter_map(|(service, status)| Some((service.name(), status.as_ref().ok()?)));
    let row = |service: &str, process: &ProcessState| {
        [
            service.to_owned(),
            show::or_dash(&process.version),
            show::or_dash(&process.build),
            show::or_dash(&process.process_id),
            show::or_dash(&process.host),
            show::ago(process.start_time.as_ref()),
            show::ago(process.seen_time.as_ref()),
        ]
    };
    let rows: Vec<_> = said
        .flat_map(|(service, status)| status.processes.iter().map(move |one| row(service, one)))
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let table = show::table(["service", "version", "build", "process", "host", "started", "seen"], &rows);
    [String::new()].into_iter().chain(table).collect()
}

fn part(
    service: &str,
    status: &MessagingStatus,
    name: &str,
    state: Option<&PartState>,
    per_second: f64,
    of: String,
) -> [String; 7] {
    let condition = state.map(PartState::condition).unwrap_or_default();
    [
        service.to_owned(),
        show::or_dash(&status.version),
        name.to_owned(),
        condition.as_str_name().to_lowercase(),
        format!("{per_second:.1}"),
        of,
        show::short(state.map_or("", |state| state.reason.as_str()), 100),
    ]
}

fn row((service, status): &Asked) -> [String; 9] {
    let Ok(status) = status else {
        let mut row = std::array::from_fn(|_| "?".to_owned());
        row[0] = service.name().to_owned();
        return row;
    };
    [
        service.name().to_owned(),
        status.outbox_pending.to_string(),
        show::ago(status.outbox_oldest_time.as_ref()),
        status.outbox_unroutable.to_string(),
        status.parked.to_string(),
        status.held.to_string(),
        status.waiting.to_string(),
        status.redriven.to_string(),
        status.dead_letters.to_string(),
    ]
}
