//! What is let in: requests of each client in a second, streams, and the bytes of bodies and of answers.

mod budget;
mod rate;
mod streams;
mod unread;

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use axum::{extract::Request, response::Response};
use chassis::status::Fault;

pub(crate) use self::{
    budget::{Account, Budget, Permit},
    rate::{Limits, limit},
    streams::{Open, Streams},
    unread::Unread,
};
use crate::{
    grpc,
    problem::{Problem, Style},
};

/// Where a request comes from.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    network: IpAddr,
    /// What the bodies of its requests take.
    pub(crate) bodies: Arc<Account>,
    /// What its answers take.
    pub(crate) answers: Arc<Account>,
}

impl Client {
    /// Whoever has one address of IPv6 has the other 2^64 of its network as well, and counts as one client.
    pub(crate) fn new(address: IpAddr, bodies: &Arc<Budget>, answers: &Arc<Budget>) -> Self {
        let network = network(address);
        Self { network, bodies: bodies.account(network), answers: answers.account(network) }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

/// The answer to a request that is not let in, in its own protocol.
pub(crate) fn refusal(request: &Request, fault: Fault) -> Response {
    match grpc::call_type(request.method(), request.headers()) {
        Some(call_type) => grpc::refusal(call_type, fault),
        None => Problem::from(fault).into_response(&Style::of(request.headers(), request.uri().path())),
    }
}
