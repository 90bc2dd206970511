//! `ordermesh admin jobs`: redrives in the background.

use std::time::Duration;

use anyhow::ensure;
use indicatif::{ProgressBar, ProgressStyle};
use ordermesh::messaging::v1::{
    GetRedriveRequest, ListRedrivesRequest, ListRedrivesResponse, Redrive, StopRedriveRequest,
    messaging_admin_service_client::MessagingAdminServiceClient, redrive::State,
};
use tokio::time::{Instant, sleep};

use super::{Service, answers::Answers, show};
use crate::services::{Caller, Services};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Whoever has started a redrive that gets on with nothing for so long learns that: it may wait for others, or for the end of a pause.
const QUIET: Duration = Duration::from_secs(60);

type Admin = MessagingAdminServiceClient<Caller>;

/// What is done about redrives.
#[derive(Debug, Clone, clap::Subcommand)]
pub(super) enum Jobs {
    /// Lists them, the newest first
    List {
        /// Only of this service
        #[arg(long)]
        service: Option<Service>,
        /// So many of each service at most, 1,000 at most
        #[arg(long, default_value = "20")]
        limit: i32,
    },
    /// Shows how far one is until it has ended: exit status 3 when it has not done all
    Watch {
        /// Of which service
        #[arg(long)]
        service: Service,
        /// Its number
        redrive_id: i64,
    },
    /// Stops one: what it has not tried stays parked
    Stop {
        /// Of which service
        #[arg(long)]
        service: Service,
        /// Its number
        redrive_id: i64,
        /// Who does it; it is noted beside the subject of the token
        #[arg(long, env = "USER")]
        operator: String,
        /// Why; it is noted too
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
}

/// Looks at redrives, or stops one; whether nobody has to look.
///
/// # Errors
/// When a service cannot be asked, or refuses.
pub(super) async fn run(services: &Services, jobs: Jobs, as_json: bool) -> anyhow::Result<bool> {
    match jobs {
        Jobs::List { service, limit } => list(services, service, limit, as_json).await,
        Jobs::Watch { service, redrive_id } => {
            let mut admin = Admin::new(service.of(services).await?);
            let ended = ended(&mut admin, redrive_id, None).await?;
            show_one(service, &ended, as_json)?;
            Ok(is_done(&ended))
        }
        Jobs::Stop { service, redrive_id, operator, reason } => {
            let mut admin = Admin::new(service.of(services).await?);
            let request = StopRedriveRequest { redrive_id, operator, reason };
            show_one(service, &admin.stop_redrive(request).await?.into_inner(), as_json)?;
            Ok(true)
        }
    }
}

async fn list(
    services: &Services,
    service: Option<Service>,
    limit: i32,
    as_json: bool,
) -> anyhow::Result<bool> {
    let answers = Answers::of(service, async |service: Service| {
        let mut admin = Admin::new(service.of(services).await?);
        let request = ListRedrivesRequest { page_size: limit, page_token: String::new() };
        Ok(admin.list_redrives(request).await?.into_inner())
    });
    answers.await.show(as_json, show::json_of, |listed| {
        let rows = |(service, listed): &(Service, ListRedrivesResponse)| {
            listed.redrives.iter().map(|redrive| (*service, redrive.clone())).collect::<Vec<_>>()
        };
        table(&listed.iter().flat_map(rows).collect::<Vec<_>>())
    })?;
    Ok(true)
}

/// Redrives, for a person.
pub(super) fn table(redrives: &[(Service, Redrive)]) -> Vec<String> {
    let rows: Vec<_> = redrives.iter().map(|(service, redrive)| row(*service, redrive)).collect();
    let heads =
        ["service", "number", "state", "total", "done", "failed", "left", "started", "operator", "reason"];
    show::table(heads, &rows)
}

fn row(service: Service, redrive: &Redrive) -> [String; 10] {
    let [total, done, failed, left] =
        [redrive.total, redrive.done, redrive.failed, redrive.left].map(|count| count.to_string());
    [
        service.name().to_owned(),
        redrive.redrive_id.to_string(),
        redrive.state().as_str_name().to_lowercase(),
        total,
        done,
        failed,
        left,
        show::ago(redrive.start_time.as_ref()),
        show::or_dash(&redrive.operator),
        show::short(&redrive.reason, 100),
    ]
}

/// Shows a redrive that was started, once it has ended if `waits`; whether it has done all.
///
/// # Errors
/// When it cannot be asked for, or comes no further.
pub(super) async fn follow(
    admin: &mut Admin,
    service: Service,
    started: Redrive,
    waits: bool,
    as_json: bool,
) -> anyhow::Result<bool> {
    if !waits {
        show_one(service, &started, as_json)?;
        return Ok(true);
    }
    let ended = ended(admin, started.redrive_id, Some(QUIET)).await?;
    show_one(service, &ended, as_json)?;
    Ok(is_done(&ended))
}

fn is_done(redrive: &Redrive) -> bool {
    redrive.state() == State::Finished && redrive.failed == 0 && redrive.left == 0
}

fn show_one(service: Service, redrive: &Redrive, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return show::json(&show::json_of(redrive)?);
    }
    let Redrive { redrive_id, total, done, failed, left, left_reason, .. } = redrive;
    let state = redrive.state().as_str_name().to_lowercase();
    let why =
        if left_reason.is_empty() { String::new() } else { format!(": {}", show::short(left_reason, 300)) };
    let counts = format!("{done} done, {failed} parked again, {left} left{why}");
    show::lines(&[format!(
        "redrive {redrive_id} of {total} messages of {}, {state}: {counts}",
        service.name()
    )])
}

/// Waits for the end of a redrive, and shows how far it is on a terminal.
async fn ended(admin: &mut Admin, redrive_id: i64, quiet: Option<Duration>) -> anyhow::Result<Redrive> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} tried, {elapsed} {msg}")?);
    let (mut tried, mut since) = (-1, Instant::now());
    loop {
        let redrive = admin.get_redrive(GetRedriveRequest { redrive_id }).await?.into_inner();
        let now = redrive.done + redrive.failed;
        bar.set_length(u64::try_from(redrive.total).unwrap_or_default());
        bar.set_position(u64::try_from(now).unwrap_or_default());
        bar.set_message(redrive.left_reason.clone());
        if redrive.state() != State::Running {
            bar.finish_and_clear();
            return Ok(redrive);
        }
        if std::mem::replace(&mut tried, now) != now {
            since = Instant::now();
        }
        ensure!(
            quiet.is_none_or(|quiet| since.elapsed() < quiet),
            "the redrive {redrive_id} has come no further for a minute, and goes on: {} are left. {}",
            redrive.left,
            redrive.left_reason
        );
        sleep(LOOK).await;
    }
}
