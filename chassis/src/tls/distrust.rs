//! Whose certificate is why there is no connection to a server: its own, or the one that it is shown.

use std::{fmt, io};

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

/// What a server says of a certificate that it does not let in (RFC 8446, section 6.2), or of none.
const OF_OURS: [AlertDescription; 9] = [
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
    AlertDescription::DecryptError,
    AlertDescription::CertificateRequired,
];

/// Why one side of a connection does not believe the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// The certificate of the server is of no authority that is trusted.
    UnknownAuthority,
    /// It is not valid at present.
    Expired,
    /// It is for another host.
    OtherName,
    /// Something else is wrong with it.
    Certificate,
    /// The server does not let in the certificate that it is shown, or wants one.
    ByServer,
}

impl Distrust {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::UnknownAuthority, Self::Expired, Self::OtherName, Self::Certificate, Self::ByServer];

    /// As metrics have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownAuthority => "unknown_authority",
            Self::Expired => "expired",
            Self::OtherName => "other_name",
            Self::Certificate => "certificate",
            Self::ByServer => "by_server",
        }
    }

    /// What came of a connection, if a certificate is why.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        let inner = error.get_ref()?;
        match inner.downcast_ref::<Error>() {
            Some(Error::InvalidCertificate(error)) => Some(Self::of_certificate(error)),
            Some(Error::AlertReceived(alert)) => OF_OURS.contains(alert).then_some(Self::ByServer),
            Some(_) => None,
            // h2, which is the first to read after the handshake of TLS 1.3, keeps of an error its words only.
            None => {
                let words = inner.to_string();
                let is_it = |alert: &AlertDescription| words == Error::AlertReceived(*alert).to_string();
                OF_OURS.iter().any(is_it).then_some(Self::ByServer)
            }
        }
    }

    /// What is wrong with the certificate of the other side.
    pub(super) fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownAuthority,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::Expired,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::OtherName
            }
            _ => Self::Certificate,
        }
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownAuthority => "its certificate is of no authority that is trusted here",
            Self::Expired => "its certificate is not valid at present",
            Self::OtherName => "its certificate is for another host",
            Self::Certificate => "its certificate cannot be accepted",
            Self::ByServer => "it does not accept the certificate that it is shown, or wants one",
        })
    }
}
