//! One request from HTTP to gRPC and back: the only handler there is.

use std::{collections::BTreeSet, sync::Arc};

use axum::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use chassis::status::Fault;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use tokio::time::Instant;
use transcode::{Body as BodyOf, Encoded, Input, Route};
use upstream::{Answer, Call, Tried};

use crate::{
    admit::{Account, Admitted, Client, Standing, activity::OVERHEAD},
    answer::{
        etag, outcome, payload,
        problem::{Problem, Style, refused},
        refusal::{is_call, refusal},
    },
    aside, connect,
    contract::{Captures, Found, Served},
    documents::{only_read, places, reads},
    edge::Edge,
    grpc,
    metrics::Seen,
    request::{
        body::{self, BodyLimit, Received},
        deadline::within,
        headers,
    },
    stream::{self, Feed, Feeding, Framing, Over, socket, talk},
};

/// Answers any request, and says what was `seen` of it.
pub(crate) async fn answer(edge: &Edge, request: Request, client: Client, seen: &mut Seen) -> Response {
    // Of answers that nobody takes there are no more, those of writes neither: they would be given whether there is room for them or not.
    if let Err(fault) = client.answers.check(OVERHEAD) {
        return refusal(&request, fault);
    }
    if is_call(request.method(), request.headers()) {
        return grpc::answer(edge, request, client, seen).await;
    }
    let (parts, body) = request.into_parts();
    let found = edge.thread.find(parts.method.as_str(), parts.uri.path());
    let mut standing = None;
    let called = match found {
        Found::Route(..) => None,
        Found::OtherMethods(_) | Found::Nothing => edge.thread.method(parts.uri.path()).0,
    };
    let mut response = if let Some(called) = called {
        connect::answer(edge, (parts, body), &client, &called, seen, &mut standing).await
    } else {
        let style = Style::of(&parts.headers, parts.uri.path());
        let asked = Asked { parts, body, client };
        let answered = route(edge, found, asked, &style, seen, &mut standing).await;
        answered.unwrap_or_else(|problem| problem.into_response(&style))
    };
    if let Some(standing) = standing {
        standing.note(response.headers_mut());
    }
    response
}

async fn route(
    edge: &Edge,
    found: Found,
    asked: Asked,
    style: &Style,
    seen: &mut Seen,
    standing: &mut Option<Standing>,
) -> Result<Response, Problem> {
    let parts = &asked.parts;
    if let Found::Route(served, _) = &found {
        *seen = Seen::Route(Arc::clone(&served.meter));
    } else {
        // Nobody is asked who sends what is not called.
        edge.admission.count(&asked.client.who(None), None, standing)?;
    }
    match found {
        // A stream never ends for somebody who waits for its length.
        Found::Route(served, _)
            if parts.method == Method::HEAD
                && (served.route.rpc.streaming || served.route.rpc.client_streaming) =>
        {
            Err(Problem::method_not_allowed(allow([served.route.method.clone()].into(), true)))
        }
        Found::Route(served, captures) => call(edge, &served, captures, asked, style, standing).await,
        Found::OtherMethods(methods) if parts.method == Method::OPTIONS => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response.headers_mut().insert(header::ALLOW, allow(methods, streams(edge, parts)));
            Ok(response)
        }
        Found::OtherMethods(methods) => {
            Err(Problem::method_not_allowed(allow(methods, streams(edge, parts))))
        }
        // Of the edge itself (RFC 9110, section 9.3.7).
        Found::Nothing if parts.method == Method::OPTIONS && parts.uri.path() == "*" => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response.headers_mut().insert(header::ALLOW, allow(edge.thread.methods_of_routes(), false));
            Ok(response)
        }
        Found::Nothing => match places::answer(&edge.thread.documents(), parts.uri.path(), &parts.headers) {
            Some(place) if reads(&parts.method) => Ok(place),
            Some(_) => Err(only_read()),
            None => Err(Problem::route_not_found()),
        },
    }
}

/// Whether GET of this path is a stream.
fn streams(edge: &Edge, parts: &Parts) -> bool {
    matches!(edge.thread.find("GET", parts.uri.path()), Found::Route(served, _) if served.route.rpc.streaming)
}

/// The methods of a path, with those that every path has.
fn allow(mut methods: BTreeSet<String>, stream: bool) -> HeaderValue {
    if methods.contains("GET") && !stream {
        methods.insert("HEAD".to_owned());
    }
    methods.insert("OPTIONS".to_owned());
    let methods: Vec<String> = methods.into_iter().collect();
    // Method names are tokens, so they are a header value.
    HeaderValue::from_str(&methods.join(", ")).unwrap_or_else(|_| HeaderValue::from_static("OPTIONS"))
}

/// A request, and where it comes from.
struct Asked {
    parts: Parts,
    body: Body,
    client: Client,
}

