//! Descriptors from the service itself: server reflection, in its version v1 or, where that is not served, v1alpha. What a service lists
//! and cannot describe is done without.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use http::uri::PathAndQuery;
use prost::Message as _;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming, client::Grpc};
use tonic_prost::ProstCodec;
// The messages of both versions are the same on the wire.
use tonic_reflection::pb::v1::{
    FileDescriptorResponse, ServerReflectionRequest, ServerReflectionResponse,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use transcode::descriptors;

use crate::{
    connection::Connection,
    error::TransportError,
    pool::Tried,
    service::{Endpoint, Upstream},
};

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// Services of gRPC itself, which are not asked about.
const OF_GRPC: &str = "grpc.";

/// A service that does not answer all questions within this time is asked again later.
const PATIENCE: Duration = Duration::from_secs(10);

/// More files than any service needs, and no more than memory has: a service may be mistaken about itself.
const MAX_FILES: usize = 10_000;
const MAX_BYTES: usize = 64 << 20;

/// The encoded files of a service, by their names.
type Files = BTreeMap<String, Bytes>;

/// What a service says of itself.
#[derive(Debug, Default)]
pub struct Reflected {
    files: Files,
    /// Their size, in bytes.
    bytes: usize,
    /// The full names of the services in them.
    declared: BTreeSet<String>,
    /// The full names of what it lists.
    services: BTreeSet<String>,
    /// What it lists or imports and does not describe, with the reasons.
    pub left_out: Vec<String>,
}

/// Asks a service for its descriptors.
///
/// # Errors
/// What the service or the transport says; DEADLINE_EXCEEDED when it takes more than ten seconds.
pub async fn describe(upstream: &Upstream) -> Result<Reflected, Status> {
    let tried = Tried::default();
    in_time(upstream.call(&tried, true, of_version)).await
}

/// Asks each endpoint of a service that is called, all at once.
pub async fn describe_each(upstream: &Upstream) -> Vec<(Endpoint, Result<Reflected, Status>)> {
    let describe = async |(endpoint, connection)| (endpoint, in_time(of_version(&connection)).await);
    join_all(upstream.connections().await.into_iter().map(describe)).await
}

async fn in_time(asked: impl Future<Output = Result<Reflected, Status>>) -> Result<Reflected, Status> {
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
}

/// What it says in the version of reflection that it has.
async fn of_version(connection: &Connection) -> Result<Reflected, Status> {
    match files(connection, V1).await {
        Err(status) if status.code() == Code::Unimplemented => files(connection, V1_ALPHA).await,
        outcome => outcome,
    }
}

async fn files(connection: &Connection, path: &'static str) -> Result<Reflected, Status> {
    let mut dialogue = Dialogue::open(connection, path).await?;
    let mut reflected = Reflected::default();
    let mut missing = BTreeSet::new();
    for service in dialogue.services().await? {
        reflected.services.insert(service.clone());
        // Many may be in the same file, which comes once.
        if reflected.declared.contains(&service) {
            continue;
        }
        let question = MessageRequest::FileContainingSymbol(service.clone());
        match dialogue.described(connection, path, question).await? {
            Ok(found) => reflected.keep(found, &mut missing)?,
            Err(error) => reflected.left_out.push(format!("{service}: {error}")),
        }
    }
    let mut refused = BTreeSet::new();
    while let Some(name) = missing.pop_first() {
        if refused.contains(&name) {
            continue;
        }
        match dialogue.described(connection, path, MessageRequest::FileByFilename(name.clone())).await? {
            Ok(found) => reflected.keep(found, &mut missing)?,
            // What is missed by that, if anything is, will be named.
            Err(error) => tracing::debug!(file = name, error, "an imported file is not described"),
        }
        if !reflected.files.contains_key(&name) {
            refused.insert(name);
        }
    }
    Ok(reflected)
}

impl Reflected {
    /// How many files it has described.
    #[must_use]
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// They as an encoded `google.protobuf.FileDescriptorSet`, in which only the services that are listed have methods: others are those of
    /// files that were imported for their messages, and served elsewhere.
    #[must_use]
    pub fn set(self) -> Bytes {
        let Self { files, services, .. } = self;
        // What cannot be read is named later.
        let served =
            |file: Bytes| descriptors::as_served(&file, |name| services.contains(name)).unwrap_or(file);
        // The answer of reflection has the same form: bytes, repeated, with the number 1.
        let file_descriptor_proto = files.into_values().map(|file| served(file).into()).collect();
        FileDescriptorResponse { file_descriptor_proto }.encode_to_vec().into()
    }

    /// Keeps files, and notes which of their imports are not there.
    fn keep(&mut self, found: Vec<Vec<u8>>, missing: &mut BTreeSet<String>) -> Result<(), Status> {
        for bytes in found.into_iter().map(Bytes::from) {
            match descriptors::name_of(&bytes).and_then(|name| Ok((name, descriptors::imports(&bytes)?))) {
                Ok((name, imports)) => {
                    missing.remove(&name);
                    missing.extend(
                        imports
                            .into_iter()
                            .filter(|import| !self.files.contains_key(import) && *import != name),
                    );
                    // Whether they can be read is said later.
                    self.declared.extend(descriptors::services(&bytes).unwrap_or_default());
                    self.bytes += bytes.len();
                    let before = self.files.insert(name, bytes);
                    self.bytes -= before.map_or(0, |before| before.len());
                }
                Err(error) => self.left_out.push(format!("a file that cannot be decoded: {error}")),
            }
        }
        if self.files.len() > MAX_FILES || self.bytes > MAX_BYTES {
            return Err(Status::resource_exhausted("the service describes more than is read"));
        }
        Ok(())
    }
}

/// A stream of questions and answers.
struct Dialogue {
    questions: mpsc::Sender<ServerReflectionRequest>,
    answers: Streaming<ServerReflectionResponse>,
    /// Whether the service has ended the stream.
    is_over: bool,
}

impl Dialogue {
    async fn open(connection: &Connection, path: &'static str) -> Result<Self, Status> {
        let (questions, asked) = mpsc::channel(1);
        let codec = ProstCodec::<ServerReflectionRequest, ServerReflectionResponse>::default();
        let mut grpc = Grpc::new(connection.clone()).max_decoding_message_size(MAX_BYTES);
        // Some services answer the first question before they begin the stream.
        let first = MessageRequest::ListServices(String::new());
        let first = ServerReflectionRequest { host: String::new(), message_request: Some(first) };
        questions.try_send(first).map_err(|_| closed())?;
        let request = Request::new(ReceiverStream::new(asked));
        let answers = grpc.streaming(request, PathAndQuery::from_static(path), codec).await?;
        Ok(Self { questions, answers: answers.into_inner(), is_over: false })
    }

    /// The names of all services, as the answer to the first question.
    async fn services(&mut self) -> Result<Vec<String>, Status> {
        match self.answer().await? {
            MessageResponse::ListServicesResponse(list) => {
                let names = list.service.into_iter().map(|service| service.name);
                Ok(names.filter(|name| !name.starts_with(OF_GRPC)).collect())
            }
            _ => Err(Status::internal("the list of services is no list")),
        }
    }

    /// Files, or why there are none. Some services end the stream with their refusal: then another one is begun.
    async fn described(
        &mut self,
        connection: &Connection,
        path: &'static str,
        question: MessageRequest,
    ) -> Result<Result<Vec<Vec<u8>>, String>, Status> {
        match self.files(question).await {
            Ok(files) => Ok(Ok(files)),
            Err(status) if TransportError::of(&status).is_some() || status.code() == Code::Unavailable => {
                Err(status)
            }
            Err(status) => {
                let refusal = format!("{}: {}", status.code(), status.message());
                if self.is_over {
                    *self = Self::open(connection, path).await?;
                    self.services().await?;
                }
                Ok(Err(refusal))
            }
        }
    }

    async fn files(&mut self, question: MessageRequest) -> Result<Vec<Vec<u8>>, Status> {
        let question = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        if self.questions.send(question).await.is_err() {
            self.is_over = true;
            return Err(closed());
        }
        match self.answer().await? {
            MessageResponse::FileDescriptorResponse(files) => Ok(files.file_descriptor_proto),
            _ => Err(Status::internal("the answer holds no files")),
        }
    }

    async fn answer(&mut self) -> Result<MessageResponse, Status> {
        let answer = self.answers.message().await;
        self.is_over = !matches!(answer, Ok(Some(_)));
        match answer?.and_then(|answer| answer.message_response).ok_or_else(closed)? {
            MessageResponse::ErrorResponse(error) => {
                Err(Status::new(Code::from_i32(error.error_code), error.error_message))
            }
            answer => Ok(answer),
        }
    }
}

fn closed() -> Status {
    Status::internal("the stream of answers has ended")
}
