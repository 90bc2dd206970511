//! A service behind the process: where it is, and the call at the endpoint whose turn it is.

use std::{fmt, net::SocketAddr, sync::Arc};

use chassis::tls::{ClientTls, Distrust};
use http::{Request, Response};
use tonic::{Status, body::Body as GrpcBody};
use tower::Service as _;

use crate::{
    connection::Connection,
    local::Local,
    pool::{Pool, Tried},
    resolve::{self, Resolver},
};

/// Where a service is.
#[derive(Debug, Clone)]
pub enum Location {
    /// `http://` or `https://` URLs, with commas between them. All addresses of all of them are called in turn.
    Url(String),
    /// In the same process.
    Local(Local),
}

impl From<&str> for Location {
    fn from(url: &str) -> Self {
        Self::Url(url.to_owned())
    }
}

impl From<String> for Location {
    fn from(url: String) -> Self {
        Self::Url(url)
    }
}

impl From<Local> for Location {
    fn from(local: Local) -> Self {
        Self::Local(local)
    }
}

impl Location {
    /// The host and the port where other processes find it; of several the first.
    #[must_use]
    pub fn authority(&self) -> &str {
        match self {
            Self::Url(urls) => resolve::first_authority(urls),
            Self::Local(local) => local.authority(),
        }
    }
}

/// Whom connections to services trust.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// Whose certificates `https` URLs have to have, and what services are shown.
    pub tls: &'a ClientTls,
    /// Who knows the addresses of names.
    pub resolver: &'a Arc<dyn Resolver>,
}

/// An endpoint of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// An address.
    Remote(SocketAddr),
    /// The service in the same process.
    Local,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote(address) => address.fmt(f),
            Self::Local => f.write_str("this process"),
        }
    }
}

/// A service that can be called.
#[derive(Debug)]
pub struct Upstream(Way);

#[derive(Debug)]
enum Way {
    Remote(Pool),
    /// It is there as long as the process is: there is nothing to choose, to look up or to leave out.
    Local(Connection),
}

impl From<Local> for Upstream {
    /// The service in the same process.
    fn from(local: Local) -> Self {
        Self(Way::Local(Connection::Local(local)))
    }
}

impl Upstream {
    /// The service at this location. Must be called inside of a tokio runtime: names are looked up from then on.
    ///
    /// # Errors
    /// What is wrong with each mistaken URL.
    pub fn of(location: &Location, trust: Trust<'_>) -> Result<Self, Vec<String>> {
        Ok(Self(match location {
            Location::Url(urls) => Way::Remote(resolve::pool(urls, trust.tls, Arc::clone(trust.resolver))?),
            Location::Local(local) => return Ok(local.clone().into()),
        }))
    }

    /// The endpoints that are known now, and whether each is called.
    #[must_use]
    pub fn endpoints(&self) -> Vec<(Endpoint, bool)> {
        match &self.0 {
            Way::Remote(pool) => {
                pool.endpoints().into_iter().map(|(at, is_in)| (Endpoint::Remote(at), is_in)).collect()
            }
            Way::Local(_) => vec![(Endpoint::Local, true)],
        }
    }

    /// The endpoints with TLS, and whose certificate is why one cannot be called, if so.
    #[must_use]
    pub fn distrusted(&self) -> Vec<(Endpoint, Option<Distrust>)> {
        match &self.0 {
            Way::Remote(pool) => {
                pool.distrusted().into_iter().map(|(at, why)| (Endpoint::Remote(at), why)).collect()
            }
            Way::Local(_) => Vec::new(),
        }
    }

    /// The endpoints that are called now, each with its connection. Waits until names were looked up for the first time.
    pub(crate) async fn connections(&self) -> Vec<(Endpoint, Connection)> {
        match &self.0 {
            Way::Remote(pool) => {
                let members = pool.called().await.into_iter();
                members
                    .map(|member| (Endpoint::Remote(member.address()), member.connection.clone()))
                    .collect()
            }
            Way::Local(connection) => vec![(Endpoint::Local, connection.clone())],
        }
    }

    /// Passes a request of gRPC on as it is. Dropping the response, or the call before there is one, ends the call.
    ///
    /// # Errors
    /// What the transport says before there is a head.
    pub async fn pass(
        &self,
        request: Request<GrpcBody>,
        streams: bool,
    ) -> Result<Response<GrpcBody>, Status> {
        let passed = async |connection: &Connection| connection.clone().call(request).await;
        Ok(self.call(&Tried::default(), streams, passed).await?.map(GrpcBody::new))
    }

    /// Makes a call at the endpoint whose turn it is, and takes note of how it went.
    pub(crate) async fn call<T>(
        &self,
        tried: &Tried,
        streams: bool,
        call: impl AsyncFnOnce(&Connection) -> Result<T, Status>,
    ) -> Result<T, Status> {
        match &self.0 {
            Way::Remote(pool) => {
                let member = pool.pick(tried).await?;
                let waiting = if streams { member.begin_stream() } else { member.begin() };
                let outcome = call(&member.connection).await;
                pool.note(waiting, &outcome);
                outcome
            }
            Way::Local(connection) => call(connection).await,
        }
    }
}
