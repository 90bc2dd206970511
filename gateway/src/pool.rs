//! The endpoints of a service, and which of them is called: those that answer, in turn.
//!
//! An endpoint that fails is left out at once, while there are others. It is let in again once it answers a probe, so never at
//! the cost of a request. Where every endpoint has failed again and again, calls fail at once.

use std::{
    error::Error as _,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;
use tonic::{ConnectError, Status};

use crate::channel::{CONNECT_TIMEOUT, Channel};

/// After so many failures in a row an endpoint is not even called when there is no other.
const GIVEN_UP: u32 = 5;

/// The pause before the first look at an endpoint that failed; it doubles with each failure, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How a client of HTTP/2 begins: the preface and empty settings (RFC 9113, section 3.4).
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const FRAME_HEAD: usize = 9;

pub(crate) type Members = Arc<[Arc<Member>]>;

/// Where a service is. Dropping it ends the search for its addresses.
#[derive(Debug)]
pub(crate) struct Pool {
    /// `None` until the names were looked up for the first time.
    members: watch::Receiver<Option<Members>>,
    turn: AtomicUsize,
    /// Asks for another look at the names.
    look: Arc<Notify>,
    _search: Option<AbortOnDropHandle<()>>,
}

/// The endpoint that a request was sent to last, so that a repetition goes to another one.
#[derive(Debug, Default)]
pub(crate) struct Tried(AtomicU64);

impl Pool {
    /// A pool of what is there now, and of what the search finds from then on.
    pub(crate) fn new(
        members: watch::Receiver<Option<Members>>,
        look: Arc<Notify>,
        search: Option<AbortOnDropHandle<()>>,
    ) -> Self {
        Self { members, turn: AtomicUsize::default(), look, _search: search }
    }

    /// The endpoint for one call.
    ///
    /// # Errors
    /// UNAVAILABLE, when there is none that is worth a call.
    pub(crate) async fn pick(&self, tried: &Tried) -> Result<Arc<Member>, Status> {
        let known = self.choose(tried);
        let chosen = match known {
            Some(chosen) => chosen,
            None => {
                let mut members = self.members.clone();
                // The search ends with the pool only.
                let _ended = members.wait_for(Option::is_some).await;
                self.choose(tried).flatten()
            }
        };
        let Some(member) = chosen else {
            self.look.notify_one();
            return Err(out());
        };
        tried.0.store(member.id, Relaxed);
        Ok(member)
    }

    /// Takes note of how a call went.
    pub(crate) fn note<T>(&self, member: &Arc<Member>, outcome: &Result<T, Status>) {
        match outcome.as_ref().err().and_then(Trouble::of) {
            Some(trouble @ (Trouble::Unsent | Trouble::Lost)) => {
                self.look.notify_one();
                member.failed(trouble == Trouble::Unsent);
            }
            _ => member.answered(),
        }
    }

    /// `None` while no name was looked up, `Some(None)` when there is nobody to call.
    fn choose(&self, tried: &Tried) -> Option<Option<Arc<Member>>> {
        let members = self.members.borrow();
        let members = members.as_deref()?;
        let turn = self.turn.fetch_add(1, Relaxed);
        let fresh = |member: &Member| member.id != tried.0.load(Relaxed);
        let chosen = nth(members, turn, |member| member.is_usable() && fresh(member))
            .or_else(|| nth(members, turn, Member::is_usable))
            .or_else(|| nth(members, turn, |member| member.is_worth_a_try() && fresh(member)))
            .or_else(|| nth(members, turn, Member::is_worth_a_try));
        Some(chosen.cloned())
    }
}

/// The member of those that `fits` chooses whose turn it is.
fn nth(members: &[Arc<Member>], turn: usize, fits: impl Fn(&Member) -> bool) -> Option<&Arc<Member>> {
    let fitting = || members.iter().filter(|member| fits(member));
    let count = fitting().count();
    if count == 0 { None } else { fitting().nth(turn % count) }
}

/// One endpoint.
#[derive(Debug)]
pub(crate) struct Member {
    id: u64,
    address: SocketAddr,
    tls: bool,
    pub(crate) channel: Channel,
    usable: AtomicBool,
    /// Calls that failed since the last one that was answered. A connection that breaks counts once, however many calls it had.
    failures: AtomicU32,
}

impl Member {
    /// An endpoint that is called at once, or only after it has answered.
    pub(crate) fn new(address: SocketAddr, tls: bool, channel: Channel, at_once: bool) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let member = Arc::new(Self {
            id: NEXT.fetch_add(1, Relaxed),
            address,
            tls,
            channel,
            usable: AtomicBool::new(at_once),
            failures: AtomicU32::new(0),
        });
        if !at_once {
            member.probe(Duration::ZERO);
        }
        member
    }

    fn is_usable(&self) -> bool {
        self.usable.load(Relaxed)
    }

    fn is_worth_a_try(&self) -> bool {
        self.failures.load(Relaxed) < GIVEN_UP
    }

    fn answered(&self) {
        // Read first: what every call writes moves between the processors.
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    fn failed(self: &Arc<Self>, unsent: bool) {
        let first = self.usable.swap(false, Relaxed);
        if first || unsent {
            self.failures.fetch_add(1, Relaxed);
        }
        if first {
            tracing::warn!(endpoint = %self.address, "an endpoint failed: others are called, if there are any");
            self.probe(pause_after(self.failures.load(Relaxed)));
        }
    }

    /// Lets the endpoint in as soon as it answers.
    fn probe(self: &Arc<Self>, first: Duration) {
        let (member, address, tls) = (Arc::downgrade(self), self.address, self.tls);
        tokio::spawn(async move {
            let mut pause = first;
            loop {
                sleep(pause.mul_f64(rand::random_range(0.75..1.0))).await;
                // Nobody calls it any more: its name has other addresses now.
                if member.strong_count() == 0 {
                    return;
                }
                if let Ok(Ok(())) = timeout(CONNECT_TIMEOUT, hello(address, tls)).await {
                    break;
                }
                pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            }
            if let Some(member) = member.upgrade() {
                tracing::info!(endpoint = %address, "an endpoint answers: it is called again");
                member.usable.store(true, Relaxed);
            }
        });
    }
}

/// Connects, and waits for the first frame: a process that hangs takes connections too, and says nothing. Over TLS the connection has
/// to do.
async fn hello(address: SocketAddr, tls: bool) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    if !tls {
        stream.write_all(HELLO).await?;
        stream.read_exact(&mut [0; FRAME_HEAD]).await?;
    }
    Ok(())
}

