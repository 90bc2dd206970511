//! Who is calling, and what they may do: bearer tokens of an issuer (JWT, RFC 7519), and the rule that the contract has for each method.
//!
//! A [`Verifier`] makes a [`Caller`] of the token of a request, a [`Rule`] says what the caller may do ([`Access`]), and a [`Guard`] does both
//! for the listener of a service. It knows no storage, no messaging, no service and no edge.

mod source;
pub mod settings;
mod refusal;
mod caller;
mod rules;
mod fetch;
mod keys;
mod waiting;
mod jwks;
mod validity;
mod verified;
mod token;
mod verifier;
mod operator;
mod guard;
mod development;

pub use self::{
    caller::{Access, Caller},
    development::{DevelopmentKey, KeyError},
    guard::{Admitted, Guard, Who},
    operator::Operator,
    refusal::{Check, Refusal},
    rules::{Data, Rule, RuleError, Rules, RulesError},
    settings::{AuthConfig, AuthSettings, IssuerConfig},
    source::KeySource,
    validity::Validity,
    verifier::{Verifier, VerifierError},
};
