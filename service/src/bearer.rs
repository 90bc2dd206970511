//! The operator's token: who calls an admin service sends it as `authorization: Bearer TOKEN`.

use std::fmt;

use chassis::secret::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tonic::{Request, Status, service::Interceptor};

use chassis::status::{Fault, Reason};

/// Lets those in who have the token.
#[derive(Clone)]
pub struct Bearer {
    digest: [u8; 32],
}

impl Bearer {
    /// Lets in who has this token.
    #[must_use]
    pub fn new(token: &SecretString) -> Self {
        Self { digest: Sha256::digest(token.expose_secret()).into() }
    }

    fn admits(&self, header: &str) -> bool {
        // Digests are compared, so that the time of the comparison reveals nothing of the token.
        let token = header.strip_prefix("Bearer ");
        token.is_some_and(|token| <[u8; 32]>::from(Sha256::digest(token)) == self.digest)
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let header = request.metadata().get("authorization").and_then(|header| header.to_str().ok());
        if header.is_some_and(|header| self.admits(header)) {
            Ok(request)
        } else {
            Err(Fault::new(Reason::Unauthenticated, "the admin token is missing or wrong").into())
        }
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens() {
        let bearer = Bearer::new(&"secret".into());
        assert!(bearer.admits("Bearer secret"));
        for wrong in ["", "secret", "Bearer ", "Bearer secret2", "bearer secret"] {
            assert!(!bearer.admits(wrong), "{wrong}");
        }
    }
}
