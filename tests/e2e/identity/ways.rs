//! The ways to call a method: gRPC, gRPC-Web, Connect, HTTP and a WebSocket, each with the same kind of outcome.

use anyhow::{Context as _, Result, ensure};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use bytes::{Buf as _, BufMut as _, Bytes};
use chassis::status::{Reason, code_name};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header::AUTHORIZATION, uri::PathAndQuery};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{self, client::IntoClientRequest as _},
};
use tonic::{Code, Request, Status, client::Grpc, transport::Channel};
use tonic_types::{StatusExt as _, pb::ErrorInfo};
use world::{Answer, Api, Raw, answer};

use super::rows::Row;

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The code of gRPC by its number, or the status of HTTP.
    pub(crate) code: u16,
    /// The reason in ErrorInfo; empty for OK.
    pub(crate) reason: String,
    /// The word for the check that failed, in its metadata.
    pub(crate) check: String,
    /// The challenge of HTTP.
    pub(crate) challenge: String,
}

impl Outcome {
    fn of_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().cloned();
        let (reason, metadata) = info.map(|info| (info.reason, info.metadata)).unwrap_or_default();
        let check = metadata.get("check").cloned().unwrap_or_default();
        Self { code: status.code() as u16, reason, check, challenge: String::new() }
    }

    fn ok(code: u16) -> Self {
        Self { code, reason: String::new(), check: String::new(), challenge: String::new() }
    }

    /// Of an error of Connect (<https://connectrpc.com/docs/protocol#error-end-stream>), by its code.
    fn of_connect(error: &Value) -> Result<Self> {
        let name = error["code"].as_str().with_context(|| error.to_string())?.to_ascii_uppercase();
        let code = (1..17).map(Code::from_i32).find(|code| code_name(*code) == name).context(name)?;
        let mut details = error["details"].as_array().into_iter().flatten();
        let info = details.find(|detail| detail["type"] == "google.rpc.ErrorInfo");
        let info = info.and_then(|info| info["value"].as_str()).with_context(|| error.to_string())?;
        let ErrorInfo { reason, metadata, .. } =
            ErrorInfo::decode(BASE64_STANDARD_NO_PAD.decode(info)?.as_slice())?;
        let check = metadata.get("check").cloned().unwrap_or_default();
        Ok(Self { code: code as u16, reason, check, challenge: String::new() })
    }

    fn of_problem(code: u16, body: &Value, challenge: Option<&HeaderValue>) -> Self {
        let info = &body["error"]["details"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (reason, check) = (text(&info["reason"]), text(&info["metadata"]["check"]));
        Self { code, reason, check, challenge: challenged(challenge) }
    }
}

fn challenged(challenge: Option<&HeaderValue>) -> String {
    challenge.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// Whose data a call means.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whose<'w> {
    pub(crate) user: &'w str,
    pub(crate) order: &'w str,
}

impl Whose<'_> {
    /// What a template means of them.
    pub(crate) fn text(&self, template: &str) -> String {
        template.replace("$USER", self.user).replace("$ORDER", self.order)
    }
}

/// The bytes of a row's request.
pub(crate) fn wire(pool: &DescriptorPool, row: &Row, whose: Whose<'_>) -> Result<Bytes> {
    let (service, name) = row.method.split_once('/').context("a path")?;
    let service = pool.get_service_by_name(service).context(row.method)?;
    let method = service.methods().find(|method| method.name() == name).context(row.method)?;
    let json = whose.text(&row.request.to_string());
    let mut json = serde_json::Deserializer::from_str(&json);
    Ok(DynamicMessage::deserialize(method.input(), &mut json)?.encode_to_vec().into())
}

/// Calls over gRPC. Of a stream only the beginning is waited for.
pub(crate) async fn grpc(channel: &Channel, row: &Row, wire: Bytes, token: Option<&str>) -> Result<Outcome> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await?;
    let mut request = Request::new(wire);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    }
    let path: PathAndQuery = format!("/{}", row.method).parse()?;
    let answered = client.server_streaming(request, path, Raw).await;
    Ok(match answered {
        Err(status) => Outcome::of_status(&status),
        Ok(_) if row.streams => Outcome::ok(Code::Ok as u16),
        Ok(mut answer) => match answer.get_mut().message().await {
            Ok(_) => Outcome::ok(Code::Ok as u16),
            Err(status) => Outcome::of_status(&status),
        },
    })
}

