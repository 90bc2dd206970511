//! `ordermesh admin status` and `parked`: the messages of each service.

use std::{
    io::{IsTerminal as _, Write as _, stdout},
    time::Duration,
};

use anyhow::ensure;
use indicatif::{ProgressBar, ProgressStyle};
use ordermesh::messaging::v1::{
    GetMessagingStatusRequest, ListParkedMessagesRequest, MessagingStatus, ParkedMessage, ParkedMessageView,
    RedriveParkedMessagesRequest, messaging_admin_service_client::MessagingAdminServiceClient,
};
use serde_json::Value;
use tokio::time::sleep;

use super::{Service, chosen, show};
use crate::services::{Caller, Services};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// The largest page.
const PAGE: usize = 1_000;

type Admin = MessagingAdminServiceClient<Caller>;

/// What is done about parked messages.
#[derive(Debug, Clone, clap::Subcommand)]
pub(super) enum Parked {
    /// Lists them in the order they were parked
    List {
        /// Only of this service
        #[arg(long)]
        service: Option<Service>,
        #[command(flatten)]
        which: Which,
        /// So many messages of each service at most
        #[arg(long, default_value = "50")]
        limit: usize,
    },
    /// Sends them back to the consumer that parked them, and waits until it has come to each
    Redrive {
        /// Of which service
        #[arg(long)]
        service: Service,
        #[command(flatten)]
        which: Which,
        /// Only those with these numbers
        #[arg(long = "sequence", value_name = "NUMBERS", value_delimiter = ',')]
        sequences: Vec<i64>,
        /// Who does it; it is noted beside the subject of the token
        #[arg(long, env = "USER")]
        operator: String,
        /// Only counts them
        #[arg(long)]
        dry_run: bool,
    },
}

/// Which parked messages are meant: those that meet every condition that is given.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Which {
    /// Only of this kind, such as `ordermesh.orders.v1.OrderPlaced`
    #[arg(long, default_value = "", hide_default_value = true)]
    kind: String,
    /// Only with this text in their error
    #[arg(long, default_value = "", hide_default_value = true)]
    error: String,
}

/// Shows what waits at each service, and whether nobody has to look.
///
/// # Errors
/// When a service cannot be asked.
pub(super) async fn status(services: &Services, watch: bool, as_json: bool) -> anyhow::Result<bool> {
    let mut admins = Vec::new();
    for service in Service::ALL {
        admins.push((service, Admin::new(service.of(services).await?)));
    }
    loop {
        let mut statuses = Vec::new();
        for (service, admin) in &mut admins {
            let status = admin.get_messaging_status(GetMessagingStatusRequest {}).await?.into_inner();
            statuses.push((*service, status));
        }
        if watch && stdout().is_terminal() {
            write!(stdout(), "\x1b[H\x1b[2J")?;
        }
        show_statuses(&statuses, as_json)?;
        if !watch {
            return Ok(statuses.iter().all(|(_, status)| is_fine(status)));
        }
        sleep(LOOK).await;
    }
}

/// What waits for a person, or for somebody who subscribes, is not.
fn is_fine(status: &MessagingStatus) -> bool {
    status.parked == 0 && status.held == 0 && status.outbox_unroutable == 0 && status.dead_letters == 0
}

fn show_statuses(statuses: &[(Service, MessagingStatus)], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let json = |(service, status): &(Service, MessagingStatus)| {
            anyhow::Ok((service.name().to_owned(), show::json_of(status)?))
        };
        let all: anyhow::Result<serde_json::Map<String, Value>> = statuses.iter().map(json).collect();
        return show::json(&all?.into());
    }
    let rows: Vec<_> = statuses
        .iter()
        .map(|(service, status)| {
            [
                service.name().to_owned(),
                status.outbox_pending.to_string(),
                show::ago(status.outbox_oldest_time.as_ref()),
                status.outbox_unroutable.to_string(),
                status.parked.to_string(),
                status.held.to_string(),
                status.redriven.to_string(),
                status.dead_letters.to_string(),
            ]
        })
        .collect();
    let heads =
        ["service", "in outbox", "oldest", "unroutable", "parked", "held", "sent back", "dead letters"];
    show::lines(&show::table(heads, &rows))
}

