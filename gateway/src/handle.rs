//! One request from HTTP to gRPC and back: the only handler there is.

use std::{collections::BTreeSet, sync::Arc};

use axum::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use chassis::status::Fault;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use tokio::time::Instant;
use transcode::{Body as BodyOf, Encoded, Input, ResponseError, Route};
use upstream::{Answer, Call, Tried};

use crate::{
    admit::{Account, Admitted, Client, Standing, activity::OVERHEAD},
    answer::{
        etag, outcome, payload,
        problem::{Problem, Style, refused},
        refusal::{is_call, refusal},
    },
    connect,
    contract::{Captures, Found, Served},
    documents::places,
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
        Found::Nothing => {
            let reads = matches!(parts.method, Method::GET | Method::HEAD);
            let documents = edge.thread.documents();
            let place = reads.then(|| places::answer(&documents, parts.uri.path(), &parts.headers));
            place.flatten().ok_or_else(Problem::route_not_found)
        }
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
    asked: Asked,
    style: &Style,
    standing: &mut Option<Standing>,
) -> Result<Response, Problem> {
    let Asked { mut parts, body, client } = asked;
    let (called, asked) = (served.called(), headers::request_timeout(&parts.headers)?);
    let deadline = Instant::now() + asked.unwrap_or(edge.config.request_timeout);
    let admitted = edge.admission.admit(&client, &parts.headers, called, standing);
    let Admitted { who, expires } = within(deadline, admitted).await??;
    if served.route.rpc.client_streaming {
        // It is counted, and bounded for each caller, among the streams.
        let open = edge.admission.streams.open(&who, called.0)?;
        let talked = talk::Asked { parts, body, captures, open, client, expires };
        return talk::answer(edge, served, talked, style).await;
    }
    let streams = served.route.rpc.streaming;
    let socket = if streams { socket::asked(&edge.config.cors_origins, &mut parts).await? } else { None };
    let read = matches!(parts.method, Method::GET | Method::HEAD);
    let condition = headers::condition(&parts.headers, &served.route.rpc.input, read)?;
    let body = within(deadline, received(edge, served, &parts.headers, body, &client)).await??;
    // Not before: clients that send slowly would take the slots of all others.
    let _slot = edge.admission.slot(&served.route.rpc.service, &who)?;
    let open = streams.then(|| edge.admission.streams.open(&who, called.0)).transpose()?;
    let Encoded { wire, ignored } = encode(edge, served, captures, &parts, &body.bytes, condition)?;
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
            over: Over::first(asked.map(|_| deadline), expires),
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
        // What a write has done is answered, however much is being answered already.
        let answer = answer_of(&served.route, body, &parts.headers, read.then_some(&*client.answers));
        (answer.map_err(|problem| *problem)?, replayed, metadata)
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

fn encode(
    edge: &Edge,
    served: &Served,
    captures: Captures,
    parts: &Parts,
    body: &Bytes,
    condition: Vec<u8>,
) -> Result<Encoded, Fault> {
    let key = headers::idempotency_key(&parts.headers)?;
    let input = Input {
        captures,
        query: parts.uri.query().unwrap_or_default(),
        body,
        content_type: headers::content_type(&parts.headers),
        idempotency_key: key.as_deref(),
        last_event_id: headers::last_event_id(&parts.headers)?,
    };
    let mut encoded =
        transcode::request_from_json(&served.route, &input, edge.config.lenient).map_err(refused)?;
    if !condition.is_empty() {
        encoded.wire = [encoded.wire, condition.into()].concat().into();
    }
    Ok(encoded)
}

/// The answer to a unary call: the JSON of its message. That of a read has to have room in an `account`, and is 304 when the client has it.
fn answer_of(
    route: &Route,
    wire: Bytes,
    headers: &HeaderMap,
    account: Option<&Account>,
) -> Result<Response, Box<Problem>> {
    let tag = account.and_then(|_| etag::of(&wire, version(route)));
    if tag.as_ref().is_some_and(|tag| etag::matches(headers, tag)) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().extend(tag.map(|tag| (header::ETAG, tag)));
        return Ok(response);
    }
    let failed = |error: ResponseError| Box::new(payload::unprintable(&error).into());
    let check = |bytes: usize| match account {
        Some(account) => account.check(bytes).map_err(|fault| Box::new(fault.into())),
        None => Ok(()),
    };
    let mut response = if route.raw_response {
        let payload = transcode::response_payload(route, &wire).map_err(failed)?;
        check(payload.data.len())?;
        payload::bytes(payload)
    } else {
        let json = transcode::response_to_json(route, wire).map_err(failed)?.json;
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
