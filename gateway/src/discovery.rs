//! Descriptors from the service itself: server reflection, in its version v1 or, where that is not served, v1alpha.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::prost_types::FileDescriptorProto;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming, client::Grpc};
use tonic_prost::ProstCodec;
// The messages of both versions are the same on the wire.
use tonic_reflection::pb::v1::{
    FileDescriptorResponse, ServerReflectionRequest, ServerReflectionResponse,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::{
    channel::Channel,
    pool::{Pool, Tried},
    resolve,
    settings::Config,
};

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// Services of gRPC itself, which no edge serves.
const OF_GRPC: &str = "grpc.";

/// A service that does not answer all questions within this time is asked again later.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause after the first failure; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// More files than any service needs, and no more than memory has: a service may be mistaken about itself.
const MAX_FILES: usize = 10_000;
const MAX_BYTES: usize = 64 << 20;

/// What a service tells of itself, as an encoded `FileDescriptorSet` with all options. Asks until it is told: the service may
/// start later than the edge, and each failure is logged.
///
/// # Errors
/// What is wrong with the URL.
pub async fn descriptor_set(url: &str, config: &Config) -> Result<Bytes, String> {
    let pool = resolve::pool(url, config).map_err(|mistakes| mistakes.join("; "))?;
    let mut pause = FIRST_PAUSE;
    loop {
        let told = timeout(PATIENCE, reflected(&pool)).await;
        match told.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))) {
            Ok(files) => {
                let files: Vec<Vec<u8>> = files.into_values().collect();
                tracing::info!(url, files = files.len(), "the service has told its descriptors");
                // The set of files has the same form: bytes, repeated, with the number 1.
                return Ok(FileDescriptorResponse { file_descriptor_proto: files }.encode_to_vec().into());
            }
            Err(status) => {
                let (code, error) = (status.code(), status.message());
                let retry_s = pause.as_secs_f64();
                tracing::warn!(url, ?code, error, retry_s, "the service does not tell its descriptors yet");
            }
        }
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// The encoded files of a service, by their names.
type Files = BTreeMap<String, Vec<u8>>;

async fn reflected(pool: &Pool) -> Result<Files, Status> {
    let member = pool.pick(&Tried::default()).await?;
    let waiting = member.begin_stream();
    let outcome = match files(&member.channel, V1).await {
        Err(status) if status.code() == Code::Unimplemented => files(&member.channel, V1_ALPHA).await,
        outcome => outcome,
    };
    pool.note(waiting, &outcome);
    outcome
}

async fn files(channel: &Channel, path: &'static str) -> Result<Files, Status> {
    let mut dialogue = Dialogue::open(channel, path).await?;
    let mut files = Files::new();
    let mut missing = BTreeSet::new();
    for service in dialogue.services().await? {
        let found = dialogue.files(MessageRequest::FileContainingSymbol(service)).await?;
        keep(found, &mut files, &mut missing)?;
    }
    while let Some(name) = missing.pop_first() {
        let found = dialogue.files(MessageRequest::FileByFilename(name.clone())).await?;
        keep(found, &mut files, &mut missing)?;
        if !files.contains_key(&name) {
            return Err(Status::not_found(format!("the file {name} is imported and not told")));
        }
    }
    Ok(files)
}

/// Keeps files, and notes which of their imports are not there.
fn keep(found: Vec<Vec<u8>>, files: &mut Files, missing: &mut BTreeSet<String>) -> Result<(), Status> {
    for bytes in found {
        let file = FileDescriptorProto::decode(bytes.as_slice())
            .map_err(|error| Status::internal(format!("a file cannot be decoded: {error}")))?;
        let name = file.name().to_owned();
        missing.remove(&name);
        missing.extend(
            file.dependency.into_iter().filter(|import| !files.contains_key(import) && *import != name),
        );
        files.insert(name, bytes);
    }
    if files.len() > MAX_FILES || files.values().map(Vec::len).sum::<usize>() > MAX_BYTES {
        return Err(Status::resource_exhausted("the service tells too much"));
    }
    Ok(())
}

/// A stream of questions and answers.
struct Dialogue {
    questions: mpsc::Sender<ServerReflectionRequest>,
    answers: Streaming<ServerReflectionResponse>,
}

impl Dialogue {
    async fn open(channel: &Channel, path: &'static str) -> Result<Self, Status> {
        let (questions, asked) = mpsc::channel(1);
        let codec = ProstCodec::<ServerReflectionRequest, ServerReflectionResponse>::default();
        let mut grpc = Grpc::new(channel.clone()).max_decoding_message_size(MAX_BYTES);
        // Some services answer the first question before they begin the stream.
        let first = MessageRequest::ListServices(String::new());
        let first = ServerReflectionRequest { host: String::new(), message_request: Some(first) };
        questions.try_send(first).map_err(|_| closed())?;
        let request = Request::new(ReceiverStream::new(asked));
        let answers = grpc.streaming(request, PathAndQuery::from_static(path), codec).await?;
        Ok(Self { questions, answers: answers.into_inner() })
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

    async fn files(&mut self, question: MessageRequest) -> Result<Vec<Vec<u8>>, Status> {
        let question = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        self.questions.send(question).await.map_err(|_| closed())?;
        match self.answer().await? {
            MessageResponse::FileDescriptorResponse(files) => Ok(files.file_descriptor_proto),
            _ => Err(Status::internal("the answer holds no files")),
        }
    }

    async fn answer(&mut self) -> Result<MessageResponse, Status> {
        let answer = self.answers.message().await?.and_then(|answer| answer.message_response);
        match answer.ok_or_else(closed)? {
            MessageResponse::ErrorResponse(error) => {
                Err(Status::new(Code::from_i32(error.error_code), error.error_message))
            }
            answer => Ok(answer),
        }
    }
}

fn closed() -> Status {
    Status::unavailable("the stream of answers has ended")
}
