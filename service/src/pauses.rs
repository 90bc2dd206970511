//! What an operator stops for a time: the same for every service.

use chassis::{
    clock::timestamp,
    status::{Fault, Reason},
};
use messaging::{
    parked::Operator,
    pauses::{self, Begun, Key, Model, Part, Pauses},
    topology::Subscription,
};
use ordermesh::{
    messaging::v1::{
        self as pb, CreatePauseRequest, DeletePauseRequest, DeletePauseResponse, ListPausesRequest,
        ListPausesResponse,
        pauses_service_server::{PausesService, PausesServiceServer},
    },
    rules,
};
use storage::Database;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, codec::CompressionEncoding};

use crate::{
    fault,
    request::{Checks, answer, fingerprint, key_reused, non_empty, origin},
};

/// The longest name of an operator, in characters.
const OPERATOR_MAX: usize = 64;
/// The longest reason, in characters.
const REASON_MAX: usize = 1_024;

/// Serves `ordermesh.messaging.v1.PausesService`.
#[derive(Debug, Clone)]
pub struct PausesAdmin {
    /// Where pauses are stored.
    pub database: Database,
    /// Who obeys them in this process.
    pub pauses: Pauses,
    /// What the service consumes.
    pub consumers: Vec<Subscription>,
    /// Queues of each consumer.
    pub partitions: u16,
}

#[tonic::async_trait]
impl PausesService for PausesAdmin {
    async fn create_pause(
        &self,
        request: Request<CreatePauseRequest>,
    ) -> Result<Response<pb::Pause>, Status> {
        let origin = origin(&request);
        let CreatePauseRequest { pause, request_id } = request.into_inner();
        let pause = pause.unwrap_or_default();
        let part = self.check(&pause, &request_id)?;
        let key = key(request_id, &pause);
        let pb::Pause { consumer, kind, partition, reason, operator, .. } = pause;
        let pause = pauses::Pause {
            part,
            consumer: non_empty(consumer),
            kind: non_empty(kind),
            partition: partition.and_then(|number| u16::try_from(number).ok()),
            reason,
        };
        let operator = Operator { name: operator, origin, reason: Some(pause.reason.clone()) };
        let (begun, replayed) =
            match pauses::pause(&self.database, pause, operator, key).await.map_err(fault)? {
                Begun::Now(begun) => (begun, false),
                Begun::Before(begun) => (begun, true),
                Begun::KeyReused => return Err(key_reused().into()),
                Begun::TooMany => return Err(too_many().into()),
            };
        self.pauses.look();
        Ok(answer(wire(begun), replayed))
    }

    async fn list_pauses(
        &self,
        _request: Request<ListPausesRequest>,
    ) -> Result<Response<ListPausesResponse>, Status> {
        let listed = pauses::list(self.database.read()).await.map_err(fault)?;
        Ok(Response::new(ListPausesResponse { pauses: listed.into_iter().map(wire).collect() }))
    }

    async fn delete_pause(
        &self,
        request: Request<DeletePauseRequest>,
    ) -> Result<Response<DeletePauseResponse>, Status> {
        let origin = origin(&request);
        let DeletePauseRequest { sequence, operator } = request.into_inner();
        let given = (sequence > 0).then_some(()).ok_or("must be the number of a pause");
        Checks::default()
            .field("sequence", given)
            .field("operator", text(&operator, OPERATOR_MAX, "must be 1 to 64 characters, without U+0000"))
            .finish()?;
        let operator = Operator { name: operator, origin, reason: None };
        let ended = pauses::resume(&self.database, sequence, operator).await.map_err(fault)?;
        if ended.is_none() {
            return Err(Fault::new(Reason::PauseNotFound, format!("there is no pause {sequence}")).into());
        }
        self.pauses.look();
        Ok(Response::new(DeletePauseResponse {}))
    }
}

impl PausesAdmin {
    /// For a service that consumes nothing yet.
    #[must_use]
    pub fn new(database: &Database, partitions: u16) -> Self {
        let (database, pauses) = (database.clone(), Pauses::unread());
        Self { database, pauses, consumers: Vec::new(), partitions: partitions.max(1) }
    }

