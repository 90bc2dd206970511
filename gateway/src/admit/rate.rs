//! A bound on the requests of each caller in a second: of all together, and of single methods.
//!
//! Each bound is a token bucket, kept as the one moment at which it is full again (GCRA; ITU-T I.371, annex A).

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    mem,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chassis::status::{Fault, Reason};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::client::Who;
use crate::metrics::{limit, refused};

/// Callers of each half of the table, with each bound that they have met. Both halves take some 20 MB at most. A caller who is forgotten has
/// a full bucket again, so what many callers can reach by coming all at once is that some are counted less strictly.
const HALF: usize = 65_536;

/// A bucket is full after a second, in nanoseconds.
const WINDOW: u64 = 1_000_000_000;

/// What a client has left (draft-ietf-httpapi-ratelimit-headers-10).
pub(crate) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// And of how much.
pub(crate) const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What callers have asked for lately.
#[derive(Debug)]
pub(crate) struct Rates {
    of_caller: Option<Bound>,
    of_methods: BTreeMap<String, Bound>,
    begun: Instant,
    /// When the bucket of a caller for a bound is full again; the newer half, and the older one, which is forgotten when the newer is full.
    buckets: Mutex<[Buckets; 2]>,
}

type Buckets = HashMap<(Who, u32), u64>;

/// So many requests in a second, and as many at once.
#[derive(Debug, Clone, Copy)]
struct Bound {
    /// Distinguishes it from the others.
    number: u32,
    name: &'static str,
    flag: &'static str,
    requests: u32,
}

/// How a caller stands after a request.
#[derive(Debug)]
pub(crate) struct Standing {
    bounds: Vec<(Bound, Left)>,
}

/// What is left of a bucket.
#[derive(Debug, Clone, Copy)]
struct Left {
    requests: u64,
    /// Until it is full again, in nanoseconds.
    full_in: u64,
}

impl Rates {
    /// So many requests for each caller, and for each caller and method, by its path without the first slash; `None` where nothing is bounded.
    pub(crate) fn of(
        of_caller: Option<NonZeroU32>,
        of_methods: &BTreeMap<String, NonZeroU32>,
    ) -> Option<Self> {
        if of_caller.is_none() && of_methods.is_empty() {
            return None;
        }
        let bound =
            |number, name, flag, requests: NonZeroU32| Bound { number, name, flag, requests: requests.get() };
        let of_methods = of_methods.iter().zip(1..).map(|((method, requests), number)| {
            (method.clone(), bound(number, "method", limit::METHOD_RATE, *requests))
        });
        Some(Self {
            of_caller: of_caller.map(|requests| bound(0, "caller", limit::RATE, requests)),
            of_methods: of_methods.collect(),
            begun: Instant::now(),
            buckets: Mutex::default(),
        })
    }

    /// Counts a request, which may call the method with this path.
    ///
    /// # Errors
    /// RATE_LIMITED, with the time to wait; the request counts for nothing then.
    pub(crate) fn count(
        &self,
        who: &Who,
        method: Option<&str>,
        standing: &mut Option<Standing>,
    ) -> Result<(), Fault> {
        let now = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX / 2);
        let of_method = method.and_then(|path| self.of_methods.get(path.strip_prefix('/').unwrap_or(path)));
        let bounds = self.of_caller.iter().chain(of_method).copied();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let taken: Vec<(Bound, Result<u64, u64>)> =
            bounds.map(|bound| (bound, bound.take(find(&buckets, who, bound.number), now))).collect();
        let longest = taken
            .iter()
            .filter_map(|(bound, taken)| Some((taken.err()?, *bound)))
            .max_by_key(|(wait, _)| *wait);
        if longest.is_none() {
            for (bound, full_at) in &taken {
                if let Ok(full_at) = full_at {
                    put(&mut buckets, (who.clone(), bound.number), *full_at);
                }
            }
        }
        let left =
            taken.iter().map(|(bound, _)| (*bound, bound.left(find(&buckets, who, bound.number), now)));
        let bounds: Vec<(Bound, Left)> = left.collect();
        drop(buckets);
        *standing = (!bounds.is_empty()).then_some(Standing { bounds });
        let Some((wait, bound)) = longest else { return Ok(()) };
        refused(bound.flag);
        let message = format!("there are too many requests of {} ({})", who.name(), bound.flag);
        Err(Fault {
            retry_after: Some(Duration::from_nanos(wait)),
            ..Fault::new(Reason::RateLimited, message)
        })
    }
}

impl Bound {
    /// What one request takes, in nanoseconds.
    fn each(self) -> u64 {
        (WINDOW / u64::from(self.requests)).max(1)
    }

    /// When the bucket is full again after one more request, or how long that has to wait, in nanoseconds.
    fn take(self, full_at: u64, now: u64) -> Result<u64, u64> {
        let after = full_at.max(now) + self.each();
        after.checked_sub(now + WINDOW).filter(|wait| *wait > 0).map_or(Ok(after), Err)
    }

    fn left(self, full_at: u64, now: u64) -> Left {
        let full_in = full_at.saturating_sub(now);
        Left { requests: WINDOW.saturating_sub(full_in) / self.each(), full_in }
    }
}

