//! The translator between HTTP/JSON and gRPC: driven by descriptors, it knows no service and does no I/O.
//!
#![doc = include_str!("../README.md")]

pub mod descriptors;
mod routes;
mod bind;
mod direct;
mod reflect;
mod payload;
mod times;
mod codec;
mod comments;
pub mod openapi;
mod source;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod fuzz_tests;

pub use self::{
    bind::{
        Input,
        report::{RequestError, RequestErrorKind, Violation},
        scalar::is_well_known,
    },
    codec::{
        Decoded, Encoded, MAX_JSON_BYTES, ResponseError, Type, message_to_json, request_from_json,
        response_payload, response_to_json,
    },
    payload::Payload,
    routes::{
        Routes, RoutesError,
        compile::RouteError,
        percent::PercentError,
        route::{Body, FieldPath, Route, Rpc},
        selection::{Mount, Serves},
        template::Template,
        trie::{Ambiguity, Lookup},
    },
    source::{comment, source},
};
