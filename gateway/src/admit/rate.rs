//! A bound on the requests of one client, by its address.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{
    extract::{Extension, Request, State},
    middleware::Next,
    response::Response,
};
use chassis::status::{Fault, Reason};
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use tokio::time::sleep;

use super::client::Client;
use crate::{
    answer::refusal::refusal,
    metrics::{limit as metrics_limit, refused},
};

/// How often clients that have been quiet are forgotten.
const SWEEP: Duration = Duration::from_secs(10);

/// What each client has asked for lately. A client that has not asked for a second is forgotten.
#[derive(Debug)]
pub(crate) struct Limits {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
}

impl Limits {
    /// So many requests a second for each address, and as many at once. Must be called inside of a tokio runtime.
    pub(crate) fn new(requests: NonZeroU32) -> Arc<Self> {
        let limiter = RateLimiter::keyed(Quota::per_second(requests));
        let limits = Arc::new(Self { limiter, clock: DefaultClock::default() });
        tokio::spawn(sweep(Arc::downgrade(&limits)));
        limits
    }

    /// Counts a request.
    ///
    /// # Errors
    /// How long the client has to wait.
    fn count(&self, network: IpAddr) -> Result<(), Duration> {
        let wait = self.limiter.check_key(&network);
        wait.map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

async fn sweep(limits: Weak<Limits>) {
    loop {
        sleep(SWEEP).await;
        let Some(limits) = limits.upgrade() else { return };
        limits.limiter.retain_recent();
        limits.limiter.shrink_to_fit();
    }
}

/// Lets a request on, unless its client has had its share.
pub(crate) async fn limit(
    State(limits): State<Arc<Limits>>,
    Extension(client): Extension<Client>,
    request: Request,
    next: Next,
) -> Response {
    match limits.count(client.network) {
        Ok(()) => next.run(request).await,
        Err(wait) => {
            refused(metrics_limit::RATE);
            let fault = Fault::new(Reason::RateLimited, "there are too many requests from this address");
            refusal(&request, Fault { retry_after: Some(wait), ..fault })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{super::client::network, *};

    #[tokio::test(start_paused = true)]
    async fn quiet_clients_are_forgotten() {
        let limits = Limits::new(NonZeroU32::new(1_000).expect("more than none"));
        for client in 0..10_000_u32 {
            limits.count(client.to_be_bytes().into()).expect("its first request");
        }
        let begin = Instant::now();
        // The sweep's time passes as soon as nobody else has anything to do, the limiter's by itself.
        while !limits.limiter.is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(30), "{} are left", limits.limiter.len());
            sleep(SWEEP).await;
        }
    }

    #[tokio::test]
    async fn a_network_of_ipv6_is_one_client() {
        let limits = Limits::new(NonZeroU32::MIN);
        let count = |address: &str| limits.count(network(address.parse().expect("an address"))).is_ok();
        assert!(count("2001:db8::1") && !count("2001:db8::ffff:1") && count("2001:db8:0:1::1"));
        assert!(count("::ffff:192.0.2.1") && !count("192.0.2.1") && count("192.0.2.2"));
    }
}
