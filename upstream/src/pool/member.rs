//! One endpoint: whether it is called, and what lets it in again after it failed or fell silent.

use std::{
    net::SocketAddr,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use chassis::{background, tls::Distrust};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    channel::{BoxError, CONNECT_TIMEOUT, Channel, Tls, try_out},
    connection::Connection,
    error::distrust,
};

/// After so many failures in a row an endpoint is not even called when there is no other.
const GIVEN_UP: u32 = 5;

/// The pause before the first look at an endpoint that failed; it doubles with each failure, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// An endpoint that has calls and has answered none for so long is silent: others are called. Shorter than a request may take, so that
/// few requests are lost to it, and longer than most calls take.
const SILENCE: Duration = Duration::from_secs(3);

/// How long a silent endpoint is left out. A connection proves nothing of its handlers: afterwards one call finds out, and the time
/// doubles each time that this one is not answered either.
const QUIET_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_QUIET_PAUSE: Duration = Duration::from_secs(300);

/// How a client of HTTP/2 begins: the preface and empty settings (RFC 9113, section 3.4).
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const FRAME_HEAD: usize = 9;

/// What times are counted from.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// One endpoint.
#[derive(Debug)]
pub(crate) struct Member {
    pub(super) id: u64,
    address: SocketAddr,
    tls: Option<Tls>,
    pub(crate) connection: Connection,
    usable: AtomicBool,
    /// Calls that failed since the last one that was answered. A connection that breaks counts once, however many calls it had.
    failures: AtomicU32,
    /// Calls that wait for an answer.
    waiting: AtomicU32,
    /// Since when none was answered, in milliseconds since the beginning; counts only while calls wait.
    silent_since: AtomicU64,
    /// How often it was silent since the last answer.
    silences: AtomicU32,
    /// Whose certificate was why no connection was opened, until one is.
    distrust: Mutex<Option<Distrust>>,
}

/// A call that waits for its answer. Dropped without one, it was given up: by its client, or because its time was over.
#[derive(Debug)]
pub(crate) struct Waiting<'m> {
    member: &'m Arc<Member>,
    /// Whether its answer is expected at once.
    expected: bool,
    given_up: bool,
}

