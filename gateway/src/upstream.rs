//! Calls to the services behind the edge: bytes out, bytes in, no message types.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::{
    Extensions, Request, Response, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};

use crate::transcode::table::Rpc;

/// Largest response message. A page of 1,000 orders with descriptions of 1,024 four-byte characters passes the usual 4 MiB.
const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// A host that swallows packets is given up after this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A dead connection is noticed within the sum of both, also while nothing is called.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A channel that connects with its first call, and again after it broke.
///
/// # Errors
/// What is wrong with the URL.
pub(crate) fn channel(url: &str) -> Result<Channel, String> {
    let parsed = url::Url::parse(url).map_err(|error| format!("{url:?} is not a URL: {error}"))?;
    if parsed.scheme() != "http" || parsed.host().is_none() {
        return Err(format!("{url:?} is not of the form http://host:port"));
    }
    if !matches!(parsed.path(), "" | "/") || parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(format!("{url:?} has more than a host and a port"));
    }
    let endpoint =
        Endpoint::from_shared(url.to_owned()).map_err(|error| format!("{url:?} is not a URL: {error}"))?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_lazy())
}

/// One call that is about to be made.
#[derive(Debug, Clone)]
pub(crate) struct Call<'a> {
    /// Where.
    pub channel: Channel,
    /// What.
    pub rpc: &'a Rpc,
    /// The request.
    pub wire: Bytes,
    /// What travels with it.
    pub metadata: MetadataMap,
    /// What the service is told about the time it has, as `grpc-timeout`.
    pub timeout: Option<Duration>,
}

impl Call<'_> {
    /// Makes a call with one response.
    ///
    /// # Errors
    /// What the service or the transport says.
    pub(crate) async fn unary(self) -> Result<Response<Bytes>, Status> {
        let path = self.rpc.path.clone();
        let (mut grpc, request) = self.ready().await?;
        grpc.unary(request, path, Raw).await
    }

    /// Makes a call with a stream of responses.
    ///
    /// # Errors
    /// What the service or the transport says before the stream begins.
    pub(crate) async fn streaming(self) -> Result<Response<Streaming<Bytes>>, Status> {
        let path = self.rpc.path.clone();
        let (mut grpc, request) = self.ready().await?;
        grpc.server_streaming(request, path, Raw).await
    }

    async fn ready(self) -> Result<(Grpc<Channel>, Request<Bytes>), Status> {
        let mut grpc = Grpc::new(self.channel).max_decoding_message_size(MAX_RESPONSE_BYTES);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let mut request = Request::from_parts(self.metadata, Extensions::default(), self.wire);
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        Ok((grpc, request))
    }
}

/// The codec of bytes that are encoded already.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

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

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        // The buffer ends where the message does, and its bytes are shared, not copied.
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
