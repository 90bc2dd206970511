//! What the edge answers itself over gRPC: which services it serves (server reflection, v1 and v1alpha), and their health (`grpc.health.v1`).

mod known;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, LazyLock, OnceLock},
};

use bytes::Bytes;
use chassis::health;
use futures_util::{FutureExt as _, future::BoxFuture};
use prost::Message as _;
use prost_reflect::{DescriptorError, DescriptorPool, MethodDescriptor, ServiceDescriptor};
use tonic::{body::Body, service::Routes};
use tonic_reflection::server::Builder;
use tower::{ServiceExt as _, service_fn};
use transcode::descriptors::as_shown;
use upstream::{Local, Upstream};

use self::known::Known;
pub(crate) use self::known::{Process, Shared};
use super::{pools::Pools, routes::is_public, version::Contract};

/// A question of reflection, at most: the name of a symbol or of a file.
const QUESTION_BYTES: usize = 64 << 10;

/// The contracts of these services.
const CONTRACTS: [&[u8]; 3] = [
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// Their methods: the same for every version of the descriptors and every thread. Nothing is wrong with contracts that are compiled in.
static METHODS: LazyLock<Vec<MethodDescriptor>> = LazyLock::new(|| decoded().unwrap_or_default());

fn decoded() -> Result<Vec<MethodDescriptor>, DescriptorError> {
    let mut pool = DescriptorPool::new();
    for contract in CONTRACTS {
        pool.decode_file_descriptor_set(contract)?;
    }
    Ok(pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect())
}

/// The methods that the edge answers itself.
pub(super) fn methods() -> &'static [MethodDescriptor] {
    &METHODS
}

/// Where they are: in this process. They are made with the first call, which most edges never get.
pub(super) fn upstream(contract: &Arc<Contract>, pools: &Pools, shared: &Shared) -> Arc<Upstream> {
    let (contract, pools, shared) = (Arc::clone(contract), pools.clone(), shared.clone());
    let made: Arc<OnceLock<Routes>> = Arc::default();
    let service = service_fn(move |request: http::Request<Body>| -> BoxFuture<'static, _> {
        let routes = made.get_or_init(|| {
            let known = Known { shared: shared.clone(), pools: pools.clone() };
            routes(&contract, known)
        });
        let routes = routes.clone();
        async move { Ok::<_, Infallible>(routes.oneshot(request).await.unwrap_or_else(|never| match never {})) }
            .boxed()
    });
    Arc::new(Local::new(service).into())
}

fn routes(contract: &Contract, known: Known) -> Routes {
    let routes = Routes::new(health::server(known));
    match with_reflection(routes.clone(), contract) {
        Ok(routes) => routes,
        Err(error) => {
            tracing::warn!(%error, "the edge serves no reflection of its descriptors");
            routes
        }
    }
}

/// A `FileDescriptorSet` of the files that declare what is served, and of those that they import, without the services and methods that are not.
fn files(contract: &Contract) -> Files {
    let services = contract.routes.list().iter().map(|route| {
        let service = route.rpc.method.parent_service().clone();
        (service.full_name().to_owned(), service)
    });
    let services: BTreeMap<String, ServiceDescriptor> = services.collect();
    let methods = services.values().flat_map(|service| service.methods().filter(is_public));
    let shown: BTreeSet<String> = methods.map(|method| method.full_name().to_owned()).collect();
    let (mut open, mut seen) = (Vec::new(), BTreeSet::new());
    open.extend(services.values().map(ServiceDescriptor::parent_file));
    let mut files = Files::default();
    while let Some(file) = open.pop() {
        if seen.insert(file.name().to_owned()) {
            // What was just encoded can be read.
            files.file.extend(as_shown(&file.encode_to_vec().into(), |name| shown.contains(name)));
            open.extend(file.dependencies());
        }
    }
    files
}

/// As `google.protobuf.FileDescriptorSet`, with files that stay encoded.
#[derive(Clone, PartialEq, prost::Message)]
struct Files {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    file: Vec<Bytes>,
}

fn with_reflection(routes: Routes, contract: &Contract) -> Result<Routes, tonic_reflection::server::Error> {
    let (files, services) = (files(contract).encode_to_vec(), contract.services());
    let builder = || {
        let sets = CONTRACTS.into_iter().chain([files.as_slice()]);
        let builder = sets.fold(Builder::configure(), Builder::register_encoded_file_descriptor_set);
        let names = services.iter().map(String::as_str).chain(["grpc.health.v1.Health"]);
        names.fold(builder, |builder, name| builder.with_service_name(name))
    };
    let v1 = builder().build_v1()?.max_decoding_message_size(QUESTION_BYTES);
    let v1alpha = builder().build_v1alpha()?.max_decoding_message_size(QUESTION_BYTES);
    Ok(routes.add_service(v1).add_service(v1alpha))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_those_of_one_pool_however_often_they_are_asked_for() {
        let known = methods();
        let names: Vec<&str> = known.iter().map(MethodDescriptor::name).collect();
        assert_eq!(names, ["Check", "Watch", "ServerReflectionInfo", "ServerReflectionInfo"]);
        assert_eq!(known, methods());
    }
}
