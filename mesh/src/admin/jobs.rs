//! `ordermesh admin jobs`: redrives in the background.

use std::time::Duration;

use anyhow::ensure;
use indicatif::{ProgressBar, ProgressStyle};
use ordermesh::messaging::v1::{
    GetRedriveRequest, ListRedrivesRequest, ListRedrivesResponse, Redrive, StopRedriveRequest, redrive::State,
};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use super::{
    answers::Answers,
    passed::Passed,
    service::{Admin, Service},
    show,
};
use crate::services::Services;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Whoever has started a redrive that gets on with nothing for so long learns that: it may wait for others, or for the end of a pause.
const QUIET: Duration = Duration::from_secs(60);

/// A process may be away for so long before whoever follows a redrive is left alone with it: it ends and is started again.
const AWAY: Duration = Duration::from_secs(30);

/// What is done about redrives.
#[derive(Debug, Clone, clap::Subcommand)]
pub(super) enum Jobs {
    /// Lists them, the newest first
    List {
        /// Only of this service
        #[arg(long)]
        service: Option<Service>,
        /// So many of each service at most, 1,000 at most
        #[arg(long, default_value = "20", value_parser = clap::value_parser!(i32).range(1..))]
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
    answers.await.show(
        as_json,
        |listed| show::list_of("redrives", listed),
        |listed| {
            let rows = |(service, listed): &(Service, ListRedrivesResponse)| {
                listed.redrives.iter().map(|redrive| (*service, redrive.clone())).collect::<Vec<_>>()
            };
            table(&listed.iter().flat_map(rows).collect::<Vec<_>>())
        },
    )?;
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

/// Shows a redrive that was started, once it has ended if `waits`, and what it has passed over; whether it has done all, or there was nothing to do.
///
/// # Errors
/// When it cannot be asked for, or comes no further.
pub(super) async fn follow(
    admin: &mut Admin,
    service: Service,
    started: Redrive,
    passed: &Passed,
    waits: bool,
    as_json: bool,
) -> anyhow::Result<bool> {
    let is_nothing = started.total == 0;
    let seen =
        if waits && !is_nothing { ended(admin, started.redrive_id, Some(QUIET)).await? } else { started };
    if as_json {
        let mut json = show::json_of(&seen)?;
        json["passedOver"] = passed.json();
        show::answer(service, &json)?;
    } else {
        let nothing = "there is nothing to redrive: ";
        let why = if passed.all() == 0 { "nothing meets it" } else { "all that meets it is passed over" };
        let why = is_nothing.then(|| format!("{nothing}{why}"));
        let lines = [line(service, &seen)].into_iter().chain(why).chain(passed.words());
        show::lines(&lines.collect::<Vec<_>>())?;
    }
    Ok(if is_nothing { passed.all() == 0 } else { !waits || is_done(&seen) })
}

fn is_done(redrive: &Redrive) -> bool {
    redrive.state() == State::Finished && redrive.failed == 0 && redrive.left == 0
}

fn show_one(service: Service, redrive: &Redrive, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return show::answer(service, &show::json_of(redrive)?);
    }
    show::lines(&[line(service, redrive)])
}

fn line(service: Service, redrive: &Redrive) -> String {
    let Redrive { redrive_id, total, done, failed, left, left_reason, .. } = redrive;
    let state = redrive.state().as_str_name().to_lowercase();
    let why =
        if left_reason.is_empty() { String::new() } else { format!(": {}", show::short(left_reason, 300)) };
    let counts = format!("{done} done, {failed} parked again, {left} left{why}");
    format!("redrive {redrive_id} of {total} messages of {}, {state}: {counts}", service.name())
}

/// Waits for the end of a redrive, and shows how far it is on a terminal.
async fn ended(admin: &mut Admin, redrive_id: i64, quiet: Option<Duration>) -> anyhow::Result<Redrive> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} tried, {elapsed} {msg}")?);
    let (mut tried, mut since, mut reason) = (-1, Instant::now(), String::new());
    loop {
        let redrive = asked(admin, redrive_id, &bar).await?;
        let now = redrive.done + redrive.failed;
        bar.set_length(u64::try_from(redrive.total).unwrap_or_default());
        bar.set_position(u64::try_from(now).unwrap_or_default());
        bar.set_message(redrive.left_reason.clone());
        if bar.is_hidden() && redrive.left_reason != reason {
            // Where there is no bar, a person waits without a word otherwise.
            reason.clone_from(&redrive.left_reason);
            eprintln!("redrive {redrive_id}: {} left. {}", redrive.left, show::short(&reason, 300));
        }
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

/// How far it is. A process that ends, or is started again, ends no redrive: it is asked again as long as that takes.
async fn asked(admin: &mut Admin, redrive_id: i64, bar: &ProgressBar) -> anyhow::Result<Redrive> {
    let (since, mut is_said) = (Instant::now(), false);
    loop {
        match admin.get_redrive(GetRedriveRequest { redrive_id }).await {
            Ok(redrive) => return Ok(redrive.into_inner()),
            Err(status) if is_away(&status) && since.elapsed() < AWAY => {
                if !std::mem::replace(&mut is_said, true) {
                    let line =
                        format!("redrive {redrive_id} goes on, and is asked for again: {}", status.message());
                    if bar.is_hidden() { eprintln!("{line}") } else { bar.println(line) }
                }
                sleep(LOOK).await;
            }
            Err(status) if is_away(&status) => {
                let goes_on = format!(
                    "the redrive {redrive_id} goes on, in another process or once one runs: ordermesh admin jobs watch {redrive_id}"
                );
                return Err(anyhow::Error::new(status).context(goes_on));
            }
            Err(status) => return Err(status.into()),
        }
    }
}

fn is_away(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}