/// Lists parked messages, or sends them back.
///
/// # Errors
/// When a service cannot be asked.
pub(super) async fn parked(services: &Services, parked: Parked, as_json: bool) -> anyhow::Result<bool> {
    match parked {
        Parked::List { service, which, limit } => {
            let (mut found, mut rows) = (serde_json::Map::new(), Vec::new());
            for service in chosen(service) {
                let mut admin = Admin::new(service.of(services).await?);
                let messages = list(&mut admin, &which, limit).await?;
                rows.extend(messages.iter().map(|message| row(service, message)));
                let messages: Result<Vec<Value>, _> = messages.iter().map(show::json_of).collect();
                found.insert(service.name().to_owned(), messages?.into());
            }
            if as_json {
                show::json(&found.into())?;
            } else {
                let heads = ["service", "number", "state", "kind", "key", "parked", "attempts", "error"];
                show::lines(&show::table(heads, &rows))?;
            }
            Ok(rows.is_empty())
        }
        Parked::Redrive { service, which, sequences, operator, dry_run } => {
            let mut admin = Admin::new(service.of(services).await?);
            let Which { kind, error } = which;
            let request = RedriveParkedMessagesRequest {
                sequences,
                kind,
                error,
                operator,
                dry_run,
                ..RedriveParkedMessagesRequest::default()
            };
            let sent = admin.redrive_parked_messages(request).await?.into_inner();
            if !dry_run && !as_json {
                come_to_all(&mut admin, sent.redriven).await?;
            }
            if as_json {
                show::json(&show::json_of(&sent)?)?;
            } else {
                let done = if dry_run { "would be sent back" } else { "were sent back" };
                show::lines(&[format!("{} messages {done} to {}", sent.redriven, service.name())])?;
            }
            Ok(true)
        }
    }
}

async fn list(admin: &mut Admin, which: &Which, limit: usize) -> anyhow::Result<Vec<ParkedMessage>> {
    let (mut messages, mut page_token) = (Vec::new(), String::new());
    while messages.len() < limit {
        let page_size = i32::try_from((limit - messages.len()).min(PAGE))?;
        let (kind, error) = (which.kind.clone(), which.error.clone());
        let request = ListParkedMessagesRequest {
            page_size,
            page_token,
            kind,
            error,
            view: ParkedMessageView::Basic.into(),
            ..ListParkedMessagesRequest::default()
        };
        let page = admin.list_parked_messages(request).await?.into_inner();
        messages.extend(page.messages);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(messages)
}

fn row(service: Service, message: &ParkedMessage) -> [String; 8] {
    [
        service.name().to_owned(),
        message.sequence.to_string(),
        message.state().as_str_name().to_lowercase(),
        show::or_dash(message.kind.rsplit('.').next().unwrap_or_default()),
        show::or_dash(&message.partition_key),
        show::ago(message.park_time.as_ref()),
        message.attempts.to_string(),
        show::short(&message.error, 200),
    ]
}

/// Waits until the consumer has come to each message that was sent back, and shows how far it is.
async fn come_to_all(admin: &mut Admin, sent: i64) -> anyhow::Result<()> {
    let sent = u64::try_from(sent).unwrap_or_default();
    let bar = ProgressBar::new(sent);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} handled or parked again, {elapsed}")?);
    let mut quiet = 0;
    loop {
        let status = admin.get_messaging_status(GetMessagingStatusRequest {}).await?.into_inner();
        let left = u64::try_from(status.redriven).unwrap_or_default();
        let before = bar.position();
        bar.set_position(sent.saturating_sub(left));
        if left == 0 {
            bar.finish_and_clear();
            return Ok(());
        }
        quiet = if bar.position() == before { quiet + 1 } else { 0 };
        ensure!(
            quiet < 60,
            "{left} messages were sent back, and their consumer has come to none for a minute"
        );
        sleep(LOOK).await;
    }
}
