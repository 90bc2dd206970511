//! Calls to the services behind the edge: bytes out, bytes in, no message types.

use std::{mem, time::Duration};

use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, uri::PathAndQuery};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::Instant;
use tonic::{
    Request, Status, Streaming,
    body::Body as GrpcBody,
    client::Grpc,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
};
use tower::ServiceExt as _;

use crate::{
    connection::Connection,
    metadata::{self, GRPC_TIMEOUT},
    pool::Tried,
    service::Upstream,
    unary::MAX_RESPONSE_BYTES,
};

/// One call that is about to be made.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The service.
    pub upstream: &'a Upstream,
    /// Where it failed before.
    pub tried: &'a Tried,
    /// The path of the method, such as `/ordermesh.orders.v1.OrdersService/GetOrder`.
    pub path: &'a PathAndQuery,
    /// Whether one of the sides streams: then its answer may come when there is something to say.
    pub streams: bool,
    /// The request.
    pub wire: Bytes,
    /// The headers of the client,
    pub headers: &'a HeaderMap,
    /// and what of them becomes metadata of the call,
    pub metadata: fn(&HeaderMap, &[HeaderName]) -> HeaderMap,
    /// with those of these names.
    pub further: &'a [HeaderName],
    /// When the client stops waiting, if the service is to know: it is sent as `grpc-timeout`.
    pub deadline: Option<Instant>,
}

/// What a service answers.
#[derive(Debug)]
pub struct Answer<T> {
    /// The message, or the stream of them.
    pub body: T,
    /// Whether it is the answer to an earlier request with the same key.
    pub replayed: bool,
    /// Whether it is a stream without a message, which would have none later either.
    pub complete: bool,
    /// What it says beside the message: before it, and after it where that is all there is.
    pub metadata: [HeaderMap; 2],
}

impl<T> Answer<T> {
    fn of(response: tonic::Response<T>) -> Self {
        let (metadata, body, _) = response.into_parts();
        let (replayed, complete) =
            (metadata::replayed(metadata.as_ref()), metadata::stream_complete(metadata.as_ref()));
        Self { body, replayed, complete, metadata: [metadata.into_headers(), HeaderMap::new()] }
    }
}

impl Call<'_> {
    /// Makes a call with one response.
    ///
    /// # Errors
    /// What the service or the transport says.
    pub async fn unary(&self) -> Result<Answer<Bytes>, Status> {
        let made = self.made(async |connection, metadata| {
            connection.unary(self.path.clone(), metadata, &self.wire).await
        });
        let response = made.await?;
        let replayed = metadata::replayed(&response.headers) || metadata::replayed(&response.trailers);
        let metadata = [response.headers, response.trailers];
        Ok(Answer { body: response.message, replayed, complete: false, metadata })
    }

    /// Makes a call with a stream of responses.
    ///
    /// # Errors
    /// What the service or the transport says before the stream begins.
    pub async fn streaming(&self) -> Result<Answer<Streaming<Bytes>>, Status> {
        let made = self.made(async |connection, metadata| {
            let metadata = MetadataMap::from_headers(metadata);
            let request = Request::from_parts(metadata, http::Extensions::new(), self.wire.clone());
            let mut grpc = Grpc::new(connection.clone()).max_decoding_message_size(MAX_RESPONSE_BYTES);
            grpc.server_streaming(request, self.path.clone(), Raw).await
        });
        Ok(Answer::of(made.await?))
    }

    /// Makes a call with a stream of requests, each in its envelope, and one of responses or a single one. Nothing of them is copied: who has
    /// made a message can count its bytes until the service has taken them.
    ///
    /// # Errors
    /// What the service or the transport says before the answer begins.
    pub async fn both(
        &self,
        messages: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Answer<Streaming<Bytes>>, Status> {
        let made = self.made(async |connection, metadata| {
            let metadata = MetadataMap::from_headers(metadata);
            let nothing = stream::empty::<Bytes>();
            let request = Request::from_parts(metadata, http::Extensions::new(), nothing);
            // In the place of the body that tonic would make.
            let mut body =
                GrpcBody::new(StreamBody::new(messages.map(|data| Ok::<_, Status>(Frame::data(data)))));
            let sending = connection
                .clone()
                .map_request(move |request: http::Request<GrpcBody>| request.map(|_| mem::take(&mut body)));
            let mut grpc = Grpc::new(sending).max_decoding_message_size(MAX_RESPONSE_BYTES);
            grpc.streaming(request, self.path.clone(), Raw).await
        });
        Ok(Answer::of(made.await?))
    }

    /// Makes a call at the endpoint whose turn it is, and lets the pool know how it went.
    async fn made<T>(
        &self,
        call: impl AsyncFnOnce(&Connection, HeaderMap) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let mut metadata = (self.metadata)(self.headers, self.further);
        metadata::check_length(&metadata)?;
        self.upstream
            .call(self.tried, self.streams, async |connection| {
                if let Some(deadline) = self.deadline {
                    // Of the time that a request has, a second call gets what is left.
                    let left = deadline.saturating_duration_since(Instant::now());
                    metadata.insert(GRPC_TIMEOUT, grpc_timeout(left));
                }
                call(connection, metadata).await
            })
            .await
    }
}

/// A time as `grpc-timeout`: at most eight digits, and a unit. The same in most calls, so that HTTP/2 sends its place in a table.
#[must_use]
pub fn grpc_timeout(time: Duration) -> HeaderValue {
    let text = match time.as_millis() {
        millis @ 1_000.. => format!("{}m", millis.min(99_999_999)),
        _ => format!("{}u", time.as_micros()),
    };
    // Digits and a letter are a header value.
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("0m"))
}

/// The codec of bytes that are encoded already.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

/// What a stream reads into and is written from at first, in bytes: most messages fit, and thousands of streams may be open that wait.
const FIRST_BUFFER: usize = 1_024;
/// Bytes that are gathered before they are sent.
const SENT_TOGETHER: usize = 32 << 10;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(FIRST_BUFFER, SENT_TOGETHER)
    }

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(FIRST_BUFFER, SENT_TOGETHER)
    }

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        // The buffer ends where the message does, and its bytes are shared, not copied.
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
