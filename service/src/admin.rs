//! What an operator asks about a service's messages, answered from the tables of messaging: the same for every service.

use chassis::clock::timestamp;
use messaging::{
    health::Health,
    outbox,
    parked::{self, Action, Filter, Mode, Model, Operator, State},
};
use ordermesh::messaging::v1::{
    self as pb, GetMessagingStatusRequest, ListParkedMessagesRequest, ListParkedMessagesResponse,
    MessagingStatus, RedriveParkedMessagesRequest, RedriveParkedMessagesResponse,
    messaging_admin_service_server::MessagingAdminService,
};
use storage::Database;
use tonic::{Request, Response, Status};

use crate::{
    fault,
    page::{self, PageTokens},
    request::{Checks, non_empty, origin},
};

/// The longest name of an operator, in characters.
const OPERATOR_MAX: usize = 64;
/// Numbers that one call may name: what one statement binds stays below 14 KiB.
const SEQUENCES_MAX: usize = 1_000;

/// Serves `ordermesh.messaging.v1.MessagingAdminService`.
#[derive(Debug, Clone)]
pub struct MessagingAdmin {
    /// Where the messages wait.
    pub database: Database,
    /// The tokens of its lists.
    pub pages: PageTokens,
    /// What the service's relay knows of the broker.
    pub health: Health,
}

#[tonic::async_trait]
impl MessagingAdminService for MessagingAdmin {
    async fn get_messaging_status(
        &self,
        _request: Request<GetMessagingStatusRequest>,
    ) -> Result<Response<MessagingStatus>, Status> {
        let read = self.database.read();
        let backlog = outbox::backlog(read).await.map_err(fault)?;
        let count = async |state| parked::count(read, state).await.map_err(fault);
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let oldest = backlog.oldest_pending.into_iter().chain(backlog.oldest_unroutable).min();
        Ok(Response::new(MessagingStatus {
            outbox_pending: backlog.pending,
            outbox_unroutable: backlog.unroutable,
            outbox_oldest_time: oldest.map(timestamp),
            parked: number(count(State::Parked).await?),
            held: number(count(State::Held).await?),
            redriven: number(count(State::Redriven).await?),
            dead_letters: number(self.health.dead_letters()),
        }))
    }

    async fn list_parked_messages(
        &self,
        request: Request<ListParkedMessagesRequest>,
    ) -> Result<Response<ListParkedMessagesResponse>, Status> {
        let ListParkedMessagesRequest { page_size, page_token, kind, error } = request.into_inner();
        let mut checks = Checks::default();
        let size = page::size(page_size, &mut checks);
        checks.field("kind", storable(&kind)).field("error", storable(&error)).finish()?;
        // The lengths keep text from moving between the two.
        let query = format!("ListParkedMessages {} {kind} {error}", kind.len());
        let query = query.as_bytes();
        let after =
            self.pages.resume(query, &page_token, |seq| Some(i64::from_be_bytes(seq.try_into().ok()?)))?;
        let filter = filter(Vec::new(), kind, error);
        let listed = parked::list(self.database.read(), &filter, after.unwrap_or(0), size + 1).await;
        let mut listed = listed.map_err(fault)?;
        let next_page_token = self.pages.cut(query, size, &mut listed, |last| last.seq.to_be_bytes());
        let messages = listed.into_iter().map(message).collect();
        Ok(Response::new(ListParkedMessagesResponse { messages, next_page_token }))
    }

    async fn redrive_parked_messages(
        &self,
        request: Request<RedriveParkedMessagesRequest>,
    ) -> Result<Response<RedriveParkedMessagesResponse>, Status> {
        let origin = origin(&request);
        let RedriveParkedMessagesRequest { sequences, kind, error, operator, dry_run } = request.into_inner();
        let few = sequences.len() <= SEQUENCES_MAX;
        let named = (1..=OPERATOR_MAX).contains(&operator.chars().count());
        Checks::default()
            .field("operator", named.then_some(()).ok_or("must be 1 to 64 characters"))
            .field("operator", storable(&operator))
            .field("kind", storable(&kind))
            .field("error", storable(&error))
            .field("sequences", few.then_some(()).ok_or("must be at most 1,000"))
            .finish()?;
        let mode = if dry_run { Mode::DryRun } else { Mode::Apply };
        let filter = filter(sequences, kind, error);
        let operator = Operator { name: operator, origin };
        let redriven = parked::operate(&self.database, Action::Redrive, &filter, operator, mode).await;
        let redriven = i64::try_from(redriven.map_err(fault)?).unwrap_or(i64::MAX);
        Ok(Response::new(RedriveParkedMessagesResponse { redriven }))
    }
}

/// PostgreSQL's text holds no U+0000: nothing that is stored has it.
fn storable(text: &str) -> Result<(), &'static str> {
    if text.contains('\0') { Err("must not contain U+0000") } else { Ok(()) }
}

fn filter(seqs: Vec<i64>, kind: String, error: String) -> Filter {
    Filter { seqs, kind: non_empty(kind), error: non_empty(error), ..Filter::default() }
}

fn message(parked: Model) -> pb::ParkedMessage {
    let state = match parked.state {
        State::Parked => pb::parked_message::State::Parked,
        State::Held => pb::parked_message::State::Held,
        State::Redriven => pb::parked_message::State::Redriven,
    };
    pb::ParkedMessage {
        sequence: parked.seq,
        consumer: parked.consumer,
        state: state.into(),
        message_id: parked.message_id.map(|id| id.to_string()).unwrap_or_default(),
        kind: parked.kind,
        partition_key: parked.partition_key,
        payload: parked.payload,
        headers: parked.headers.unwrap_or_default(),
        error: parked.error,
        attempts: parked.attempts,
        park_time: Some(timestamp(parked.park_time)),
    }
}