/// The status of a call over gRPC that is refused, with all that came with it.
pub(crate) async fn refusal(channel: &Channel, row: &Row, wire: Bytes, token: &str) -> Result<Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await?;
    let mut request = Request::new(wire);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    // Without one each answer has a new one.
    request.metadata_mut().insert("x-request-id", "the-same".parse()?);
    let path: PathAndQuery = format!("/{}", row.method).parse()?;
    match client.server_streaming(request, path, Raw).await {
        Err(status) => Ok(status),
        Ok(mut answer) => answer.get_mut().message().await.err().context("it is answered"),
    }
}

/// Calls over gRPC-Web at the edge.
pub(crate) async fn grpc_web(edge: &Api, row: &Row, wire: Bytes, token: Option<&str>) -> Result<Outcome> {
    let frame = framed(&wire)?;
    let request = edge
        .request(reqwest::Method::POST, &format!("/{}", row.method))
        .header("content-type", "application/grpc-web+proto");
    let response = authorized(request, token).body(frame).send().await?;
    ensure!(response.status() == 200, "{}: {}", row.method, response.status());
    if response.headers().contains_key("grpc-status") {
        let status = Status::from_header_map(response.headers()).context("a status")?;
        return Ok(Outcome::of_status(&status));
    }
    if row.streams {
        return Ok(Outcome::ok(Code::Ok as u16));
    }
    let mut body = response.bytes().await?;
    while body.remaining() >= 5 {
        let (flags, length) = (body.get_u8(), body.get_u32() as usize);
        let part = body.split_to(length);
        if flags & 0x80 != 0 {
            let status = Status::from_header_map(&trailers(&part)?).context("a status")?;
            return Ok(if status.code() == Code::Ok { Outcome::ok(0) } else { Outcome::of_status(&status) });
        }
    }
    anyhow::bail!("{}: an answer without a status", row.method)
}

/// A message as gRPC-Web has it, and a stream of Connect.
fn framed(message: &[u8]) -> Result<Vec<u8>> {
    let mut frame = vec![0];
    frame.put_u32(u32::try_from(message.len())?);
    frame.put(message);
    Ok(frame)
}

fn trailers(text: &[u8]) -> Result<HeaderMap> {
    let mut trailers = HeaderMap::new();
    for line in std::str::from_utf8(text)?.lines() {
        let (name, value) = line.split_once(':').context("a trailer")?;
        trailers.insert(HeaderName::try_from(name)?, HeaderValue::from_str(value.trim())?);
    }
    Ok(trailers)
}

/// Calls over Connect at the edge, with a message in this form.
pub(crate) async fn connect(
    edge: &Api,
    row: &Row,
    (form, message): (&str, Vec<u8>),
    token: Option<&str>,
) -> Result<Outcome> {
    let (kind, message) = match row.streams {
        true => (format!("application/connect+{form}"), framed(&message)?),
        false => (format!("application/{form}"), message),
    };
    let request = edge.request(reqwest::Method::POST, &format!("/{}", row.method));
    let request = authorized(request.header("content-type", kind), token).body(message);
    connected(request.send().await?, row).await
}

/// Calls a method that only reads over Connect, with its message in the query.
pub(crate) async fn connect_by_get(
    edge: &Api,
    row: &Row,
    message: &[u8],
    token: Option<&str>,
) -> Result<Outcome> {
    let message = BASE64_URL_SAFE_NO_PAD.encode(message);
    let path = format!("/{}?connect=v1&encoding=proto&base64=1&message={message}", row.method);
    connected(authorized(edge.request(reqwest::Method::GET, &path), token).send().await?, row).await
}

async fn connected(response: reqwest::Response, row: &Row) -> Result<Outcome> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    if row.streams {
        ensure!(status == 200, "{}: {status}", row.method);
        return begun(response).await;
    }
    if status == 200 {
        return Ok(Outcome::ok(200));
    }
    let failed = Outcome::of_connect(&serde_json::from_slice(&response.bytes().await?)?)?;
    let code = Reason::parse(&failed.reason).map(|reason| reason.code() as u16);
    ensure!(code == Some(failed.code), "{}: another code than that of its reason: {failed:?}", row.method);
    Ok(Outcome { code: status, challenge: challenged(headers.get("www-authenticate")), ..failed })
}

