//! The edge: from HTTP's parts to wire bytes and back, by the routes of our own contracts.

use std::hint::black_box;

use gateway::transcode::{
    bind::Input,
    codec::{request_from_json, response_to_json},
    route::{Entry, Lookup, Trie},
    table::{self, Route},
};
use ordermesh::orders::v1::ListOrdersResponse;
use prost::Message;
use prost_reflect::DescriptorPool;

use super::{
    Call,
    contracts::{ORDER_ID, order},
};

/// As in `gateway/benches/edge`.
const ORDER: &str = r#"{"userId":"alice","amount":"1999","currencyCode":"EUR","description":"two tickets, row 7; \"aisle\""}"#;

struct Edge {
    routes: Vec<Route>,
    trie: Trie,
}

impl Edge {
    fn new() -> Self {
        let pool = DescriptorPool::decode(ordermesh::DESCRIPTOR_SET).expect("the contracts are complete");
        let routes = table::compile(&pool).expect("the contracts can be served");
        let entry = |route: &Route| Entry {
            method: route.method.clone(),
            template: route.template.clone(),
            rpc: route.rpc.name.clone(),
        };
        let trie = Trie::build(&routes.iter().map(entry).collect::<Vec<_>>()).expect("no two are alike");
        Self { routes, trie }
    }

    fn into_route(mut self, method: &str, path: &str) -> Route {
        match self.trie.find(method, path) {
            Lookup::Found(index, _) => self.routes.swap_remove(index),
            other => panic!("{method} {path}: {other:?}"),
        }
    }
}

pub(super) fn route() -> Call {
    let Edge { trie, .. } = Edge::new();
    let path = format!("/gateway/orders/{ORDER_ID}:cancel");
    Box::new(move || {
        black_box(trie.find(black_box("POST"), black_box(&path)));
    })
}

pub(super) fn request() -> Call {
    let route = Edge::new().into_route("POST", "/gateway/orders");
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
    let route = Edge::new().into_route("GET", path);
    let wire = bytes::Bytes::from(message.encode_to_vec());
    Box::new(move || {
        black_box(response_to_json(&route, black_box(wire.clone())).is_ok());
    })
}
