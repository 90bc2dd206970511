//! What a gRPC caller is told of a call that no handler has answered: each error has a reason, whoever refused it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ordermesh::orders::v1::{GetOrderRequest, orders_service_client::OrdersServiceClient};
use reqwest::{Body, Client, Response};
use tokio::time::Instant;
use tonic::{Code, Status, codec::CompressionEncoding};
use tonic_types::StatusExt as _;

use crate::mesh::{EMBEDDED, Mesh};

const GET_ORDER: &str = "/ordermesh.orders.v1.OrdersService/GetOrder";

/// A client that sends any bytes.
struct Caller {
    client: Client,
    service: SocketAddr,
}

impl Caller {
    async fn call(&self, method: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Result<Response> {
        let request = self.client.post(format!("http://{}{method}", self.service));
        let request = request.header("content-type", "application/grpc").header("te", "trailers");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Ok(request.body(body).send().await?)
    }
}

/// A message as it travels: a flag, its length, its bytes.
fn message(flag: u8, bytes: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(bytes.len())?.to_be_bytes();
    Ok([&[flag], &length[..], bytes].concat())
}

/// The call ended with this code and this reason, before any message.
fn is(response: &Response, code: Code, reason: &str) -> Result<()> {
    let status = Status::from_header_map(response.headers()).context("a status before any message")?;
    let details = status.get_error_details();
    let info = details.error_info().with_context(|| format!("no reason: {status:?}"))?;
    ensure!(status.code() == code && info.reason == reason && info.domain == "ordermesh", "{status:?}");
    ensure!(!status.message().is_empty(), "{status:?}");
    Ok(())
}

#[tokio::test]
async fn every_error_of_a_service_has_a_reason() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    let client = Client::builder().http2_prior_knowledge().build()?;
    for (service, method) in
        [(mesh.orders, GET_ORDER), (mesh.payments, "/ordermesh.payments.v1.PaymentsService/GetAccount")]
    {
        let caller = Caller { client: client.clone(), service };
        let malformed = [
            message(0, &[0xff; 3])?,
            // Neither a message nor a whole one, a flag that does not exist, and one without its header.
            Vec::new(),
            vec![0, 0, 0],
            message(7, b"")?,
            message(1, b"")?,
        ];
        for body in malformed {
            is(&caller.call(method, &[], body).await?, Code::InvalidArgument, "MALFORMED_REQUEST")?;
        }
        let garbled = caller.call(method, &[("grpc-encoding", "gzip")], message(1, b"no gzip")?).await?;
        is(&garbled, Code::InvalidArgument, "MALFORMED_REQUEST")?;
        let large = caller.call(method, &[], message(0, &vec![0; 5 << 20])?).await?;
        is(&large, Code::InvalidArgument, "BODY_TOO_LARGE")?;
        let brotli = caller.call(method, &[("grpc-encoding", "br")], message(1, b"")?).await?;
        is(&brotli, Code::Unimplemented, "UNIMPLEMENTED")?;
        let understood = brotli.headers().get("grpc-accept-encoding").context("what is understood")?;
        ensure!(understood.to_str()?.contains("gzip"), "{understood:?}");
        for (bytes, is_taken) in [(12_000, true), (15_000, true), (17_000, false), (31_000, false)] {
            let long = "x".repeat(bytes);
            let answer = caller.call(method, &[("x-long", long.as_str())], message(0, b"")?).await?;
            match is_taken {
                true => {
                    let status = Status::from_header_map(answer.headers());
                    let status = status.with_context(|| format!("no answer of the handler: {answer:?}"))?;
                    ensure!(!status.message().contains("longer"), "{bytes}: {status:?}");
                }
                false => is(&answer, Code::InvalidArgument, "HEADERS_TOO_LARGE")?,
            }
        }
        let (service_name, _) = method[1..].split_once('/').context("a path")?;
        for nothing in [format!("/{service_name}/Nothing"), "/nobody.v1.Nobody/Get".to_owned()] {
            is(&caller.call(&nothing, &[], message(0, b"")?).await?, Code::Unimplemented, "UNIMPLEMENTED")?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_deadline_is_told_as_one() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    let caller = Caller { client: Client::builder().http2_prior_knowledge().build()?, service: mesh.orders };
    let began = Instant::now();
    // The message never comes.
    let never = Body::wrap_stream(futures_util::stream::pending::<Result<Vec<u8>>>());
    let late = caller.call(GET_ORDER, &[("grpc-timeout", "300m")], never).await?;
    is(&late, Code::DeadlineExceeded, "DEADLINE_EXCEEDED")?;
    ensure!(began.elapsed() >= Duration::from_millis(300));
    Ok(())
}

#[tokio::test]
async fn compressed_calls_are_taken() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    mesh.account("alice", 10).await?;
    let id = mesh.order("alice", 1).await?;
    let client = OrdersServiceClient::connect(format!("http://{}", mesh.orders)).await?;
    let mut client = client.send_compressed(CompressionEncoding::Gzip);
    let order = client.get_order(GetOrderRequest { order_id: id.clone() }).await?.into_inner();
    ensure!(order.id == id, "{order:?}");
    Ok(())
}
