//! What is done to parked messages.

use anyhow::Context as _;
use ordermesh::messaging::v1::{
    self as pb, DiscardParkedMessagesRequest, EditParkedMessageRequest, RedriveParkedMessagesRequest,
    StartRedriveRequest,
};
use prost_types::Struct;
use serde_json::Value;

use super::super::{
    passed::Passed,
    service::{Admin, Service},
    show,
    which::{Which, Who},
};
use crate::services::Services;

/// Flags of `parked redrive`.
#[derive(Debug, Clone, clap::Args)]
pub(in crate::admin) struct Redrive {
    /// Of which service
    #[arg(long)]
    pub(super) service: Service,
    #[command(flatten)]
    pub(super) which: Which,
    /// Only the first so many, in the order they were parked; all when 0
    #[arg(long, default_value = "0", hide_default_value = true)]
    first: i64,
    /// Messages a second, at most 1,000; as many as there can be when 0
    #[arg(long, default_value = "0", hide_default_value = true)]
    per_second: i32,
    /// Who does it; it is noted beside the subject of the token
    #[arg(long, env = "USER")]
    operator: String,
    /// Why; it is noted too
    #[arg(long, default_value = "by ordermesh admin")]
    reason: String,
    /// Only counts them
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Starts it, and does not wait for its end
    #[arg(long)]
    pub(super) no_wait: bool,
}

/// Counts what a redrive would send back.
pub(super) async fn count(services: &Services, redrive: Redrive, as_json: bool) -> anyhow::Result<bool> {
    let mut admin = Admin::new(redrive.service.of(services).await?);
    let filter = redrive.which.filter()?;
    let request = RedriveParkedMessagesRequest {
        filter: Some(filter.clone()),
        max_messages: redrive.first,
        operator: redrive.operator,
        dry_run: true,
        ..RedriveParkedMessagesRequest::default()
    };
    let is_limited = redrive.first > 0;
    let mut counted = admin.redrive_parked_messages(request).await?.into_inner();
    let passed = Passed::over(&mut admin, &filter, None).await?;
    if !is_limited {
        counted.redriven = (counted.redriven - passed.untried).max(0);
    }
    if as_json {
        let mut json = show::json_of(&counted)?;
        json["passedOver"] = passed.json();
        show::answer(redrive.service, &json)?;
    } else {
        let name = redrive.service.name();
        let repeats = with(counted.repeats);
        let counted = format!("{} messages would be sent back to {name}{repeats}", counted.redriven);
        show::lines(&[counted].into_iter().chain(passed.words()).collect::<Vec<_>>())?;
    }
    Ok(true)
}

/// Starts a redrive.
pub(super) async fn start(admin: &mut Admin, redrive: Redrive) -> anyhow::Result<pb::Redrive> {
    let request = StartRedriveRequest {
        filter: Some(redrive.which.filter()?),
        max_messages: redrive.first,
        per_second: redrive.per_second,
        operator: redrive.operator,
        reason: redrive.reason,
    };
    Ok(admin.start_redrive(request).await?.into_inner())
}

/// Changes a payload, and shows what it is then.
pub(super) async fn edit(
    admin: &mut Admin,
    service: Service,
    sequence: i64,
    patch: &str,
    who: Who,
    dry_run: bool,
    as_json: bool,
) -> anyhow::Result<bool> {
    let patch: Value = serde_json::from_str(patch).context("--patch is no JSON")?;
    let patch: Struct = show::to_struct(&patch).context("--patch is no JSON object")?;
    let Who { operator, reason } = who;
    let request = EditParkedMessageRequest { sequence, patch: Some(patch), operator, reason, dry_run };
    let edited = admin.edit_parked_message(request).await?.into_inner();
    let json = show::json_of(&edited)?;
    if as_json {
        show::answer(service, &json)?;
    } else {
        let done = if dry_run { "would be" } else { "is" };
        let said = |payload: &str| json[payload].to_string();
        show::lines(&[
            format!("the message {sequence} {done} {}", said("decoded")),
            format!("and was {}", said("originalDecoded")),
        ])?;
    }
    Ok(true)
}

/// Removes messages for good.
pub(super) async fn discard(
    admin: &mut Admin,
    service: Service,
    request: DiscardParkedMessagesRequest,
    as_json: bool,
) -> anyhow::Result<bool> {
    let (dry_run, most) = (request.dry_run, request.max_messages);
    if most > 0 && !dry_run {
        // A version before this field passes over it, and would discard all that the filter means.
        let asked = DiscardParkedMessagesRequest { dry_run: true, ..request.clone() };
        let counted = admin.discard_parked_messages(asked).await?.into_inner().discarded;
        let knows = counted <= most;
        anyhow::ensure!(knows, "{} does not know --first: it is of a version before", service.name());
    }
    let discarded = admin.discard_parked_messages(request).await?.into_inner();
    if as_json {
        show::answer(service, &show::json_of(&discarded)?)?;
    } else {
        let done = if dry_run { "would be discarded" } else { "were discarded" };
        let (name, repeats) = (service.name(), with(discarded.repeats));
        show::lines(&[format!("{} messages of {name} {done}{repeats}", discarded.discarded)])?;
    }
    Ok(true)
}

/// What is done to messages is done to the requests that repeat them.
fn with(repeats: i64) -> String {
    if repeats == 0 { String::new() } else { format!(", with {repeats} that repeat them") }
}
