//! The operator's token, where there is no issuer: who has it may do what `admin:write` allows.

use std::fmt;

use chassis::secret::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// Knows the operator by a token.
#[derive(Clone)]
pub struct Operator {
    digest: [u8; 32],
}

impl Operator {
    /// Who has this token.
    #[must_use]
    pub fn new(token: &SecretString) -> Self {
        Self { digest: Sha256::digest(token.expose_secret()).into() }
    }

    /// Whether this is the token.
    pub(crate) fn has(&self, token: &str) -> bool {
        // Digests are compared, so that the time of the comparison shows nothing of the token.
        <[u8; 32]>::from(Sha256::digest(token)) == self.digest
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Operator")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens() {
        let operator = Operator::new(&"secret".into());
        assert!(operator.has("secret"));
        for wrong in ["", "secret2", "Secret", "Bearer secret"] {
            assert!(!operator.has(wrong), "{wrong}");
        }
    }
}