/// What a stream of Connect begins with: a message, or its end, which says how it went.
async fn begun(mut response: reqwest::Response) -> Result<Outcome> {
    let mut had = Vec::<u8>::new();
    loop {
        if let Some((head, rest)) = had.split_first_chunk::<5>() {
            let [flags, length @ ..] = *head;
            if flags & 2 == 0 {
                return Ok(Outcome::ok(0));
            }
            if rest.len() == u32::from_be_bytes(length) as usize {
                let end: Value = serde_json::from_slice(rest)?;
                return if end["error"].is_null() {
                    Ok(Outcome::ok(0))
                } else {
                    Outcome::of_connect(&end["error"])
                };
            }
        }
        had.extend(response.chunk().await?.context("a stream without an end")?);
    }
}

/// Calls a route over HTTP. Of a stream only the beginning is waited for.
pub(crate) async fn http(edge: &Api, row: &Row, whose: Whose<'_>, token: Option<&str>) -> Result<Outcome> {
    let (method, path, body) = row.route.as_ref().context("a route")?;
    let mut request = authorized(edge.request(method.parse()?, &whose.text(path)), token);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(whose.text(&body.to_string()));
    }
    if row.streams {
        let response = request.send().await?;
        if response.status() == 200 {
            return Ok(Outcome::ok(200));
        }
        let (code, headers) = (response.status().as_u16(), response.headers().clone());
        return Ok(Outcome::of_problem(code, &response.json().await?, headers.get("www-authenticate")));
    }
    let Answer { status, headers, body, .. } = answer(request).await?;
    if status == 200 {
        return Ok(Outcome::ok(200));
    }
    Ok(Outcome::of_problem(status.as_u16(), &body, headers.get("www-authenticate")))
}

/// Calls a route at the operator's listener of a service, whose errors are problem details.
pub(crate) async fn at_admin(
    operator: &Api,
    service: &str,
    row: &Row,
    whose: Whose<'_>,
    token: Option<&str>,
) -> Result<Outcome> {
    let (method, path) = row.admin.context("a route")?;
    let path = whose.text(&path.replace("$SERVICE", service));
    let mut request = authorized(operator.request(method.parse()?, &path), token);
    if method != "GET" {
        // What the path has is not in the body.
        let mut body = row.request.clone();
        if let Some(fields) = body.as_object_mut() {
            let is_in_path = |text: &str| path.contains(&format!("/{text}:"));
            fields.retain(|_, value| !value.as_str().is_some_and(is_in_path));
        }
        // The body of CreatePause is the pause itself.
        let body = body.get("pause").unwrap_or(&body).to_string();
        request = request.header("content-type", "application/json").body(whose.text(&body));
    }
    let Answer { status, headers, body, .. } = answer(request).await?;
    // An answer may have a reason of its own.
    let reason = body["reason"].as_str().filter(|_| !status.is_success());
    let (reason, challenge) =
        (reason.unwrap_or_default().to_owned(), challenged(headers.get("www-authenticate")));
    Ok(Outcome { code: status.as_u16(), reason, check: String::new(), challenge })
}

/// Opens a route as a WebSocket.
pub(crate) async fn socket(edge: &Api, row: &Row, whose: Whose<'_>, token: Option<&str>) -> Result<Outcome> {
    let (_, path, _) = row.route.as_ref().context("a route")?;
    let url: Uri = format!("{}{}", edge.base().replace("http", "ws"), whose.text(path)).parse()?;
    let mut request = url.into_client_request()?;
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, format!("Bearer {token}").parse()?);
    }
    match connect_async(request).await {
        Ok(_) => Ok(Outcome::ok(200)),
        Err(tungstenite::Error::Http(refused)) => {
            let body = serde_json::from_slice(refused.body().as_deref().unwrap_or_default())?;
            let challenge = refused.headers().get("www-authenticate");
            Ok(Outcome::of_problem(refused.status().as_u16(), &body, challenge))
        }
        Err(error) => Err(error.into()),
    }
}

fn authorized(request: reqwest::RequestBuilder, token: Option<&str>) -> reqwest::RequestBuilder {
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}
