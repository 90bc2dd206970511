//! A service that is put together, on its way to be run.

use std::{convert::Infallible, error::Error};

use bytes::Bytes;
use chassis::{
    lifecycle::{Lifecycle, Stage},
    readiness::Readiness,
};
use futures_util::FutureExt as _;
use http::{Request, Response};
use hyper::body::Body as HttpBody;
use tokio::net::TcpListener;
use tonic::body::Body;
use tower::Service as Server;

use super::{Task, Wired};
use crate::{grpc, readiness::parts};

impl Wired {
    /// Its services for callers in the same process: they answer as behind the listener. The writers end when this is dropped, not before.
    ///
    /// # Errors
    /// When the descriptor set cannot be read.
    pub fn calls(
        &self,
    ) -> anyhow::Result<
        impl Server<
            Request<Body>,
            Response = Response<
                impl HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
            >,
            Error = Infallible,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static,
    > {
        grpc::answering(&self.contract, self.contract.routes.clone())
    }

    /// Starts serving, relaying and consuming, until the lifecycle's stop.
    pub fn spawn(self, listener: TcpListener, life: &mut Lifecycle) -> Readiness {
        let name = self.contract.name;
        let readiness = Readiness::start(parts(name, &self.database, &self.health), life);
        let follows = readiness.clone();
        life.spawn(Stage::Services, format!("{name} grpc"), |stop| {
            grpc::serve(listener, self.contract, follows, stop)
        });
        for Task { stage, name, run } in self.tasks {
            life.spawn(stage, name, run);
        }
        let relay = self.relay.with_hurry(life.hurrying());
        life.spawn(Stage::Relays, format!("{name} relay"), |stop| relay.run(stop).map(Ok));
        readiness
    }
}
