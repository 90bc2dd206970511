//! A route and the RPC that it calls, as the descriptors say it.

use std::{fmt, sync::Arc};

use http::uri::PathAndQuery;
use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor, MethodDescriptor};

use super::template::Template;
use crate::direct::plan::Plans;

/// The fields from a message down to a value.
pub type FieldPath = Vec<FieldDescriptor>;

/// An RPC as the edge calls it.
#[derive(Clone)]
pub struct Rpc {
    /// The full name, such as `ordermesh.orders.v1.OrdersService.GetOrder`.
    pub name: String,
    /// Where it is declared.
    pub method: MethodDescriptor,
    /// The full name of its service.
    pub service: String,
    /// The HTTP/2 path of the call, such as `/ordermesh.orders.v1.OrdersService/GetOrder`.
    pub path: PathAndQuery,
    /// The request.
    pub input: MessageDescriptor,
    /// The response, or one message of the stream.
    pub output: MessageDescriptor,
    /// Whether the response is a stream.
    pub streaming: bool,
    /// Whether the request is a stream.
    pub client_streaming: bool,
    /// The request's idempotency key: a string field named `request_id` (AIP-155).
    pub request_id: Option<FieldDescriptor>,
    /// The version that a write is done for and no other: a string field named `etag` (AIP-154).
    pub etag: Option<FieldDescriptor>,
    /// How a list is sorted: a string field named `order_by` (AIP-132).
    pub order_by: Option<FieldDescriptor>,
    /// Where a stream resumes: an int64 field of the request named `after_version`.
    pub after_version: Option<FieldDescriptor>,
    /// The position in a stream: an int64 field named `version` of the message, or of the first message in it that has one.
    pub version: Option<FieldPath>,
    /// The flat tables of every message of the pool that a route can meet, and the places of these two in them.
    pub(crate) plans: Arc<Plans>,
    pub(crate) input_place: usize,
    pub(crate) output_place: usize,
}

/// One HTTP binding of an RPC.
#[derive(Clone)]
pub struct Route {
    /// What it calls.
    pub rpc: Arc<Rpc>,
    /// Which of the RPC's bindings: 0, or the place among the additional ones, from 1.
    pub binding: usize,
    /// The name that it is put below, as [`super::selection::Mount`] says; empty for a route where its rule says.
    pub mount: String,
    /// The HTTP method, or `*` for every one.
    pub method: String,
    /// The path.
    pub template: Template,
    /// The fields that the template's variables bind, in its order.
    pub variables: Vec<FieldPath>,
    /// What the HTTP body holds.
    pub body: Body,
    /// Whether the body is no JSON, but the bytes of a google.api.HttpBody.
    pub raw_body: bool,
    /// The field mask of a PATCH that the body fills when the client does not.
    pub update_mask: Option<FieldDescriptor>,
    /// The response field that becomes the HTTP body, when it is not the whole response.
    pub response_body: Option<FieldDescriptor>,
    /// Whether the response, or that field of it, is a google.api.HttpBody.
    pub raw_response: bool,
}

impl Route {
    /// A path in the request, such as a service names it in a violation, in the names that it has in JSON: `order.user_id` is `order.userId`.
    /// What is no field is as it was.
    #[must_use]
    pub fn json_path(&self, path: &str) -> String {
        crate::bind::names::json_path(&self.rpc.input, path)
    }

    /// Every type that its service may know.
    #[must_use]
    pub fn types(&self) -> &DescriptorPool {
        self.rpc.method.parent_pool()
    }
}

/// What the HTTP body of a request holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// Nothing: fields that the path does not bind are query parameters.
    Nothing,
    /// The whole request but for what the path binds; there are no query parameters.
    Whole,
    /// This field; the others are query parameters.
    Field(FieldDescriptor),
}

// The Debug of prost-reflect's descriptors goes on for ever where a message holds itself: names are enough.
impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {:?}", self.method, self.template.example(), self.rpc)
    }
}
