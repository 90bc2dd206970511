//! The frames of a gRPC call with one message each way: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

use bytes::{BufMut as _, Bytes, BytesMut};
use chassis::status::{Fault, Reason};
use h2::RecvStream;
use http::{HeaderMap, HeaderValue, StatusCode, response::Parts, uri::PathAndQuery};
use tonic::{Code, Status};

use crate::{
    channel::{Channel, is_end},
    metadata,
};

/// Largest response message. A page of 1,000 orders with descriptions of 1,024 four-byte characters passes the usual 4 MiB.
pub const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// Before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A message with what came around it.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) message: Bytes,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: HeaderMap,
}

/// Makes a call.
///
/// # Errors
/// The status of the service, or one that says what is wrong with its response; what the transport says.
pub(crate) async fn call(
    channel: &Channel,
    path: PathAndQuery,
    headers: HeaderMap,
    message: &[u8],
) -> Result<Response, Status> {
    let (response, mut stream) = channel.call_at_once(path, headers).await?;
    stream.send_data(framed(message), true)?;
    drop(stream);
    let (head, body) = response.await?.into_parts();
    received(head, body).await
}

/// Where the answer to a call comes from.
pub(crate) trait Incoming {
    /// The next part of its message, until the trailers.
    async fn data(&mut self) -> Result<Option<Bytes>, Status>;

    /// What comes after the message.
    async fn trailers(&mut self) -> Result<HeaderMap, Status>;
}

/// Reads an answer to its end.
///
/// # Errors
/// As [`call`].
pub(crate) async fn received(head: Parts, mut body: impl Incoming) -> Result<Response, Status> {
    check_coding(&head.headers)?;
    // A response without a message may have its status where others have headers.
    let early = check_status(&head.headers)?;
    if early.is_none() && head.status != StatusCode::OK {
        return Err(of_http(head.status));
    }
    let data = collect(&mut body).await?;
    let trailers = body.trailers().await?;
    early.or(check_status(&trailers)?).ok_or_else(cut_off)?;
    Ok(Response { message: unframed(&data)?, headers: head.headers, trailers })
}

pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX + message.len());
    frame.put_u8(0);
    // A request is no longer than --max-body-bytes and a request line, and the service refuses what it does not want.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

/// All that comes before the trailers, which can be one message at most.
async fn collect(body: &mut impl Incoming) -> Result<Bytes, Status> {
    let first = body.data().await?.unwrap_or_default();
    check(&first)?;
    // Most responses are one frame of HTTP/2, whose bytes are shared and not copied.
    let Some(second) = body.data().await? else { return Ok(first) };
    let mut whole = BytesMut::from(first);
    whole.extend_from_slice(&second);
    loop {
        check(&whole)?;
        let Some(part) = body.data().await? else { return Ok(whole.freeze()) };
        whole.extend_from_slice(&part);
    }
}

impl Incoming for RecvStream {
    async fn data(&mut self) -> Result<Option<Bytes>, Status> {
        match RecvStream::data(self).await {
            Some(Ok(data)) => {
                // Of a stream that has ended nobody counts what was read.
                let _counted = self.flow_control().release_capacity(data.len());
                Ok(Some(data))
            }
            Some(Err(error)) if !is_end(&error) => Err(error.into()),
            Some(Err(_)) | None => Ok(None),
        }
    }

    async fn trailers(&mut self) -> Result<HeaderMap, Status> {
        match RecvStream::trailers(self).await {
            Ok(trailers) => Ok(trailers.unwrap_or_default()),
            Err(error) if is_end(&error) => Ok(HeaderMap::new()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Refuses what has begun and cannot become a message.
fn check(data: &[u8]) -> Result<(), Status> {
    match announced(data) {
        Some((0, length)) if length > MAX_RESPONSE_BYTES => {
            tracing::warn!(bytes = length, "a response is too large");
            Err(too_large().into())
        }
        Some((0, length)) if data.len() - PREFIX > length => {
            Err(Status::internal("the response has more than one message"))
        }
        Some((0, _)) | None => Ok(()),
        Some(_) => Err(Status::internal("the response is compressed, and nobody asked for that")),
    }
}

fn unframed(data: &Bytes) -> Result<Bytes, Status> {
    match announced(data) {
        Some((_, length)) if data.len() - PREFIX == length => Ok(data.slice(PREFIX..)),
        None if data.is_empty() => Err(Status::internal("the response has no message")),
        _ => Err(Status::internal("the response ends within its message")),
    }
}

/// The flag and the length in front of a message, once they are there.
fn announced(data: &[u8]) -> Option<(u8, usize)> {
    let (prefix, _) = data.split_first_chunk::<PREFIX>()?;
    let [flag, length @ ..] = *prefix;
    Some((flag, usize::try_from(u32::from_be_bytes(length)).ok()?))
}

/// The edge offers no coding, so none may be used.
fn check_coding(headers: &HeaderMap) -> Result<(), Status> {
    match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(()),
        Some(_) => Err(Status::unimplemented("the response has a coding that nobody asked for")),
    }
}

/// `Some` when there is a status, and it says that all went well.
///
/// # Errors
/// Any other status.
fn check_status(headers: &HeaderMap) -> Result<Option<()>, Status> {
    // The usual one, without the copies that a status keeps.
    match headers.get(Status::GRPC_STATUS).map(HeaderValue::as_bytes) {
        None => Ok(None),
        Some(b"0") => Ok(Some(())),
        Some(_) => Err(Status::from_header_map(headers).unwrap_or_else(cut_off)),
    }
}

/// What is said about a response that the edge does not take.
#[must_use]
pub fn too_large() -> Fault {
    let most = MAX_RESPONSE_BYTES >> 20;
    Fault::new(
        Reason::UpstreamResponseTooLarge,
        format!(
            "the call took effect, but the service's answer is larger than the {most} MiB that are passed on"
        ),
    )
}

/// What a response is taken for that ends without a status.
#[must_use]
pub fn cut_off() -> Status {
    Status::unknown("the response has no status: it may have been cut off")
}

/// Whether a status was made here because an answer was lost on its way: it broke off, or a proxy had none.
pub(crate) fn is_lost(status: &Status) -> bool {
    let lost = [cut_off(), of_http(StatusCode::BAD_GATEWAY), of_http(StatusCode::GATEWAY_TIMEOUT)];
    lost.iter().any(|lost| (lost.code(), lost.message()) == (status.code(), status.message()))
}

/// What an answer of HTTP means that nobody wrote for gRPC:
/// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>.
#[must_use]
pub fn of_http(status: StatusCode) -> Status {
    if status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
        return metadata::too_long().into();
    }
    let code = match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(code, format!("an answer with the HTTP status {status}, and not one of gRPC"))
}
