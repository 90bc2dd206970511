//! What stands before the methods of a service: nobody calls one but by its rule.

use std::{collections::BTreeSet, sync::Arc};

use chassis::{
    clock::Clock,
    peer::Peer,
    readiness::Part,
    secret::SecretString,
    status::{Fault, Reason},
};
use http::{Extensions, HeaderMap};

use crate::{
    caller::{Access, Caller},
    operator::Operator,
    refusal::Refusal,
    rules::{Data, Rules},
    settings::AuthConfig,
    validity::Validity,
    verifier::{Verifier, VerifierError, bearer},
};

/// Services without rules, which everybody may call: they show nothing of a user.
const OPEN: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// Who says who is calling.
#[derive(Debug, Clone)]
pub enum Who {
    /// Nobody: without an issuer everybody may do what a user may, and nobody what an operator may.
    Anyone,
    /// Without an issuer, the one who has this token may do what an operator may.
    Operator(Operator),
    /// The issuer.
    Issuer(Verifier),
}

impl Who {
    /// The issuer, or else the operator's token, if there is one. Must be called inside of a tokio runtime, which then reads the keys of the
    /// issuer.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn of(
        config: &AuthConfig,
        operator: Option<&SecretString>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, VerifierError> {
        Ok(match (&config.issuer, operator) {
            (Some(issuer), _) => Self::Issuer(Verifier::new(issuer.clone(), clock)?),
            (None, Some(token)) => Self::Operator(Operator::new(token)),
            (None, None) => Self::Anyone,
        })
    }
}

/// Lets callers in by the rules of the contract.
#[derive(Debug)]
pub struct Guard {
    rules: Rules,
    who: Who,
}

/// A caller who was let in.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// Whose data the call may touch.
    pub access: Access,
    /// Who calls, where an issuer says so.
    pub caller: Option<Arc<Caller>>,
    /// Until when the answer goes on: a stream ends when its caller's token lets nobody in any longer.
    pub until: Option<Validity>,
}

impl Guard {
    /// A guard of these methods.
    #[must_use]
    pub fn new(rules: Rules, who: Who) -> Self {
        Self { rules, who }
    }

    /// Services of which a method has no rule.
    pub fn unruled<'s>(&self, services: &'s BTreeSet<String>) -> Vec<&'s str> {
        let is_ruled =
            |service: &&String| self.rules.iter().any(|(path, _)| path.starts_with(&format!("/{service}/")));
        services.iter().filter(|service| !is_ruled(service)).map(String::as_str).collect()
    }

    /// Whether anybody can be an operator.
    #[must_use]
    pub fn knows_operators(&self) -> bool {
        !matches!(self.who, Who::Anyone)
    }

    /// What readiness shows of the issuer, if there is one.
    #[must_use]
    pub fn part(&self) -> Option<Part> {
        match &self.who {
            Who::Issuer(verifier) => Some(verifier.part()),
            Who::Operator(_) | Who::Anyone => None,
        }
    }

    /// Lets in the caller of the method with this path, who sends these headers; `None` where everybody may call. The extensions of the request
    /// say who is at the other end of the connection.
    ///
    /// # Errors
    /// UNAUTHENTICATED, SCOPE_MISSING, and UNIMPLEMENTED for a method that has no rule.
    pub async fn admit(
        &self,
        path: &str,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Option<Admitted>, Fault> {
        let Some(rule) = self.rules.get(path) else {
            let is_open = OPEN.iter().any(|open| path.starts_with(open));
            let unknown = || Fault::new(Reason::Unimplemented, "this process has no such method");
            return if is_open { Ok(None) } else { Err(unknown()) };
        };
        let (access, caller, validity) = match &self.who {
            Who::Issuer(verifier) => {
                let (caller, validity) =
                    verifier.admit(headers, extensions.get::<Peer>().map(|peer| peer.0)).await?;
                (rule.admit(&caller)?, Some(caller), Some(validity))
            }
            Who::Operator(operator) if rule.data == Data::All => {
                let has = bearer(headers).is_some_and(|token| operator.has(token));
                (if has { Ok(Access::All) } else { Err(Refusal::Operator) }?, None, None)
            }
            Who::Anyone if rule.data == Data::All => return Err(Refusal::Operator.into()),
            Who::Anyone | Who::Operator(_) => (Access::All, None, None),
        };
        Ok(Some(Admitted { access, caller, until: validity.filter(|_| rule.streams) }))
    }
}
