//! A service whose parts are connected: it is called in the same process, and started.

use std::{borrow::Cow, convert::Infallible, error::Error, fmt};

use bytes::Bytes;
use chassis::{
    lifecycle::{Lifecycle, Stage},
    readiness::Readiness,
};
use futures_util::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use hyper::body::Body as HttpBody;
use messaging::{health::Health, relay::Relay};
use storage::Database;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, service::Routes};
use tower::Service as Server;
use upstream::Local;

use crate::{
    grpc::{self, Contract},
    readiness::parts,
};

pub(super) type Run = Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> + Send>;

/// A task, by the stage of the stop that ends it and its name.
pub(super) struct Task {
    pub(super) stage: Stage,
    pub(super) name: Cow<'static, str>,
    pub(super) run: Run,
}

/// A service, ready to run.
pub struct Wired {
    pub(super) contract: Contract,
    /// Its services for operators; `None` where nobody can be one.
    pub(super) operators: Option<Routes>,
    pub(super) tasks: Vec<Task>,
    pub(super) relay: Relay,
    pub(super) database: Database,
    pub(super) health: Health,
}

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

    /// What it serves.
    pub(crate) const fn contract(&self) -> &Contract {
        &self.contract
    }

    /// Its services for operators, for callers in the same process; `None` where nobody can be one. No writer waits for their end.
    ///
    /// # Errors
    /// As [`Wired::calls`].
    pub fn operators(&self) -> anyhow::Result<Option<Local>> {
        let answering = |routes: &Routes| grpc::answering(&self.contract, routes.clone()).map(Local::new);
        self.operators.as_ref().map(answering).transpose()
    }

    /// Starts serving, relaying and consuming, until the lifecycle's stop.
    pub fn spawn(self, listener: TcpListener, life: &mut Lifecycle) -> Readiness {
        let name = self.contract.name;
        let mut parts = parts(name, &self.database, &self.health);
        parts.extend(self.contract.guard.part());
        let readiness = Readiness::start(parts, life);
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

impl fmt::Debug for Wired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wired").field("name", &self.contract.name).finish_non_exhaustive()
    }
}