    /// Serves it over gRPC.
    #[must_use]
    pub fn server(&self) -> PausesServiceServer<Self> {
        PausesServiceServer::new(self.clone()).accept_compressed(CompressionEncoding::Gzip)
    }

    /// Reads what is paused until `stop`, for who obeys it in this process.
    pub async fn follow(self, stop: CancellationToken) {
        self.pauses.follow(self.database, stop).await;
    }

    /// What a pause is to be of, if the service has it.
    fn check(&self, pause: &pb::Pause, request_id: &str) -> Result<Part, Fault> {
        let mut checks = Checks::default();
        checks.field("request_id", rules::request_id(request_id));
        let reason = text(&pause.reason, REASON_MAX, "must be 1 to 1,024 characters, without U+0000");
        let operator = text(&pause.operator, OPERATOR_MAX, "must be 1 to 64 characters, without U+0000");
        checks.field("pause.reason", reason).field("pause.operator", operator);
        let part = match pause.part() {
            pb::pause::Part::Unspecified => {
                checks.field("pause.part", Err("must be CONSUMER or RELAY"));
                Part::Relay
            }
            pb::pause::Part::Relay => {
                let none = |given: bool| if given { Err("a relay has none") } else { Ok(()) };
                checks
                    .field("pause.consumer", none(!pause.consumer.is_empty()))
                    .field("pause.kind", none(!pause.kind.is_empty()))
                    .field("pause.partition", none(pause.partition.is_some()));
                Part::Relay
            }
            pb::pause::Part::Consumer => {
                self.check_consumer(pause, &mut checks);
                Part::Consumer
            }
        };
        checks.finish()?;
        Ok(part)
    }

    fn check_consumer(&self, pause: &pb::Pause, checks: &mut Checks) {
        let is_meant = |subscription: &&Subscription| {
            pause.consumer.is_empty() || pause.consumer == subscription.consumer
        };
        let meant: Vec<&Subscription> = self.consumers.iter().filter(is_meant).collect();
        if meant.is_empty() {
            checks.field("pause.consumer", Err("the service has no such consumer"));
            return;
        }
        let is_known = pause.kind.is_empty()
            || meant.iter().any(|subscription| subscription.kinds.contains(&pause.kind));
        let number = pause.partition.unwrap_or_default();
        let is_there = (0..i32::from(self.partitions)).contains(&number);
        checks
            .field("pause.kind", is_known.then_some(()).ok_or("the consumer does not subscribe to this kind"))
            .field("pause.partition", is_there.then_some(()).ok_or("there is no such partition"));
    }
}

/// What a request with this key is known again by: without what is output only.
fn key(request_id: String, pause: &pb::Pause) -> Option<Key> {
    let pb::Pause { part, consumer, kind, partition, reason, operator, .. } = pause.clone();
    let asked = pb::Pause { part, consumer, kind, partition, reason, operator, ..pb::Pause::default() };
    non_empty(request_id).map(|id| Key { id, fingerprint: fingerprint(&asked).to_vec() })
}

fn too_many() -> Fault {
    let message = format!("there are {} pauses already: others have to be ended first", pauses::MOST);
    Fault::new(Reason::TooManyPauses, message)
}

/// What every database stores, within its limits.
fn text(text: &str, most: usize, problem: &'static str) -> Result<(), &'static str> {
    let fits = (1..=most).contains(&text.chars().count()) && !text.contains('\0');
    fits.then_some(()).ok_or(problem)
}

fn wire(pause: Model) -> pb::Pause {
    let part = match pause.part {
        Part::Consumer => pb::pause::Part::Consumer,
        Part::Relay => pb::pause::Part::Relay,
    };
    pb::Pause {
        sequence: pause.seq,
        part: part.into(),
        consumer: pause.consumer.unwrap_or_default(),
        kind: pause.kind.unwrap_or_default(),
        partition: pause.partition_number,
        reason: pause.reason,
        operator: pause.operator,
        subject: pause.subject.unwrap_or_default(),
        token_id: pause.token_id.unwrap_or_default(),
        create_time: Some(timestamp(pause.pause_time)),
    }
}
