//! What is let in, on all threads of an edge.

use std::{net::IpAddr, sync::Arc};

use auth::{Rule, Validity, Verifier};
use chassis::{
    accept::{Permit, Permits},
    peer::network,
    status::Fault,
};
use http::HeaderMap;

use super::{
    budget::Budget,
    client::{Client, Who},
    connections::{Connected, Connections},
    proxies::Proxies,
    rate::{Rates, Standing},
    slots::{Slot, Slots},
    streams::Streams,
};
use crate::settings::Config;

/// What is let in, on all threads of an edge.
#[derive(Debug)]
pub(crate) struct Admission {
    connections: Connections,
    slots: Slots,
    pub(crate) streams: Arc<Streams>,
    /// What bodies of requests take.
    pub(crate) bodies: Arc<Budget>,
    /// What answers take that their clients have not taken.
    pub(crate) answers: Arc<Budget>,
    /// The bounds on requests of each caller, if there are any.
    rates: Option<Rates>,
    proxies: Proxies,
    /// Whose tokens callers need, if anybody's.
    issuer: Option<Verifier>,
}

/// Somebody who was let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Who their request counts for.
    pub(crate) who: Who,
    /// Until when their token lets them in, if they need one: what goes on longer ends then.
    pub(crate) validity: Option<Validity>,
}

impl Admission {
    /// Within the bounds of the settings.
    pub(crate) fn of(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            connections: Connections::new(config.max_connections, config.max_connections_per_client),
            slots: Slots::new(config.max_requests, config.max_requests_per_client),
            streams: Streams::new(
                config.max_streams,
                config.max_streams_per_client,
                config.method_streams.clone(),
            ),
            bodies: Budget::new("bodies", config.max_buffered_bytes, config.max_body_bytes),
            answers: Budget::new("answers", config.max_buffered_bytes, 1),
            rates: Rates::of(config.rate_limit, &config.method_limits),
            proxies: Proxies::new(config.trusted_proxies.clone()),
            issuer: config.issuer.clone(),
        })
    }

    /// A client with this address.
    pub(crate) fn client(&self, address: IpAddr) -> Client {
        Client::new(address, &self.bodies, &self.answers)
    }

    /// The client of a request, which proxies that are trusted may have handed on. What it takes counts for the connection all the same.
    pub(crate) fn behind_proxies(&self, client: Client, headers: &HeaderMap) -> Client {
        Client { network: network(self.proxies.client(client.peer, headers)), ..client }
    }

    /// Whether a client's requests are handed on by a proxy that is trusted.
    pub(crate) fn trusts(&self, client: &Client) -> bool {
        self.proxies.trusts(client.peer)
    }

    /// Whether requests are counted.
    pub(crate) fn counts(&self) -> bool {
        self.rates.is_some()
    }

    /// Counts a request, which may call the method with this path.
    ///
    /// # Errors
    /// RATE_LIMITED when its caller has had their share.
    pub(crate) fn count(
        &self,
        who: &Who,
        method: Option<&str>,
        standing: &mut Option<Standing>,
    ) -> Result<(), Fault> {
        self.rates.as_ref().map_or(Ok(()), |rates| rates.count(who, method, standing))
    }

    /// Lets in a call of the method with this path by its rule. Without an issuer everyone is let in. The service
    /// verifies the token again: nobody believes a header. A method without a rule is somebody else's: its caller has to have a token, and
    /// the service decides what for. A token that is not valid names nobody: it counts for the address.
    ///
    /// # Errors
    /// UNAUTHENTICATED, ISSUER_UNAVAILABLE, SCOPE_MISSING, or RATE_LIMITED.
    pub(crate) async fn admit(
        &self,
        client: &Client,
        headers: &HeaderMap,
        (method, rule): (&str, Option<&Rule>),
        standing: &mut Option<Standing>,
    ) -> Result<Admitted, Fault> {
        let admitted = match &self.issuer {
            Some(issuer) => issuer.admit(headers, Some(client.network)).await.map(Some),
            None => Ok(None),
        };
        let who = client.who(admitted.as_ref().ok().and_then(Option::as_ref).map(|(caller, _)| &**caller));
        self.count(&who, Some(method), standing)?;
        let (caller, validity) = admitted?.unzip();
        if let (Some(caller), Some(rule)) = (&caller, rule) {
            rule.admit(caller)?;
        }
        Ok(Admitted { who, validity })
    }

    /// Permits for connections, as many as the system allows when this is called first.
    pub(crate) fn permits(&self) -> &Permits {
        self.connections.permits()
    }

    /// A connection of this address, until it is dropped; `None` when the address has as many as may be.
    pub(crate) fn connected(&self, peer: IpAddr, permit: Permit) -> Option<Connected> {
        self.connections.open(peer, self.proxies.trusts(peer), permit)
    }

    /// A slot to work on a call of this service, held until it is answered.
    ///
    /// # Errors
    /// RATE_LIMITED when the caller has as many as may be, or the service.
    pub(crate) fn slot(&self, service: &str, who: &Who) -> Result<Slot, Fault> {
        self.slots.take(service, who)
    }

    /// Connections of clients.
    pub(crate) fn open_connections(&self) -> usize {
        self.connections.count()
    }

    /// Requests that are being worked on.
    pub(crate) fn open_requests(&self) -> usize {
        self.slots.count()
    }
}