/// When the bucket of a caller is full; 0, which is long ago, for who has none.
fn find(buckets: &[Buckets; 2], who: &Who, number: u32) -> u64 {
    let [newer, older] = buckets;
    let key = (who.clone(), number);
    newer.get(&key).or_else(|| older.get(&key)).copied().unwrap_or_default()
}

fn put(buckets: &mut [Buckets; 2], key: (Who, u32), full_at: u64) {
    let [newer, older] = buckets;
    if newer.len() >= HALF && !newer.contains_key(&key) {
        *older = mem::take(newer);
    }
    newer.insert(key, full_at);
}

impl Standing {
    /// Says it in the headers of an answer.
    pub(crate) fn note(&self, headers: &mut HeaderMap) {
        let (mut policy, mut left) = (String::new(), String::new());
        for (at, (bound, Left { requests, full_in })) in self.bounds.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let (name, quota, seconds) = (bound.name, bound.requests, full_in.div_ceil(WINDOW));
            // Writing into a string cannot fail.
            let _written = write!(policy, "{comma}\"{name}\";q={quota};w=1");
            let _written = write!(left, "{comma}\"{name}\";r={requests};t={seconds}");
        }
        for (name, value) in [(RATELIMIT_POLICY, policy), (RATELIMIT, left)] {
            headers.extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use chassis::peer::network;

    use super::*;

    fn rates(of_caller: u32, of_methods: &[(&str, u32)]) -> Rates {
        let method = |(path, requests): &(&str, u32)| Some(((*path).to_owned(), NonZeroU32::new(*requests)?));
        Rates::of(NonZeroU32::new(of_caller), &of_methods.iter().filter_map(method).collect())
            .expect("a bound")
    }

    fn subject(name: &str) -> Who {
        Who::Subject(name.into())
    }

    /// What the headers say after a request, and whether it was let in.
    fn count(rates: &Rates, who: &Who, method: &str) -> (bool, String, String) {
        let mut standing = None;
        let is_in = rates.count(who, Some(method), &mut standing).is_ok();
        let mut headers = HeaderMap::new();
        standing.expect("a standing").note(&mut headers);
        let text = |name| headers[name].to_str().expect("text").to_owned();
        (is_in, text(RATELIMIT_POLICY), text(RATELIMIT))
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_empties_at_once_and_fills_in_a_second() {
        let rates = rates(4, &[]);
        let alice = subject("alice");
        for left in [3, 2, 1, 0] {
            let (is_in, policy, header) = count(&rates, &alice, "a/B");
            assert!(is_in && policy == "\"caller\";q=4;w=1", "{policy}");
            assert_eq!(header, format!("\"caller\";r={left};t=1"));
        }
        let fault = rates.count(&alice, None, &mut None).expect_err("it is empty");
        assert_eq!(
            (fault.reason, fault.retry_after),
            (Reason::RateLimited, Some(Duration::from_millis(250)))
        );
        assert!(count(&rates, &subject("bob"), "a/B").0, "another caller has another one");
        tokio::time::advance(Duration::from_millis(249)).await;
        assert!(!count(&rates, &alice, "a/B").0);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(count(&rates, &alice, "a/B").0 && !count(&rates, &alice, "a/B").0);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(count(&rates, &alice, "a/B").2, "\"caller\";r=3;t=1", "it holds no more than it does");
    }

    #[tokio::test(start_paused = true)]
    async fn a_method_has_a_bound_of_its_own_and_what_is_refused_costs_nothing() {
        let rates = rates(10, &[("a.v1.A/Slow", 1), ("a.v1.A/Other", 1)]);
        let alice = subject("alice");
        let (is_in, policy, left) = count(&rates, &alice, "/a.v1.A/Slow");
        assert!(is_in && policy == "\"caller\";q=10;w=1, \"method\";q=1;w=1", "{policy}");
        assert_eq!(left, "\"caller\";r=9;t=1, \"method\";r=0;t=1");
        for _ in 0..20 {
            assert!(!count(&rates, &alice, "/a.v1.A/Slow").0);
        }
        assert!(count(&rates, &alice, "/a.v1.A/Other").0);
        assert_eq!(count(&rates, &alice, "/a.v1.A/Fast").2, "\"caller\";r=7;t=1");
        assert!(Rates::of(None, &BTreeMap::new()).is_none());
    }

    #[tokio::test]
    async fn a_network_of_ipv6_is_one_client() {
        let rates = rates(1, &[]);
        let at = |address: &str| Who::Network(network(address.parse().expect("an address")));
        let is_in = |address: &str| count(&rates, &at(address), "").0;
        assert!(is_in("2001:db8::1") && !is_in("2001:db8::ffff:1") && is_in("2001:db8:0:1::1"));
        assert!(is_in("::ffff:192.0.2.1") && !is_in("192.0.2.1") && is_in("192.0.2.2"));
    }

    #[tokio::test]
    async fn callers_without_end_take_memory_within_a_bound() {
        let rates = rates(1, &[]);
        for number in 0..5 * u32::try_from(HALF).expect("a number") {
            assert!(rates.count(&Who::Network(IpAddr::from(number.to_be_bytes())), None, &mut None).is_ok());
        }
        let buckets = rates.buckets.lock().expect("nobody panicked");
        assert!(buckets.iter().map(HashMap::len).sum::<usize>() <= 2 * HALF);
    }
}
