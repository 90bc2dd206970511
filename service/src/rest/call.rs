//! One request from HTTP to a handler of the same process and back.

use std::time::Duration;

use axum::{body::Body, extract::Request};
use bytes::{Bytes, BytesMut};
use chassis::{
    status::{Fault, Reason, Violation},
    trace,
};
use http::{HeaderName, HeaderValue, header};
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tonic::{Code, Status};
use transcode::{Encoded, Input, PercentError, RequestError, RequestErrorKind, Route};
use upstream::{Call, OF_CALLER, Tried, named};

use super::mount::Mounted;

/// The longest body that is read: a parked payload is 256 KiB at most, and more in JSON.
const MOST_BODY: usize = 1 << 20;
/// What is read of one that is longer, at most.
const MOST_READ: usize = 16 << 20;
/// How long a handler may take: less than its connection has.
const TIME: Duration = Duration::from_secs(10);

/// Answers a request of this route with the JSON of its answer, and whether that is the first answer again.
///
/// # Errors
/// What is wrong with the request, or what the handler says.
pub(super) async fn answer(
    mounted: &Mounted,
    route: &Route,
    captures: Vec<Result<String, PercentError>>,
    request: Request,
) -> Result<(Bytes, bool), Fault> {
    let deadline = Instant::now() + TIME;
    let (mut parts, body) = request.into_parts();
    // Before the body, which nobody reads for a stranger. The handler's own guard asks again.
    mounted.guard.admit(route.rpc.path.path(), &parts.headers, &parts.extensions).await?;
    let body = received(body).await?;
    let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let input = Input {
        captures,
        query: parts.uri.query().unwrap_or_default(),
        body: &body,
        content_type: text(header::CONTENT_TYPE).unwrap_or_default(),
        idempotency_key: text(HeaderName::from_static("idempotency-key")),
        last_event_id: None,
    };
    let Encoded { wire, .. } = transcode::request_from_json(route, &input, false).map_err(refused)?;
    // Whatever is done is found by its trace, in the logs and in the list of who did what.
    if trace::incoming(&parts.headers).is_none()
        && let Ok(fresh) = HeaderValue::from_str(&trace::fresh())
    {
        parts.headers.insert(trace::TRACEPARENT, fresh);
    }
    let call = Call {
        upstream: &mounted.upstream,
        tried: &Tried::default(),
        path: &route.rpc.path,
        streams: false,
        wire,
        headers: &parts.headers,
        metadata: named,
        further: &OF_CALLER,
        deadline: Some(deadline),
    };
    let answered = call.unary().await.map_err(|status| failed(&status, route))?;
    let decoded =
        transcode::response_to_json(route, answered.body).map_err(|error| Fault::internal(&error))?;
    Ok((decoded.json.into(), answered.replayed))
}

/// The body. Of one that is too long the rest is read too, within bounds: a client that still sends would not see the answer.
async fn received(mut body: Body) -> Result<Bytes, Fault> {
    let (mut read, mut bytes) = (0, BytesMut::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Fault::new(Reason::MalformedRequest, "the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        read += data.len();
        if read <= MOST_BODY {
            bytes.extend_from_slice(&data);
        } else if read > MOST_READ {
            break;
        }
    }
    if read > MOST_BODY {
        return Err(Fault::new(Reason::BodyTooLarge, format!("the body has more than {MOST_BODY} bytes")));
    }
    Ok(bytes.freeze())
}

fn refused(error: RequestError) -> Fault {
    if error.kind == RequestErrorKind::TooLarge {
        return Fault::new(Reason::BodyTooLarge, error.to_string());
    }
    let (is_readable, message) = (error.kind == RequestErrorKind::Invalid, error.to_string());
    let of = |at: transcode::Violation| Violation { field: at.field, description: at.description };
    Fault::of_request(is_readable, message, error.violations.into_iter().map(of).collect())
}

/// What a handler of ours says has a reason, but for what tonic makes of a time that is over. Fields of the request are named as in JSON.
fn failed(status: &Status, route: &Route) -> Fault {
    let mut fault = Fault::from_status(status).unwrap_or_else(|| match status.code() {
        Code::Cancelled | Code::DeadlineExceeded => {
            let message = "the time for this request is over; whether it took effect is not known";
            Fault::new(Reason::DeadlineExceeded, message)
        }
        _ => Fault::internal(status),
    });
    fault.violations.iter_mut().for_each(|at| at.field = route.json_path(&at.field));
    fault
}
