//! The edge: from HTTP's parts to wire bytes and back, by the routes of our own contracts.

use std::{hint::black_box, sync::Arc};

use ordermesh::orders::v1::ListOrdersResponse;
use prost::Message;
use transcode::{Input, Lookup, Route, Routes, request_from_json, response_to_json};

use super::{
    Call,
    contracts::{ORDER_ID, order},
};

/// As in `gateway/benches/edge`.
const ORDER: &str = r#"{"userId":"alice","amount":"1999","currencyCode":"EUR","description":"two tickets, row 7; \"aisle\""}"#;

fn routes() -> Routes {
    // The edge has no route of the operator's: both services have some of the same paths.
    let routes = Routes::compile_where(ordermesh::DESCRIPTOR_SET, &|method| {
        !method.parent_service().name().ends_with("AdminService")
    });
    routes.expect("the contracts can be served")
}

fn route_of(method: &str, path: &str) -> Arc<Route> {
    let routes = routes();
    match routes.find(method, path) {
        Lookup::Found(index, _) => Arc::clone(&routes.list()[index]),
        other => panic!("{method} {path}: {other:?}"),
    }
}

pub(super) fn route() -> Call {
    let routes = routes();
    let path = format!("/gateway/orders/{ORDER_ID}:cancel");
    Box::new(move || {
        black_box(routes.find(black_box("POST"), black_box(&path)));
    })
}

pub(super) fn request() -> Call {
    let route = route_of("POST", "/gateway/orders");
    Box::new(move || {
        let input = Input { body: ORDER.as_bytes(), idempotency_key: Some(ORDER_ID), ..Input::default() };
        black_box(request_from_json(&route, black_box(&input), false).is_ok());
    })
}

pub(super) fn response() -> Call {
    told("/gateway/orders/1", &order())
}

pub(super) fn page() -> Call {
    let page = ListOrdersResponse { orders: vec![order(); 50], next_page_token: ORDER_ID.to_owned() };
    told("/gateway/orders", &page)
}

fn told(path: &str, message: &impl Message) -> Call {
    let route = route_of("GET", path);
    let wire = bytes::Bytes::from(message.encode_to_vec());
    Box::new(move || {
        black_box(response_to_json(&route, black_box(wire.clone())).is_ok());
    })
}
