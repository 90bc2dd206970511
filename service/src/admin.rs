//! What an operator asks about a service's messages, answered from the tables of messaging and by its consumers: the same for every service.

mod structs;
mod payload;
mod shown;
mod selection;
mod messages;
mod acts;
mod preview;
mod redrives;
mod running;

use chassis::clock::timestamp;
use messaging::{
    consumer::Operated,
    outbox,
    parked::{self, State},
    processes::Process,
};
use ordermesh::messaging::v1::{
    DiscardParkedMessagesRequest, DiscardParkedMessagesResponse, EditParkedMessageRequest,
    GetMessagingStatusRequest, GetRedriveRequest, ListParkedMessageGroupsRequest,
    ListParkedMessageGroupsResponse, ListParkedMessagesRequest, ListParkedMessagesResponse,
    ListRedrivesRequest, ListRedrivesResponse, MessagingStatus, ParkedMessage, PreviewParkedMessagesRequest,
    PreviewParkedMessagesResponse, Redrive, RedriveParkedMessagesRequest, RedriveParkedMessagesResponse,
    StartRedriveRequest, StopRedriveRequest, messaging_admin_service_server::MessagingAdminService,
};
use storage::Database;
use tonic::{Request, Response, Status};

pub use self::payload::Payloads;
pub(crate) use self::shown::brief;
use crate::{fault, page::PageTokens, whereabouts::Whereabouts};

/// Serves `ordermesh.messaging.v1.MessagingAdminService`.
#[derive(Debug, Clone)]
pub struct MessagingAdmin {
    /// Where the messages wait.
    pub database: Database,
    /// The tokens of its lists.
    pub pages: PageTokens,
    /// What the service's parts say of themselves.
    pub whereabouts: Whereabouts,
    /// The service's consumers, which run in this process.
    pub consumers: Vec<Operated>,
    /// What payloads say.
    pub payloads: Payloads,
    /// This process.
    pub process: Process,
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
            dead_letters: number(self.whereabouts.health.dead_letters()),
            waiting: number(count(State::Waiting).await?),
            relay: Some(self.whereabouts.relay_with_lease().await.map_err(fault)?),
            consumers: if self.consumers.is_empty() {
                Vec::new()
            } else {
                self.whereabouts.consumers().await.map_err(fault)?
            },
            version: self.process.version.clone(),
            build: self.process.build.clone(),
            processes: self.processes().await.map_err(fault)?,
        }))
    }

    async fn list_parked_messages(
        &self,
        request: Request<ListParkedMessagesRequest>,
    ) -> Result<Response<ListParkedMessagesResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }

    async fn list_parked_message_groups(
        &self,
        request: Request<ListParkedMessageGroupsRequest>,
    ) -> Result<Response<ListParkedMessageGroupsResponse>, Status> {
        Ok(Response::new(self.groups(request.into_inner()).await?))
    }

    async fn redrive_parked_messages(
        &self,
        request: Request<RedriveParkedMessagesRequest>,
    ) -> Result<Response<RedriveParkedMessagesResponse>, Status> {
        Ok(Response::new(self.redrive(request).await?))
    }

    async fn discard_parked_messages(
        &self,
        request: Request<DiscardParkedMessagesRequest>,
    ) -> Result<Response<DiscardParkedMessagesResponse>, Status> {
        Ok(Response::new(self.discard(request).await?))
    }

    async fn edit_parked_message(
        &self,
        request: Request<EditParkedMessageRequest>,
    ) -> Result<Response<ParkedMessage>, Status> {
        Ok(Response::new(self.edit(request).await?))
    }

    async fn preview_parked_messages(
        &self,
        request: Request<PreviewParkedMessagesRequest>,
    ) -> Result<Response<PreviewParkedMessagesResponse>, Status> {
        Ok(Response::new(self.preview(request.into_inner()).await?))
    }

    async fn start_redrive(
        &self,
        request: Request<StartRedriveRequest>,
    ) -> Result<Response<Redrive>, Status> {
        Ok(Response::new(self.start(request).await?))
    }

    async fn stop_redrive(&self, request: Request<StopRedriveRequest>) -> Result<Response<Redrive>, Status> {
        Ok(Response::new(self.stop(request).await?))
    }

    async fn get_redrive(&self, request: Request<GetRedriveRequest>) -> Result<Response<Redrive>, Status> {
        Ok(Response::new(self.progress(request.into_inner().redrive_id).await?))
    }

    async fn list_redrives(
        &self,
        request: Request<ListRedrivesRequest>,
    ) -> Result<Response<ListRedrivesResponse>, Status> {
        Ok(Response::new(self.redrives(request.into_inner()).await?))
    }
}
