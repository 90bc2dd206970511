//! Why a caller is not let in, and what it learns of that: the check that failed, and nothing of its token.

use chassis::status::{Fault, Reason};

/// What a token is checked for, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// There is one, as `authorization: Bearer TOKEN`, and one only.
    Present,
    /// It is a signed JWT of a length that is read.
    Form,
    /// Its `alg` is one of those that are allowed.
    Algorithm,
    /// The issuer publishes the key that it names (`kid`), for this algorithm; a stream ends by it when that is so no longer, and
    /// other keys are in force.
    Key,
    /// The key has signed it.
    Signature,
    /// Its claims can be read, and those that are needed are there.
    Claims,
    /// `iss` is the issuer.
    Issuer,
    /// `aud` has one of the audiences.
    Audience,
    /// `nbf` is over.
    NotBefore,
    /// `exp` is not over.
    Expiry,
    /// `sub` can be the id of a user, where the call is about a user's data.
    Subject,
}

impl Check {
    /// The word for it in the metadata of ErrorInfo, under `check`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Form => "form",
            Self::Algorithm => "algorithm",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::NotBefore => "not_before",
            Self::Expiry => "expiry",
            Self::Subject => "subject",
        }
    }

    const fn problem(self) -> &'static str {
        match self {
            Self::Present => "a bearer token is needed: authorization: Bearer TOKEN",
            Self::Form => "the token is no signed JWT",
            Self::Algorithm => "the token is signed with an algorithm that is not allowed",
            Self::Key => "the token is signed with a key that is not in force at the issuer",
            Self::Signature => "the signature of the token is wrong",
            Self::Claims => "the token lacks a claim that is needed, or has one that cannot be read",
            Self::Issuer => "the token is of another issuer",
            Self::Audience => "the token is for another audience",
            Self::NotBefore => "the token is not valid yet",
            Self::Expiry => "the token has expired",
            Self::Subject => "the subject of the token cannot be the id of a user",
        }
    }
}

/// Why a caller is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has not proven who it is.
    #[error("{}", .0.problem())]
    Token(Check),
    /// Its token cannot be verified: no key of the issuer is in force.
    #[error("no key of the issuer is in force, and nobody can be let in until one is")]
    NoKeys,
    /// Its token names a key that is not known yet, as do those of many who wait for a look at the issuer.
    #[error("too many callers wait for keys of the issuer that are not known yet")]
    Crowded,
    /// The token of the operator is missing or wrong.
    #[error("the admin token is missing or wrong")]
    Operator,
    /// Its token is not for this method.
    #[error("the scope {0} is needed")]
    Scope(String),
    /// It names another user than itself.
    #[error("these are another user's data")]
    NotOwner,
}

impl From<Check> for Refusal {
    fn from(check: Check) -> Self {
        Self::Token(check)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Token(check) => {
                Self::new(Reason::Unauthenticated, message).with("check", check.as_str())
            }
            Refusal::NoKeys | Refusal::Crowded => Self::new(Reason::IssuerUnavailable, message),
            Refusal::Operator => Self::new(Reason::Unauthenticated, message),
            Refusal::Scope(scope) => Self::new(Reason::ScopeMissing, message).with("scope", &scope),
            Refusal::NotOwner => Self::new(Reason::NotOwner, message),
        }
    }
}
