//! Why a client is not let in.

use std::{
    collections::VecDeque,
    error::Error as StdError,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use metrics::{counter, describe_counter};
use tokio_rustls::rustls::{CertificateError, Error};

use super::{clients::Unlisted, distrust::Distrust};

const FAILURES: &str = "tls_handshake_failures_total";

/// How long the log says no second time that the same client is refused for the same reason: an edge tries every few seconds, for days.
const QUIET: Duration = Duration::from_secs(60);

/// So many clients that were refused lately are remembered, by a listener: strangers cannot make it more.
const MOST_REMEMBERED: usize = 16;

/// Why there is no connection; as metrics have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NoCertificate,
    UnknownAuthority,
    Expired,
    NotListed,
    /// Something else is wrong with the client's certificate.
    Certificate,
    /// The client does not believe the listener.
    ByClient,
    PlainHttp,
    /// It took too long.
    Timeout,
    /// It went away, or does not speak TLS as it is spoken here.
    Handshake,
}

impl Refusal {
    const ALL: [Self; 9] = [
        Self::NoCertificate,
        Self::UnknownAuthority,
        Self::Expired,
        Self::NotListed,
        Self::Certificate,
        Self::ByClient,
        Self::PlainHttp,
        Self::Timeout,
        Self::Handshake,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::UnknownAuthority => "unknown_authority",
            Self::Expired => "expired",
            Self::NotListed => "not_listed",
            Self::Certificate => "certificate",
            Self::ByClient => "by_client",
            Self::PlainHttp => "plain_http",
            Self::Timeout => "timeout",
            Self::Handshake => "handshake",
        }
    }

    /// Whether it is about who the client is: an operator has to know.
    const fn is_about_client(self) -> bool {
        matches!(
            self,
            Self::NoCertificate
                | Self::UnknownAuthority
                | Self::Expired
                | Self::NotListed
                | Self::Certificate
        )
    }

    /// What came of a handshake.
    pub(super) fn of(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match inner {
            Some(Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(Error::InvalidCertificate(CertificateError::Other(other))) if is_unlisted(&*other.0) => {
                Self::NotListed
            }
            Some(Error::InvalidCertificate(error)) => match Distrust::of_certificate(error) {
                Distrust::UnknownAuthority => Self::UnknownAuthority,
                Distrust::Expired => Self::Expired,
                Distrust::OtherName | Distrust::Certificate | Distrust::ByServer => Self::Certificate,
            },
            Some(Error::AlertReceived(_)) => Self::ByClient,
            _ => Self::Handshake,
        }
    }
}

/// A client that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused {
    reason: Refusal,
    client: IpAddr,
    subject: Option<String>,
}

/// Reports who a listener does not let in.
#[derive(Debug)]
pub(super) struct Reports {
    listener: String,
    /// Who was warned of lately, and when; the latest at the end.
    warned: Mutex<VecDeque<(Refused, Instant)>>,
}

impl Reports {
    pub(super) fn new(listener: String) -> Self {
        Self { listener, warned: Mutex::default() }
    }

    /// Begins the counters.
    pub(super) fn begin(&self) {
        describe_counter!(FAILURES, "connections that were given up before there was TLS");
        for refusal in Refusal::ALL {
            counter!(FAILURES, "listener" => self.listener.clone(), "reason" => refusal.name()).increment(0);
        }
    }

    /// Counts it, and logs it when it is about the client, with whom its certificate is for: a warning, unless there was the same one lately.
    pub(super) fn note(
        &self,
        refusal: Refusal,
        client: SocketAddr,
        error: &dyn fmt::Display,
        subject: Option<&str>,
    ) {
        let (listener, reason) = (&*self.listener, refusal.name());
        counter!(FAILURES, "listener" => listener.to_owned(), "reason" => reason).increment(1);
        if !refusal.is_about_client() {
            tracing::debug!(listener, %client, reason, %error, "a connection has no TLS");
            return;
        }
        let refused = Refused { reason: refusal, client: client.ip(), subject: subject.map(str::to_owned) };
        if self.is_news(refused, Instant::now()) {
            tracing::warn!(listener, %client, reason, subject, %error, "a client's certificate does not let it in");
        } else {
            tracing::debug!(listener, %client, reason, subject, %error, "a client's certificate does not let it in");
        }
    }

    fn is_news(&self, refused: Refused, now: Instant) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.retain(|(_, at)| now.saturating_duration_since(*at) < QUIET);
        if warned.iter().any(|(known, _)| *known == refused) {
            return false;
        }
        if warned.len() == MOST_REMEMBERED {
            warned.pop_front();
        }
        warned.push_back((refused, now));
        true
    }
}

fn is_unlisted(error: &(dyn StdError + Send + Sync + 'static)) -> bool {
    error.is::<Unlisted>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(reason: Refusal, client: [u8; 4], subject: Option<&str>) -> Refused {
        Refused { reason, client: client.into(), subject: subject.map(str::to_owned) }
    }

    #[test]
    fn the_same_client_is_warned_of_once_a_minute() {
        let (reports, start) = (Reports::new("http".to_owned()), Instant::now());
        let edge = refused(Refusal::Expired, [10, 0, 0, 1], Some("CN=edge"));
        let others = [
            refused(Refusal::NotListed, [10, 0, 0, 1], Some("CN=edge")),
            refused(Refusal::Expired, [10, 0, 0, 2], Some("CN=edge")),
            refused(Refusal::Expired, [10, 0, 0, 1], Some("CN=other")),
            refused(Refusal::NoCertificate, [10, 0, 0, 1], None),
        ];
        assert!(reports.is_news(edge.clone(), start));
        for other in others {
            assert!(reports.is_news(other.clone(), start), "{other:?}");
            // Each of several in turn, too.
            assert!(
                !reports.is_news(other.clone(), start) && !reports.is_news(edge.clone(), start),
                "{other:?}"
            );
        }
        assert!(!reports.is_news(edge.clone(), start + QUIET - Duration::from_millis(1)));
        assert!(reports.is_news(edge.clone(), start + QUIET));
        assert!(!reports.is_news(edge, start + QUIET));
    }

    #[test]
    fn strangers_do_not_make_it_grow() {
        let (reports, start) = (Reports::new("http".to_owned()), Instant::now());
        for last in 0..=u8::MAX {
            assert!(
                reports.is_news(refused(Refusal::NoCertificate, [10, 0, 0, last], None), start),
                "{last}"
            );
        }
        let kept = reports.warned.lock().expect("a lock").len();
        assert_eq!(kept, MOST_REMEMBERED);
    }
}
