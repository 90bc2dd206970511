//! Why a client is not let in.

use std::{error::Error as StdError, fmt, io, net::SocketAddr};

use metrics::{counter, describe_counter};
use tokio_rustls::rustls::{CertificateError, Error};

use super::clients::Unlisted;

const FAILURES: &str = "tls_handshake_failures_total";

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
            Some(Error::InvalidCertificate(error)) => match error {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownAuthority,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                CertificateError::Other(other) if is_unlisted(&*other.0) => Self::NotListed,
                _ => Self::Certificate,
            },
            Some(Error::AlertReceived(_)) => Self::ByClient,
            _ => Self::Handshake,
        }
    }

    /// Counts it, and logs it when it is about the client.
    pub(super) fn report(self, listener: &str, client: SocketAddr, error: &dyn fmt::Display) {
        let reason = self.name();
        counter!(FAILURES, "listener" => listener.to_owned(), "reason" => reason).increment(1);
        if self.is_about_client() {
            tracing::warn!(listener, %client, reason, %error, "a client's certificate does not let it in");
        } else {
            tracing::debug!(listener, %client, reason, %error, "a connection has no TLS");
        }
    }
}

fn is_unlisted(error: &(dyn StdError + Send + Sync + 'static)) -> bool {
    error.is::<Unlisted>()
}

/// Begins the counters of a listener.
pub(super) fn begin(listener: &str) {
    describe_counter!(FAILURES, "connections that were given up before there was TLS");
    for refusal in Refusal::ALL {
        counter!(FAILURES, "listener" => listener.to_owned(), "reason" => refusal.name()).increment(0);
    }
}
