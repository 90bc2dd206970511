//! `grpc.health.v1`: each service is SERVING as long as the process is ready, and those who watch learn of a change.

use std::{collections::BTreeSet, pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{self, HealthServer},
};

use chassis::{
    readiness::Readiness,
    status::{Fault, Reason},
};

/// The health of the services of one listener.
#[derive(Debug, Clone)]
pub(super) struct Health {
    services: Arc<BTreeSet<String>>,
    readiness: Readiness,
    stop: CancellationToken,
}

impl Health {
    /// The health of these services, until the listener stops.
    pub(super) fn server(
        services: &BTreeSet<String>,
        readiness: Readiness,
        stop: CancellationToken,
    ) -> HealthServer<Self> {
        HealthServer::new(Self { services: Arc::new(services.clone()), readiness, stop })
    }

    /// The empty name is the process's.
    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(service)
    }

    /// The answer after `last`, once it is another one; an error when the listener stops.
    async fn next(&self, known: bool, last: Option<ServingStatus>) -> Result<ServingStatus, Status> {
        let now = || serving(self.readiness.now().is_ready());
        match last {
            None if known => return Ok(serving(self.readiness.report().await.is_ready())),
            None => return Ok(ServingStatus::ServiceUnknown),
            // A watch that began in the last moment learns of the stop, too.
            Some(last) if known && last != now() => return Ok(now()),
            Some(_) => {}
        }
        let changed = async {
            match last {
                Some(last) if known => self.readiness.changed_from(last == ServingStatus::Serving).await,
                // Services do not come later.
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = changed => Ok(now()),
            () = self.stop.cancelled() => {
                Err(Fault::new(Reason::UpstreamUnavailable, "the service stops: watch another one").into())
            }
        }
    }
}

fn serving(ready: bool) -> ServingStatus {
    if ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        if !self.knows(service) {
            let message = format!("there is no service {service:?} here");
            return Err(Fault::new(Reason::RouteNotFound, message).into());
        }
        Ok(Response::new(answer(serving(self.readiness.report().await.is_ready()))))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let known = self.knows(&request.get_ref().service);
        let answers = stream::unfold(Some((self.clone(), None)), move |watching| async move {
            let (health, last) = watching?;
            Some(match health.next(known, last).await {
                Ok(status) => (Ok(answer(status)), Some((health, Some(status)))),
                Err(stopping) => (Err(stopping), None),
            })
        });
        Ok(Response::new(answers.boxed()))
    }
}
