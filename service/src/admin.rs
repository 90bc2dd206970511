//! What an operator asks about a service's messages, answered from the tables of messaging: the same for every service.

use chassis::{
    clock::timestamp,
    status::{Fault, Reason},
};
use messaging::{
    health::Health,
    outbox,
    parked::{self, Action, Filter, Mode, Model, State},
    topology::{Subscription, Topology},
};
use ordermesh::messaging::v1::{
    self as pb, GetMessagingStatusRequest, ListParkedMessagesRequest, ListParkedMessagesResponse,
    MessagingStatus, RedriveParkedMessagesRequest, RedriveParkedMessagesResponse,
    messaging_admin_service_server::MessagingAdminService,
};
use ordermesh::topology::CONSUMERS;
use storage::{Database, Failure};
use tonic::{Request, Response, Status};

use crate::{
    page::{self, PageTokens},
    request::Checks,
};

/// The topology of the mesh, with so many queues per consumer: the same in every process.
#[must_use]
pub fn topology(partitions: u16) -> Topology {
    let consumers = CONSUMERS.iter().map(|consumer| Subscription::new(consumer.name, consumer.kinds));
    Topology::new(ordermesh::EVENTS_EXCHANGE, partitions, consumers)
}

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
    /// What a caller hears of a failed transaction or query.
    pub fault: fn(Failure) -> Fault,
}

#[tonic::async_trait]
impl MessagingAdminService for MessagingAdmin {
    async fn get_messaging_status(
        &self,
        _request: Request<GetMessagingStatusRequest>,
    ) -> Result<Response<MessagingStatus>, Status> {
        let read = self.database.read();
        let fault = |error| (self.fault)(Failure::from(error));
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
        let size = page::size(page_size);
        Checks::default()
            .field("page_size", size.map(drop).ok_or("must not be negative"))
            .field("kind", storable(&kind))
            .field("error", storable(&error))
            .finish()?;
        let size = size.unwrap_or(page::DEFAULT_SIZE);
        // The lengths keep text from moving between the two.
        let query = format!("ListParkedMessages {} {kind} {error}", kind.len());
        let after = self.open(query.as_bytes(), &page_token)?;
        let filter = filter(Vec::new(), kind, error);
        let listed = parked::list(self.database.read(), &filter, after, size + 1).await;
        let mut listed = listed.map_err(|error| (self.fault)(Failure::from(error)))?;
        // One more than asked for was read, to know whether there is a next page.
        let more = listed.len() as u64 > size;
        listed.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        let last = listed.last().filter(|_| more);
        let next = last.map(|last| self.pages.seal(query.as_bytes(), &last.seq.to_be_bytes()));
        Ok(Response::new(ListParkedMessagesResponse {
            messages: listed.into_iter().map(message).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn redrive_parked_messages(
        &self,
        request: Request<RedriveParkedMessagesRequest>,
    ) -> Result<Response<RedriveParkedMessagesResponse>, Status> {
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
        let redriven = parked::operate(&self.database, Action::Redrive, &filter, &operator, mode).await;
        let redriven = i64::try_from(redriven.map_err(self.fault)?).unwrap_or(i64::MAX);
        Ok(Response::new(RedriveParkedMessagesResponse { redriven }))
    }
}

impl MessagingAdmin {
    /// The number behind which a page token goes on; 0 for the first page.
    fn open(&self, query: &[u8], token: &str) -> Result<i64, Fault> {
        if token.is_empty() {
            return Ok(0);
        }
        let cursor = self.pages.open(query, token).ok().and_then(|cursor| cursor.try_into().ok());
        let invalid = || Fault::new(Reason::InvalidPageToken, "page_token was not made for this query");
        cursor.map(i64::from_be_bytes).ok_or_else(invalid)
    }
}

/// PostgreSQL's text holds no U+0000: nothing that is stored has it.
fn storable(text: &str) -> Result<(), &'static str> {
    if text.contains('\0') { Err("must not contain U+0000") } else { Ok(()) }
}

fn filter(seqs: Vec<i64>, kind: String, error: String) -> Filter {
    let given = |text: String| (!text.is_empty()).then_some(text);
    Filter { seqs, kind: given(kind), error: given(error), ..Filter::default() }
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