fn pause_after(failures: u32) -> Duration {
    (FIRST_PAUSE * (1 << failures.saturating_sub(1).min(6))).min(LONGEST_PAUSE)
}

/// There is nobody to call.
#[derive(Debug, thiserror::Error)]
#[error("no endpoint of the service takes calls")]
struct Out;

/// What a call fails with when there is nobody to call.
pub(crate) fn out() -> Status {
    let mut status = Status::unavailable(Out.to_string());
    status.set_source(Arc::new(Out));
    status
}

/// How the transport failed, if it was the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// There is nobody to call.
    Out,
    /// The call never left the edge: the endpoint takes no connections.
    Unsent,
    /// The service had begun the call, or not: it did not want this one.
    Refused,
    /// The connection broke, and whether the call took effect is not known.
    Lost,
}

impl Trouble {
    /// What a status made by the transport says; `None` for those of a service.
    #[must_use]
    pub(crate) fn of(status: &Status) -> Option<Self> {
        let mut cause = status.source()?;
        loop {
            if cause.is::<Out>() {
                return Some(Self::Out);
            }
            if cause.is::<ConnectError>() {
                return Some(Self::Unsent);
            }
            if cause.is::<Status>() {
                return None;
            }
            if cause.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_reset) {
                return Some(Self::Refused);
            }
            match cause.source() {
                Some(next) => cause = next,
                None => return Some(Self::Lost),
            }
        }
    }
}
