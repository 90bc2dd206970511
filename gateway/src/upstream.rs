//! Calls to the services behind the edge: bytes out, bytes in, no message types.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use tonic::{
    Extensions, Request, Response, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    transport::Channel,
};

use crate::{
    pool::{Pool, Tried},
    transcode::table::Rpc,
};

/// Largest response message. A page of 1,000 orders with descriptions of 1,024 four-byte characters passes the usual 4 MiB.
const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// One call that is about to be made.
#[derive(Debug, Clone)]
pub(crate) struct Call<'a> {
    /// Where.
    pub pool: &'a Pool,
    /// Where it failed before.
    pub tried: &'a Tried,
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
        self.made(async |mut grpc, request, path| grpc.unary(request, path, Raw).await).await
    }

    /// Makes a call with a stream of responses.
    ///
    /// # Errors
    /// What the service or the transport says before the stream begins.
    pub(crate) async fn streaming(self) -> Result<Response<Streaming<Bytes>>, Status> {
        self.made(async |mut grpc, request, path| grpc.server_streaming(request, path, Raw).await).await
    }

    /// Makes a call at the endpoint whose turn it is, and lets the pool know how it went.
    async fn made<T>(
        self,
        call: impl AsyncFnOnce(Grpc<Channel>, Request<Bytes>, PathAndQuery) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let member = self.pool.pick(self.tried).await?;
        let (pool, path) = (self.pool, self.rpc.path.clone());
        let outcome = match self.ready(&member.channel).await {
            Ok((grpc, request)) => call(grpc, request, path).await,
            Err(status) => Err(status),
        };
        pool.note(&member, &outcome);
        outcome
    }

    async fn ready(self, channel: &Channel) -> Result<(Grpc<Channel>, Request<Bytes>), Status> {
        let mut grpc = Grpc::new(channel.clone()).max_decoding_message_size(MAX_RESPONSE_BYTES);
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