async fn call(
    edge: &Edge,
    served: &Arc<Served>,
    captures: Captures,
    Asked { mut parts, body, client }: Asked,
    style: &Style,
    standing: &mut Option<Standing>,
) -> Result<Response, Problem> {
    let (called, asked) = (served.called(), headers::request_timeout(&parts.headers)?);
    let deadline = Instant::now() + asked.unwrap_or(edge.config.request_timeout);
    let admitted = edge.admission.admit(&client, &parts.headers, called, standing);
    let Admitted { who, validity } = within(deadline, admitted).await??;
    if served.route.rpc.client_streaming {
        // It is counted, and bounded for each caller, among the streams.
        let open = edge.admission.streams.open(&who, called.0)?;
        let talked = talk::Asked { parts, body, captures, open, client, validity };
        return talk::answer(edge, served, talked, style).await;
    }
    let streams = served.route.rpc.streaming;
    let socket = if streams { socket::asked(&edge.config.cors_origins, &mut parts)? } else { None };
    let read = matches!(parts.method, Method::GET | Method::HEAD);
    let condition = headers::condition(&parts.headers, &served.route.rpc.input, read)?;
    let body = within(deadline, received(edge, served, &parts.headers, body, &client)).await??;
    // Not before: clients that send slowly would take the slots of all others.
    let _slot = edge.admission.slot(&served.route.rpc.service, &who)?;
    let open = streams.then(|| edge.admission.streams.open(&who, called.0)).transpose()?;
    let encoded = encoded(edge, served, captures, &parts, &body.bytes, condition, deadline);
    let Encoded { wire, ignored } = encoded.await?;
    let tried = Tried::default();
    let call = Call {
        wire,
        // A stream lasts as long as it lasts, unless the client says how long; only its beginning has a deadline.
        deadline: (!streams || asked.is_some()).then_some(deadline),
        ..served.call(&tried, &parts.headers)
    };
    let keyed = served.route.rpc.request_id.is_some() && headers::has_key(&parts.headers);
    let route = &*served.route;
    let failed = |status| {
        if read { Problem::from_status(&status, route) } else { outcome::of_write(&status, route, keyed) }
    };
    let (mut response, replayed, metadata) = if streams {
        let upstream = within(deadline, edge.retries.run(read, || call.streaming())).await?;
        let Answer { body, replayed, complete, metadata } = upstream.map_err(failed)?;
        let feed = Feed {
            served: Arc::clone(served),
            messages: body,
            complete,
            feeding: Feeding::default(),
            framing: Framing::of(&parts.headers, &served.route),
            style: style.clone(),
            over: Over::first(asked.map(|_| deadline), validity),
            stopping: edge.ending.stopping.clone(),
            account: Arc::clone(&client.answers),
            _open: open,
        };
        let answered = match socket {
            Some(socket) => socket::response(feed, &edge.ending, edge.config.idle_timeout, socket),
            None => within(deadline, stream::response(feed)).await??,
        };
        (answered, replayed, metadata)
    } else {
        let upstream = within(deadline, edge.retries.run(read || keyed, || call.unary())).await?;
        let Answer { body, replayed, metadata, .. } = upstream.map_err(failed)?;
        // What a write has done is answered, however much is being answered already, and however long it is printed.
        let answer = answer_of(&served.route, body, &parts.headers, read.then_some(&*client.answers));
        (within(read.then_some(deadline), answer).await??, replayed, metadata)
    };
    payload::returned(&edge.config.return_metadata, &metadata, response.headers_mut());
    payload::note(response.headers_mut(), replayed, &ignored);
    Ok(response)
}

async fn received(
    edge: &Edge,
    served: &Served,
    headers: &HeaderMap,
    body: Body,
    client: &Client,
) -> Result<Received, Problem> {
    let limit = BodyLimit { each: edge.config.max_body_bytes, account: Arc::clone(&client.bodies) };
    let typed = served.route.body != BodyOf::Nothing && !served.route.raw_body;
    body::read(headers, body, &limit, typed).await
}

/// The message of a request, which has to be made by the deadline.
async fn encoded(
    edge: &Edge,
    served: &Arc<Served>,
    captures: Captures,
    parts: &Parts,
    body: &Bytes,
    condition: Vec<u8>,
    deadline: Instant,
) -> Result<Encoded, Fault> {
    let lenient = edge.config.lenient;
    let mut encoded = if aside::is_long(body.len()) {
        let (served, uri, headers) = (Arc::clone(served), parts.uri.clone(), parts.headers.clone());
        let body = body.clone();
        let encode = move || encode(&served.route, captures, &uri, &headers, &body, lenient);
        within(deadline, aside::run(encode)).await??
    } else {
        encode(&served.route, captures, &parts.uri, &parts.headers, body, lenient)
    }?;
    if !condition.is_empty() {
        encoded.wire = [encoded.wire, condition.into()].concat().into();
    }
    Ok(encoded)
}

fn encode(
    route: &Route,
    captures: Captures,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
    lenient: bool,
) -> Result<Encoded, Fault> {
    let key = headers::idempotency_key(headers)?;
    let input = Input {
        captures,
        query: uri.query().unwrap_or_default(),
        body,
        content_type: headers::content_type(headers),
        idempotency_key: key.as_deref(),
        last_event_id: headers::last_event_id(headers)?,
    };
    transcode::request_from_json(route, &input, lenient).map_err(refused)
}

/// The answer to a unary call: the JSON of its message. That of a read has to have room in an `account`, and is 304 when the client has it.
async fn answer_of(
    route: &Arc<Route>,
    wire: Bytes,
    headers: &HeaderMap,
    account: Option<&Account>,
) -> Result<Response, Problem> {
    let tag = account.and_then(|_| etag::of(&wire, version(route)));
    if tag.as_ref().is_some_and(|tag| etag::matches(headers, tag)) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().extend(tag.map(|tag| (header::ETAG, tag)));
        return Ok(response);
    }
    let check = |bytes: usize| account.map_or(Ok(()), |account| account.check(bytes));
    let mut response = if route.raw_response {
        let payload = transcode::response_payload(route, &wire).map_err(payload::unprintable)?;
        check(payload.data.len())?;
        payload::bytes(payload)
    } else {
        let json = payload::decoded(route, wire).await?.json;
        check(json.len())?;
        payload::json(json.into())
    };
    response.headers_mut().extend(tag.map(|tag| (header::ETAG, tag)));
    Ok(response)
}

/// The number of the field that has the version of a resource, where that is what the route answers.
fn version(route: &Route) -> Option<u32> {
    match route.rpc.version.as_deref()? {
        [version] => Some(version.number()),
        _ => None,
    }
}