impl Member {
    /// An endpoint that is called at once, or only after it has answered.
    pub(crate) fn new(address: SocketAddr, tls: Option<Tls>, channel: Channel, at_once: bool) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let member = Arc::new(Self {
            id: NEXT.fetch_add(1, Relaxed),
            address,
            tls,
            connection: Connection::Remote(channel),
            usable: AtomicBool::new(at_once),
            failures: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            silent_since: AtomicU64::new(0),
            silences: AtomicU32::new(0),
            distrust: Mutex::default(),
        });
        if !at_once {
            member.probe(Duration::ZERO, FIRST_PAUSE);
        }
        member
    }

    /// Notes a call that is about to be made, and is answered as soon as it can be.
    pub(crate) fn begin(self: &Arc<Self>) -> Waiting<'_> {
        if self.waiting.fetch_add(1, Relaxed) == 0 {
            self.silent_since.store(now(), Relaxed);
        }
        Waiting { member: self, expected: true, given_up: true }
    }

    /// Notes a call that may be answered when there is something to say: its silence says nothing.
    pub(crate) fn begin_stream(self: &Arc<Self>) -> Waiting<'_> {
        Waiting { member: self, expected: false, given_up: false }
    }

    /// Whether it has neither failed nor been silent.
    pub(super) fn is_in(&self) -> bool {
        self.usable.load(Relaxed)
    }

    /// Whether it is called in its turn. One that was silent gets one call, until that is answered.
    pub(super) fn is_usable(self: &Arc<Self>) -> bool {
        if !self.is_in() {
            return false;
        }
        let waiting = self.waiting.load(Relaxed);
        if waiting > 0 && self.is_silent() {
            self.leave_out();
            return false;
        }
        waiting == 0 || self.silences.load(Relaxed) == 0
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address, and whether it is called.
    pub(super) fn seen(&self) -> (SocketAddr, bool) {
        (self.address, self.is_in())
    }

    /// Whose certificate was why no connection was opened last, if so; `None` without TLS.
    pub(super) fn distrust(&self) -> Option<Option<Distrust>> {
        let distrust = *self.distrust.lock().unwrap_or_else(PoisonError::into_inner);
        self.tls.is_some().then_some(distrust)
    }

    /// What fails otherwise says nothing of certificates.
    fn note_distrust(&self, found: Option<Distrust>) {
        if let Some(found) = found {
            *self.distrust.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        }
    }

    pub(super) fn is_worth_a_try(&self) -> bool {
        self.failures.load(Relaxed) < GIVEN_UP
    }

    fn is_silent(&self) -> bool {
        now().saturating_sub(self.silent_since.load(Relaxed)) >= SILENCE.as_millis() as u64
    }

    /// Silence is no failure: where there is no other endpoint it is still called.
    fn leave_out(self: &Arc<Self>) {
        if self.usable.swap(false, Relaxed) {
            let times = self.silences.fetch_add(1, Relaxed);
            tracing::warn!(endpoint = %self.address, "an endpoint answers no calls: others are called, if there are any");
            let pause = (QUIET_PAUSE * (1 << times.min(6))).min(LONGEST_QUIET_PAUSE);
            self.probe(pause, pause);
        }
    }

    fn failed(self: &Arc<Self>, unsent: bool, distrust: Option<Distrust>) {
        self.note_distrust(distrust);
        let first = self.usable.swap(false, Relaxed);
        if first || unsent {
            self.failures.fetch_add(1, Relaxed);
        }
        if first {
            tracing::warn!(endpoint = %self.address, "an endpoint failed: others are called, if there are any");
            self.probe(pause_after(self.failures.load(Relaxed)), FIRST_PAUSE);
        }
    }

    /// Lets the endpoint in as soon as it answers.
    fn probe(self: &Arc<Self>, first: Duration, shortest: Duration) {
        let (member, address, tls) = (Arc::downgrade(self), self.address, self.tls.clone());
        background::spawn("the probe of an endpoint", async move {
            let (mut pause, mut shortest) = (first, shortest);
            loop {
                sleep(pause.mul_f64(rand::random_range(0.75..1.0))).await;
                // Nobody calls it any more: its name has other addresses now.
                if member.strong_count() == 0 {
                    return;
                }
                let answered = hello(address, tls.clone()).await;
                let Some(member) = member.upgrade() else { return };
                let Err(error) = answered else { return member.let_in() };
                let found = distrust(&*error);
                member.note_distrust(found);
                if found.is_some() {
                    // It was not silence that kept it out: that it is mended is seen as soon as after any other failure.
                    (pause, shortest) = (pause.min(LONGEST_PAUSE / 2), FIRST_PAUSE);
                }
                pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE.max(shortest));
            }
        });
    }

    fn let_in(&self) {
        tracing::info!(endpoint = %self.address, "an endpoint answers: it is called again");
        // The calls that wait from before say nothing of what it does from now on.
        self.silent_since.store(now(), Relaxed);
        self.usable.store(true, Relaxed);
        // Behind that: a call that fails from then on has the endpoint looked at again, and it is noted then.
        *self.distrust.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Waiting<'_> {
    /// It was answered, whatever the answer.
    pub(super) fn answered(mut self) {
        self.given_up = false;
        let member = self.member;
        // Read first: what every call writes moves between the processors.
        if member.failures.load(Relaxed) != 0 {
            member.failures.store(0, Relaxed);
        }
        if member.silences.load(Relaxed) != 0 {
            member.silences.store(0, Relaxed);
        }
        // Others wait still: what was silence for them ends here.
        if member.waiting.load(Relaxed) > 1 {
            member.silent_since.store(now(), Relaxed);
        }
    }

    /// It ended by no doing of the endpoint.
    pub(super) fn ended(mut self) {
        self.given_up = false;
    }

    /// The connection broke, or there was none.
    pub(super) fn failed(mut self, unsent: bool, distrust: Option<Distrust>) {
        self.given_up = false;
        self.member.failed(unsent, distrust);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // The last that waits takes the evidence with it.
        if self.given_up && self.member.is_silent() {
            self.member.leave_out();
        }
        if self.expected {
            self.member.waiting.fetch_sub(1, Relaxed);
        }
    }
}

/// Connects, and waits for the first frame: a process that hangs takes connections too, and says nothing. Over TLS certificates may be why
/// it is not called, which shows only where the connection is opened as for a call, with the same time for each step.
async fn hello(address: SocketAddr, tls: Option<Tls>) -> Result<(), BoxError> {
    if let Some(tls) = tls {
        return try_out(address, tls).await;
    }
    let greeted = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(HELLO).await?;
        stream.read_exact(&mut [0; FRAME_HEAD]).await?;
        Ok::<(), BoxError>(())
    };
    timeout(CONNECT_TIMEOUT, greeted).await?
}

fn now() -> u64 {
    BEGINNING.elapsed().as_millis() as u64
}

fn pause_after(failures: u32) -> Duration {
    (FIRST_PAUSE * (1 << failures.saturating_sub(1).min(6))).min(LONGEST_PAUSE)
}
