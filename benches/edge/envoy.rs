//! How Envoy is configured: to do what the gateway does, and no more.

use std::net::SocketAddr;

use serde_json::{Value, json};
use world::{AUDIENCE, ISSUER};

use crate::secured::Secured;

/// An edge at `listen` in front of `upstream`, for the services of this descriptor set.
pub(crate) fn config(
    listen: SocketAddr,
    upstream: SocketAddr,
    set: &str,
    secured: Option<&Secured>,
) -> Value {
    let transcoder = json!({
        "name": "envoy.filters.http.grpc_json_transcoder",
        "typed_config": {
            "@type": kind("filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"),
            "proto_descriptor": set,
            "services": ["ordermesh.orders.v1.OrdersService"],
        },
    });
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": kind("filters.http.router.v3.Router") },
    });
    let http = json!({
        "@type": kind("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "edge",
        "route_config": { "virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "orders", "timeout": "15s" } }],
        }] },
        "http_filters": secured.map(tokens).into_iter().chain([transcoder, router]).collect::<Vec<_>>(),
    });
    let mut chain = json!({ "filters": [{
        "name": "envoy.filters.network.http_connection_manager", "typed_config": http,
    }] });
    let mut cluster = json!({
        "name": "orders", "type": "STATIC", "connect_timeout": "2s",
        "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": kind("upstreams.http.v3.HttpProtocolOptions"),
            "explicit_http_config": { "http2_protocol_options": {} },
        } },
        "load_assignment": { "cluster_name": "orders", "endpoints": [{ "lb_endpoints": [{
            "endpoint": { "address": address(upstream) },
        }] }] },
    });
    if let Some(secured) = secured {
        chain["transport_socket"] = listener_tls(secured);
        cluster["transport_socket"] = upstream_tls(secured);
    }
    json!({ "static_resources": {
        "listeners": [{ "address": address(listen), "filter_chains": [chain] }],
        "clusters": [cluster],
    } })
}

fn address(at: SocketAddr) -> Value {
    json!({ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } })
}

fn kind(name: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.{name}")
}

/// The check of tokens, which remembers those that it has verified.
fn tokens(secured: &Secured) -> Value {
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": kind("filters.http.jwt_authn.v3.JwtAuthentication"),
            "providers": { "issuer": {
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "local_jwks": { "inline_string": secured.jwks },
                "forward": true,
                "jwt_cache_config": { "jwt_cache_size": 1_000 },
            } },
            "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "issuer" } }],
        },
    })
}

fn listener_tls(secured: &Secured) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": kind("transport_sockets.tls.v3.DownstreamTlsContext"),
            "common_tls_context": { "tls_certificates": [{
                "certificate_chain": { "filename": secured.certificates.file("gateway.crt") },
                "private_key": { "filename": secured.certificates.file("gateway.key") },
            }] },
        },
    })
}

fn upstream_tls(secured: &Secured) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": kind("transport_sockets.tls.v3.UpstreamTlsContext"),
            "sni": "localhost",
            "common_tls_context": { "alpn_protocols": ["h2"], "validation_context": {
                "trusted_ca": { "filename": secured.certificates.file("ca.crt") },
            } },
        },
    })
}
