//! `grpc.health.v1` over whoever knows how services are: those who watch learn of each change.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _, stream};
use tonic::{Request, Response, Status};
pub use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_server::{self, HealthServer},
};

use crate::status::{Fault, Reason};

/// Who knows how services are.
pub trait Source: Send + Sync + 'static {
    /// How a service is now, and the process by the empty name; [`ServingStatus::ServiceUnknown`] where there is none of this name.
    fn state(&self, service: &str) -> impl Future<Output = ServingStatus> + Send;

    /// How it is once that is something else than `last`.
    ///
    /// # Errors
    /// Why nobody can watch it any longer.
    fn after(
        &self,
        service: &str,
        last: ServingStatus,
    ) -> impl Future<Output = Result<ServingStatus, Fault>> + Send;
}

/// Health as a source says it.
#[derive(Debug)]
pub struct Health<S>(Arc<S>);

/// The service, for a server of tonic.
pub fn server<S: Source>(source: S) -> HealthServer<Health<S>> {
    HealthServer::new(Health(Arc::new(source)))
}

/// SERVING or NOT_SERVING.
#[must_use]
pub const fn serving(is_ready: bool) -> ServingStatus {
    if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl<S: Source> health_server::Health for Health<S> {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match self.0.state(&service).await {
            ServingStatus::ServiceUnknown => {
                let message = format!("there is no service {service:?} here");
                Err(Fault::new(Reason::RouteNotFound, message).into())
            }
            status => Ok(Response::new(answer(status))),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let watching = (Arc::clone(&self.0), request.into_inner().service, None);
        let answers = stream::unfold(Some(watching), |watching| async move {
            let (source, service, last) = watching?;
            let next = match last {
                None => Ok(source.state(&service).await),
                Some(last) => source.after(&service, last).await,
            };
            Some(match next {
                Ok(status) => (Ok(answer(status)), Some((source, service, Some(status)))),
                Err(fault) => (Err(Status::from(fault)), None),
            })
        });
        Ok(Response::new(answers.boxed()))
    }
}
