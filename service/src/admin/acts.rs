//! What an operator does to parked messages: each act is noted with who did it and why.

use chassis::status::{Fault, Reason as Because};
use messaging::parked::{self, Action, Edited, Mode};
use ordermesh::messaging::v1::{
    self as pb, DiscardParkedMessagesRequest, DiscardParkedMessagesResponse, EditParkedMessageRequest,
    ParkedMessageView, RedriveParkedMessagesRequest, RedriveParkedMessagesResponse,
};
use tonic::Request;

use super::{
    MessagingAdmin,
    payload::Refusal,
    selection::{self, Reason},
    shown::message,
    structs::to_json,
};
use crate::{fault, request::Checks};

/// Of a patch so many bytes are noted.
const NOTED: usize = 2_048;

impl MessagingAdmin {
    pub(super) async fn redrive(
        &self,
        request: Request<RedriveParkedMessagesRequest>,
    ) -> Result<RedriveParkedMessagesResponse, Fault> {
        let mut checks = Checks::default();
        let given = request.get_ref();
        let filter = selection::filter(given.filter.clone(), "filter.", &mut checks);
        let filter = selection::narrowed(filter, &given.kind, &given.error, &mut checks);
        let mut filter = selection::numbered(filter, &given.sequences, &mut checks);
        filter.first = selection::first(given.max_messages, &mut checks);
        let operator =
            selection::operator(&request, &given.operator, &given.reason, Reason::Optional, &mut checks);
        checks.finish()?;
        let mode = mode(given.dry_run);
        let redriven = parked::operate(&self.database, Action::Redrive, &filter, operator, mode).await;
        let redriven = redriven.map_err(fault)?;
        let (redriven, repeats) = (number(redriven.messages), number(redriven.repeats));
        Ok(RedriveParkedMessagesResponse { redriven, repeats })
    }

    pub(super) async fn discard(
        &self,
        request: Request<DiscardParkedMessagesRequest>,
    ) -> Result<DiscardParkedMessagesResponse, Fault> {
        let mut checks = Checks::default();
        let given = request.get_ref();
        let mut filter = selection::filter(given.filter.clone(), "filter.", &mut checks);
        checks.field("filter", (!filter.is_any()).then_some(()).ok_or("must have a condition"));
        filter.first = selection::first(given.max_messages, &mut checks);
        let operator =
            selection::operator(&request, &given.operator, &given.reason, Reason::Required, &mut checks);
        checks.finish()?;
        let mode = mode(given.dry_run);
        let discarded = parked::operate(&self.database, Action::Discard, &filter, operator, mode).await;
        let discarded = discarded.map_err(fault)?;
        let (discarded, repeats) = (number(discarded.messages), number(discarded.repeats));
        Ok(DiscardParkedMessagesResponse { discarded, repeats })
    }

    pub(super) async fn edit(
        &self,
        request: Request<EditParkedMessageRequest>,
    ) -> Result<pb::ParkedMessage, Fault> {
        let mut checks = Checks::default();
        let given = request.get_ref();
        checks.field("patch", given.patch.as_ref().map(drop).ok_or("must be given"));
        let operator =
            selection::operator(&request, &given.operator, &given.reason, Reason::Required, &mut checks);
        checks.finish()?;
        let (seq, mode) = (given.sequence, mode(given.dry_run));
        let patch = to_json(given.patch.as_ref().unwrap_or(&prost_types::Struct::default()));
        let text = patch.to_string().replace('\0', "\\u0000");
        let what = text[..text.floor_char_boundary(NOTED)].to_owned();
        let payloads = self.payloads.clone();
        let change = move |row: &parked::Model| payloads.patch(&row.kind, &row.payload, &patch);
        let edited = parked::edit(&self.database, seq, change, what, operator, mode).await;
        match edited.map_err(fault)? {
            Edited::Changed(row) => Ok(message(*row, ParkedMessageView::Full, &self.payloads)),
            Edited::Missing => {
                Err(Fault::new(Because::ParkedMessageNotFound, format!("no message {seq} is parked")))
            }
            Edited::NotParked(state) => {
                let problem = format!("the message {seq} is {}, and waits for no operator", state.name());
                Err(Fault::new(Because::ParkedMessageNotEditable, problem))
            }
            Edited::Refused(Refusal::Payload(problem)) => {
                Err(Fault::new(Because::ParkedMessageNotEditable, problem))
            }
            Edited::Refused(Refusal::Patch(problem)) => {
                Err(Fault::of_field(Because::InvalidField, "patch", problem))
            }
        }
    }
}

const fn mode(dry_run: bool) -> Mode {
    if dry_run { Mode::DryRun } else { Mode::Apply }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
