//! What an operator asks about this service's messages.

use chassis::clock::timestamp;
use ordermesh::messaging::v1::{
    GetMessagingStatusRequest, MessagingStatus, messaging_admin_service_server::MessagingAdminService,
};
use storage::{Database, Failure};
use tonic::{Request, Response, Status};

use crate::store;

/// Serves `ordermesh.messaging.v1.MessagingAdminService`.
#[derive(Debug, Clone)]
pub struct MessagingAdmin {
    /// Where the messages wait.
    pub database: Database,
}

#[tonic::async_trait]
impl MessagingAdminService for MessagingAdmin {
    async fn get_messaging_status(
        &self,
        _request: Request<GetMessagingStatusRequest>,
    ) -> Result<Response<MessagingStatus>, Status> {
        let read = self.database.read();
        let backlog = messaging::outbox::backlog(read).await.map_err(Failure::from).map_err(store::fault)?;
        let parked = messaging::parked::count(read, messaging::parked::State::Parked)
            .await
            .map_err(Failure::from)
            .map_err(store::fault)?;
        Ok(Response::new(MessagingStatus {
            outbox_pending: backlog.pending,
            outbox_unroutable: backlog.unroutable,
            outbox_oldest_time: backlog.oldest().map(timestamp),
            parked: i64::try_from(parked).unwrap_or(i64::MAX),
        }))
    }
}
