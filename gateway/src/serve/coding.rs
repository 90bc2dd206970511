//! Answers in the coding that their clients prefer, where the edge compresses (`--compress`).

use std::{convert::Infallible, future::ready, mem};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    middleware::Next,
    response::Response,
};
use chassis::media;
use http::{HeaderMap, HeaderValue, header};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_http::compression::{CompressionLayer, predicate::Predicate};

use crate::answer::refusal::is_call;

/// What answers are compressed with, the best first.
const WRITTEN: [&str; 3] = ["zstd", "br", "gzip"];

/// Compresses an answer. Each says that it depends on what its request accepts, also where that changes nothing: of a 304 nobody knows how long the
/// answer is that its client has, and it has the same `Vary` (RFC 9110, section 15.4.5).
pub(super) async fn coded(request: Request, next: Next) -> Response {
    // Messages of gRPC have a coding of their own.
    if is_call(request.method(), request.headers()) {
        return next.run(request).await;
    }
    let coding = media::coding(request.headers(), &WRITTEN);
    let mut response = next.run(request).await;
    if let Some(coding) = coding {
        response = compressed(response, coding).await;
    }
    note(response.headers_mut());
    response
}

/// tower-http's layer around what is answered already: which coding is preferred it decides otherwise, and it refuses (406) what has taken effect.
async fn compressed(mut response: Response, coding: &'static str) -> Response {
    let mut request = http::Request::new(Body::empty());
    request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding));
    let answered =
        service_fn(move |_: http::Request<Body>| ready(Ok::<_, Infallible>(mem::take(&mut response))));
    let layer = CompressionLayer::new().compress_when(Worthwhile);
    let Ok(response) = layer.layer(answered).oneshot(request).await;
    response.map(Body::new)
}

fn note(headers: &mut HeaderMap) {
    let names = |line: &HeaderValue| {
        let line = line.to_str().unwrap_or_default();
        line.split(',').any(|name| name.trim().eq_ignore_ascii_case(header::ACCEPT_ENCODING.as_str()))
    };
    if !headers.get_all(header::VARY).iter().any(names) {
        headers.append(header::VARY, header::ACCEPT_ENCODING.into());
    }
}

/// Which answers are compressed: what is shorter gains nothing, and a stream, whose length nobody knows, would be held back until there is
/// enough of it.
#[derive(Debug, Clone, Copy)]
struct Worthwhile;

impl Predicate for Worthwhile {
    fn should_compress<B: HttpBody>(&self, response: &http::Response<B>) -> bool {
        response.body().size_hint().exact().is_some_and(|bytes| bytes >= 256)
    }
}
