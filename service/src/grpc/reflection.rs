//! Server reflection, v1 and v1alpha, whose streams end with the listener: a client that asks now and then keeps one open for ever.

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::Request;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    service::{LayerExt as _, Routes},
};
use tonic_reflection::server::Builder;
use tower::util::MapRequestLayer;

use super::contract::Contract;

/// `routes` and the reflection of the contract, until `stop`.
///
/// # Errors
/// When a descriptor set cannot be read.
pub(super) fn add(routes: Routes, contract: &Contract, stop: &CancellationToken) -> anyhow::Result<Routes> {
    let reflection = || {
        let sets = contract.descriptor_sets.iter().copied().chain([tonic_health::pb::FILE_DESCRIPTOR_SET]);
        let builder = sets.fold(Builder::configure(), Builder::register_encoded_file_descriptor_set);
        let names = contract.services.iter().map(String::as_str).chain(["grpc.health.v1.Health"]);
        names.fold(builder, |builder, name| builder.with_service_name(name))
    };
    let stop = stop.clone();
    let questions = MapRequestLayer::new(move |request: Request<Body>| until(&stop, request));
    let v1 = reflection().build_v1().context("cannot serve reflection")?;
    let v1alpha = reflection().build_v1alpha().context("cannot serve reflection")?;
    Ok(routes.add_service(questions.named_layer(v1)).add_service(questions.named_layer(v1alpha)))
}

/// The stop is the end of a stream's questions, and so of its answers.
fn until(stop: &CancellationToken, request: Request<Body>) -> Request<Body> {
    let stopped = Box::pin(stop.clone().cancelled_owned());
    request.map(|body| {
        let questions = body.into_data_stream().take_until(stopped);
        Body::new(StreamBody::new(questions.map_ok(Frame::data)))
    })
}
