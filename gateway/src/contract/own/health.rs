//! `grpc.health.v1` of an edge: a service is SERVING as long as one of its endpoints is called, and the edge as long as it is there.

use std::{collections::BTreeSet, pin::Pin, sync::Arc, time::Duration};

use chassis::status::{Fault, Reason};
use futures_util::{Stream, StreamExt as _, stream};
use tokio::time::sleep;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{self, HealthServer},
};

use crate::contract::pools::{Pools, at};

/// How soon who watches learns of a change.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
pub(super) struct Health(Arc<Known>);

#[derive(Debug)]
struct Known {
    services: BTreeSet<String>,
    pools: Pools,
}

impl Health {
    /// That of these services, which have these connections.
    pub(super) fn server(services: BTreeSet<String>, pools: Pools) -> HealthServer<Self> {
        HealthServer::new(Self(Arc::new(Known { services, pools })))
    }

    fn of(&self, service: &str) -> ServingStatus {
        let Known { services, pools } = &*self.0;
        if service.is_empty() {
            return ServingStatus::Serving;
        }
        match at(pools, service).filter(|_| services.contains(service)) {
            None => ServingStatus::ServiceUnknown,
            Some(upstream) if upstream.endpoints().iter().any(|(_, is_in)| *is_in) => ServingStatus::Serving,
            Some(_) => ServingStatus::NotServing,
        }
    }
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
        match self.of(service) {
            ServingStatus::ServiceUnknown => {
                let message = format!("the edge serves no {service:?}");
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
        let (health, service) = (self.clone(), request.into_inner().service);
        let changes = stream::unfold(None, move |last| {
            let (health, service) = (health.clone(), service.clone());
            async move {
                loop {
                    let now = health.of(&service);
                    if last != Some(now) {
                        return Some((Ok(answer(now)), Some(now)));
                    }
                    sleep(INTERVAL).await;
                }
            }
        });
        Ok(Response::new(changes.boxed()))
    }
}
