//! Who is calling, and whose data the call may touch.

use std::{collections::BTreeSet, sync::Arc};

use chassis::{
    clock::Micros,
    status::{Fault, Reason},
};
use http::Extensions;

use crate::refusal::Refusal;

/// Sees everything.
pub(crate) const ADMIN_READ: &str = "admin:read";
/// May also act as an operator.
pub(crate) const ADMIN_WRITE: &str = "admin:write";

/// Who is calling, by a token that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The claim `sub`. Shared by whatever a call is counted and let in by.
    pub subject: Arc<str>,
    /// What the token is for.
    pub scopes: BTreeSet<String>,
    /// The claim `jti`, when there is one.
    pub token_id: Option<String>,
    /// The claim `exp`: the token is valid before this moment.
    pub expires: Micros,
}

impl Caller {
    /// Whether the token is for this scope. Who may act as an operator may look, too.
    #[must_use]
    pub fn has(&self, scope: &str) -> bool {
        self.scopes.contains(scope) || scope == ADMIN_READ && self.scopes.contains(ADMIN_WRITE)
    }
}

/// Whose data a call may touch. Handlers find it in the extensions of the request, and hand it to their queries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Everybody's.
    All,
    /// This user's.
    Own(Arc<str>),
}

impl Access {
    /// The one of a request.
    ///
    /// # Errors
    /// INTERNAL when nobody has decided about the request.
    pub fn of(extensions: &Extensions) -> Result<Self, Fault> {
        let undecided = || Fault::new(Reason::Internal, "internal error");
        extensions.get().cloned().ok_or_else(undecided)
    }

    /// The user whose data it is about; `None` for everybody's.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Own(user) => Some(user),
        }
    }

    /// Settles the user that a request names in this field: when it names none, it is the caller.
    ///
    /// # Errors
    /// NOT_OWNER when it names somebody else.
    pub fn resolve_user(&self, user_id: &mut String) -> Result<(), Fault> {
        match self.owner() {
            None => Ok(()),
            Some(owner) if user_id.is_empty() => {
                owner.clone_into(user_id);
                Ok(())
            }
            Some(owner) if owner == user_id => Ok(()),
            Some(_) => Err(Refusal::NotOwner.into()),
        }
    }

    /// The same of a request that is about one user's data: when it names none, it is the caller, also if they see everybody's.
    ///
    /// # Errors
    /// As [`Access::of`] and [`Access::resolve_user`].
    pub fn resolve_one_user(extensions: &Extensions, user_id: &mut String) -> Result<(), Fault> {
        Self::of(extensions)?.resolve_user(user_id)?;
        let caller = extensions.get::<Arc<Caller>>().map(|caller| &*caller.subject);
        // An operator need not be a user.
        if let Some(user) =
            caller.filter(|user| user_id.is_empty() && ordermesh::rules::user_id(user).is_ok())
        {
            user.clone_into(user_id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_about_its_caller() {
        let own = Access::Own("alice".into());
        for (named, settled) in [("", Ok("alice")), ("alice", Ok("alice")), ("bob", Err(Reason::NotOwner))] {
            let mut user = named.to_owned();
            let outcome = own.resolve_user(&mut user).map(|()| user.as_str()).map_err(|fault| fault.reason);
            assert_eq!(outcome, settled, "{named:?}");
        }
        let mut user = "bob".to_owned();
        assert_eq!((Access::All.resolve_user(&mut user), user.as_str()), (Ok(()), "bob"));
        for (subject, named, settled) in
            [("alice", "", "alice"), ("alice", "bob", "bob"), ("the operator", "", "")]
        {
            let scopes = BTreeSet::new();
            let caller = Caller { subject: subject.into(), scopes, token_id: None, expires: 0 };
            let mut extensions = Extensions::new();
            extensions.insert(Access::All);
            extensions.insert(Arc::new(caller));
            let mut user = named.to_owned();
            assert_eq!(Access::resolve_one_user(&extensions, &mut user), Ok(()));
            assert_eq!(user, settled, "{subject}, {named:?}");
        }
        assert_eq!(Access::of(&Extensions::new()).map_err(|fault| fault.reason), Err(Reason::Internal));
    }
}
