//! `ordermesh admin status`: what waits at each service.

use std::{
    io::{IsTerminal as _, Write as _, stdout},
    time::Duration,
};

use anyhow::bail;
use ordermesh::messaging::v1::{
    GetMessagingStatusRequest, MessagingStatus, messaging_admin_service_client::MessagingAdminServiceClient,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Service, show};
use crate::services::Services;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Of a service what waits there, or why it does not say.
type Asked = (Service, anyhow::Result<MessagingStatus>);

/// Shows what waits at each service, and whether nobody has to look. One that is away is shown as that, beside the others.
///
/// # Errors
/// When a service cannot be asked, once all were shown.
pub(super) async fn status(services: &Services, watch: bool, as_json: bool) -> anyhow::Result<bool> {
    loop {
        let mut asked = Vec::new();
        for service in Service::ALL {
            asked.push((service, ask(services, service).await));
        }
        if watch && stdout().is_terminal() {
            write!(stdout(), "\x1b[H\x1b[2J")?;
        }
        show_all(&asked, as_json)?;
        if !watch {
            return whether_fine(&asked);
        }
        sleep(LOOK).await;
    }
}

async fn ask(services: &Services, service: Service) -> anyhow::Result<MessagingStatus> {
    let mut admin = MessagingAdminServiceClient::new(service.of(services).await?);
    Ok(admin.get_messaging_status(GetMessagingStatusRequest {}).await?.into_inner())
}

fn whether_fine(asked: &[Asked]) -> anyhow::Result<bool> {
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

fn show_all(asked: &[Asked], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let json = |(service, status): &Asked| {
            let said = match status {
                Ok(status) => show::json_of(status)?,
                Err(error) => json!({ "error": format!("{error:#}") }),
            };
            anyhow::Ok((service.name().to_owned(), said))
        };
        let all: anyhow::Result<serde_json::Map<String, Value>> = asked.iter().map(json).collect();
        return show::json(&all?.into());
    }
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
    for (service, status) in asked {
        if let Err(error) = status {
            lines.push(format!("{}: {}", service.name(), show::short(&format!("{error:#}"), 200)));
        }
    }
    show::lines(&lines)
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
