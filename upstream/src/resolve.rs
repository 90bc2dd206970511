//! Where the endpoints of a service are: URLs with addresses, or with names whose addresses are looked up again and again.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use chassis::{background, redact::redacted, tls::ClientTls};
use http::uri::Authority;
use tokio::{
    net::lookup_host,
    sync::{Notify, watch},
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;
use url::{Host, Position, Url};

use crate::{
    channel::{Channel, Tls},
    pool::{Member, Members, Pool},
};

/// How often names are looked up.
const INTERVAL: Duration = Duration::from_secs(5);

/// Failures ask for another look, but not more often than this.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(500);

/// Who knows the addresses of a name.
#[async_trait]
pub trait Resolver: fmt::Debug + Send + Sync {
    /// Every address of a host, with the port.
    ///
    /// # Errors
    /// The name is not known, or nobody could be asked.
    async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The resolver of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host((host, port)).await?.collect())
    }
}

/// The pool of the endpoints in `urls`, which commas separate. Must be called inside of a tokio runtime.
///
/// # Errors
/// What is wrong with each mistaken URL.
pub(crate) fn pool(urls: &str, tls: &ClientTls, resolver: Arc<dyn Resolver>) -> Result<Pool, Vec<String>> {
    let (mut targets, mut errors) = (Vec::new(), Vec::new());
    for url in urls.split(',').map(str::trim) {
        match Target::parse(url, tls) {
            Ok(target) => targets.push(target),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(found(targets, resolver)) } else { Err(errors) }
}

/// The host and the port of the first of several URLs.
pub(crate) fn first_authority(urls: &str) -> &str {
    let first = urls.split(',').next().unwrap_or_default().trim();
    first.trim_start_matches("http://").trim_start_matches("https://").trim_end_matches('/')
}

fn found(targets: Vec<Target>, resolver: Arc<dyn Resolver>) -> Pool {
    let look = Arc::new(Notify::new());
    let known: Option<Vec<_>> = targets.iter().map(Target::address).collect();
    if let Some(known) = known {
        // Of several, one that is away should not cost the first requests their time.
        let at_once = targets.len() == 1;
        let members = targets.iter().zip(known).map(|(target, address)| target.member(address, at_once));
        return Pool::new(watch::channel(Some(members.collect())).1, look, None);
    }
    let (sender, members) = watch::channel(None);
    let search =
        Search { targets: targets.into_iter().map(Looked::from).collect(), resolver, members: sender };
    let search = background::spawn("the look at names of services", search.run(Arc::clone(&look)));
    Pool::new(members, look, Some(AbortOnDropHandle::new(search)))
}

/// A URL of a service.
#[derive(Debug, Clone)]
struct Target {
    host: Host<String>,
    port: u16,
    authority: Authority,
    tls: Option<Tls>,
}

impl Target {
    fn parse(text: &str, tls: &ClientTls) -> Result<Self, String> {
        // It may hold a password, although none is taken.
        let shown = redacted(text);
        let url = Url::parse(text).map_err(|error| format!("{shown:?} is not a URL: {error}"))?;
        let (Some(host), Some(port), "http" | "https") =
            (url.host(), url.port_or_known_default(), url.scheme())
        else {
            return Err(format!("{shown:?} is not of the form http://host:port or https://host:port"));
        };
        let more = !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some();
        if more || text.contains('@') {
            return Err(format!("{shown:?} has more than a host and a port"));
        }
        let wrong = |error: &dyn fmt::Display| format!("{shown:?} cannot be called: {error}");
        let authority =
            url[Position::BeforeHost..Position::AfterPort].parse().map_err(|error| wrong(&error))?;
        let name = match &host {
            // Without the brackets that it has in a URL.
            Host::Ipv6(ip) => ip.to_string(),
            host => host.to_string(),
        };
        let tls = (url.scheme() == "https").then(|| Tls::new(name, tls.clone()));
        let tls = tls.transpose().map_err(|error| wrong(&error))?;
        Ok(Self { host: host.to_owned(), port, authority, tls })
    }

    /// The address, if the host is one.
    fn address(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ipv4(ip) => Some((ip, self.port).into()),
            Host::Ipv6(ip) => Some((ip, self.port).into()),
            Host::Domain(_) => None,
        }
    }

    fn member(&self, address: SocketAddr, at_once: bool) -> Arc<Member> {
        let channel = Channel::new(address, self.authority.clone(), self.tls.clone());
        Member::new(address, self.tls.clone(), channel, at_once)
    }
}

/// A URL with the endpoints that were found last.
#[derive(Debug)]
struct Looked {
    target: Target,
    members: Vec<(SocketAddr, Arc<Member>)>,
}

impl From<Target> for Looked {
    fn from(target: Target) -> Self {
        Self { target, members: Vec::new() }
    }
}

impl Looked {
    /// Takes over the addresses of a name. An endpoint that stays keeps its connection; one that goes finishes its calls.
    async fn look(&mut self, resolver: &dyn Resolver) {
        let found = match (self.target.address(), self.target.host.to_string()) {
            (Some(address), _) => Ok(vec![address]),
            (None, name) => resolver.lookup(&name, self.target.port).await,
        };
        let mut addresses = match found {
            Ok(addresses) if !addresses.is_empty() => addresses,
            // The last known addresses are better than none.
            Ok(_) => return tracing::warn!(host = %self.target.host, "the name of a service has no address"),
            Err(error) => {
                return tracing::warn!(host = %self.target.host, %error, "the name of a service cannot be looked up");
            }
        };
        addresses.sort_unstable();
        addresses.dedup();
        let alone = addresses.len() == 1;
        let before = std::mem::take(&mut self.members);
        let kept = |address| before.iter().find(|(known, _)| *known == address).map(|(_, member)| member);
        let member = |address| match kept(address) {
            Some(member) => (address, Arc::clone(member)),
            None => (address, self.target.member(address, alone)),
        };
        self.members = addresses.into_iter().map(member).collect();
    }
}

/// Keeps the endpoints of a pool up to date.
#[derive(Debug)]
struct Search {
    targets: Vec<Looked>,
    resolver: Arc<dyn Resolver>,
    members: watch::Sender<Option<Members>>,
}

impl Search {
    async fn run(mut self, look: Arc<Notify>) {
        loop {
            for target in &mut self.targets {
                target.look(&*self.resolver).await;
            }
            let members = self.targets.iter().flat_map(|target| &target.members);
            self.members.send_replace(Some(members.map(|(_, member)| Arc::clone(member)).collect()));
            sleep(SHORTEST_INTERVAL).await;
            tokio::select! {
                () = sleep(INTERVAL - SHORTEST_INTERVAL) => {}
                () = look.notified() => {}
            }
        }
    }
}
