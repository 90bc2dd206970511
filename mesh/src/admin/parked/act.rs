//! What is done to parked messages.

use anyhow::Context as _;
use ordermesh::messaging::v1::{
    self as pb, DiscardParkedMessagesRequest, EditParkedMessageRequest, RedriveParkedMessagesRequest,
    StartRedriveRequest,
};
use prost_types::Struct;
use serde_json::Value;

use super::{
    super::{Service, show, which::Who},
    Admin, Redrive,
};
use crate::services::Services;

/// Counts what a redrive would send back.
pub(super) async fn count(services: &Services, redrive: Redrive, as_json: bool) -> anyhow::Result<bool> {
    let mut admin = Admin::new(redrive.service.of(services).await?);
    let request = RedriveParkedMessagesRequest {
        filter: Some(redrive.which.filter()?),
        max_messages: redrive.first,
        operator: redrive.operator,
        dry_run: true,
        ..RedriveParkedMessagesRequest::default()
    };
    let counted = admin.redrive_parked_messages(request).await?.into_inner();
    if as_json {
        show::json(&show::json_of(&counted)?)?;
    } else {
        let name = redrive.service.name();
        show::lines(&[format!("{} messages would be sent back to {name}", counted.redriven)])?;
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
        show::json(&json)?;
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
        show::json(&show::json_of(&discarded)?)?;
    } else {
        let done = if dry_run { "would be discarded" } else { "were discarded" };
        show::lines(&[format!("{} messages of {} {done}", discarded.discarded, service.name())])?;
    }
    Ok(true)
}
