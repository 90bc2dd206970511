//! The settings of identity, the same for every process: who issues tokens, and where its keys are.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use chassis::{
    settings::{Checked, ConfigErrors},
    tls::{ClientTls, client_tls},
};
use jsonwebtoken::Algorithm;

use crate::{
    keys::algorithm,
    source::{KeySource, source},
};

/// Fetching keys more often than this would let nobody be known while a fetch is under way.
const SHORTEST_AGE: Duration = Duration::from_secs(10);

/// Flags, with an environment variable each.
#[derive(Debug, Clone, clap::Args)]
pub struct AuthSettings {
    /// Who issues the tokens of callers: their claim `iss`. Absent: nobody is asked who calls, and everything is served on loopback only
    #[arg(long, env = "AUTH_ISSUER", value_name = "ISSUER")]
    pub auth_issuer: Option<String>,
    /// Whom tokens are for: one of these has to be in their claim `aud`
    #[arg(
        long,
        env = "AUTH_AUDIENCE",
        value_name = "AUDIENCES",
        value_delimiter = ',',
        default_value = "ordermesh"
    )]
    pub auth_audience: Vec<String>,
    /// The public keys of the issuer (JWKS, RFC 7517): an `https` URL, an `http` one of this machine, or a file; looked at again while the
    /// process runs
    #[arg(long, env = "AUTH_JWKS", value_name = "URL|FILE")]
    pub auth_jwks: Option<String>,
    /// The certificates (PEM) of the authorities that an `https` URL of --auth-jwks trusts, instead of those that browsers trust
    #[arg(long, env = "AUTH_JWKS_CA", value_name = "FILE")]
    pub auth_jwks_ca: Option<PathBuf>,
    /// The signatures that are accepted: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA
    #[arg(
        long,
        env = "AUTH_ALGORITHMS",
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "RS256,ES256,EdDSA"
    )]
    pub auth_algorithms: Vec<String>,
    /// The claim with the scopes of a token: its name, or a JSON Pointer (RFC 6901) such as `/realm_access/roles`. Words with spaces between
    /// them, or a list
    #[arg(long, env = "AUTH_SCOPE_CLAIM", value_name = "CLAIM", default_value = "scope")]
    pub auth_scope_claim: String,
    /// How long keys are good after they were last seen at the issuer: then nobody is let in until they are seen again
    #[arg(long, env = "JWKS_MAX_AGE", default_value = "24h")]
    pub jwks_max_age: Checked<humantime::Duration>,
    /// Serve on any address without an issuer: whoever reaches it may read and change everything
    #[arg(long, env = "AUTH_INSECURE")]
    pub insecure: bool,
}

/// The settings of identity without errors.
#[derive(Debug, Clone, Default)]
pub struct AuthConfig {
    /// Who says who is calling; `None`: nobody is asked.
    pub issuer: Option<IssuerConfig>,
    /// Whether every address may be served without an issuer.
    pub insecure: bool,
}

/// An issuer of tokens.
#[derive(Debug, Clone)]
pub struct IssuerConfig {
    /// The claim `iss` of its tokens.
    pub issuer: String,
    /// One of these is in the claim `aud`.
    pub audiences: Vec<String>,
    /// Where its keys are.
    pub keys: KeySource,
    /// The signatures that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// The claim with the scopes: its name, or a JSON Pointer.
    pub scope_claim: String,
    /// How long keys are good after they were last seen.
    pub max_age: Duration,
    /// Whom an `https` URL of its keys trusts.
    pub tls: ClientTls,
}

impl AuthSettings {
    /// The settings, or `None` after errors were noted. Must be called inside of a tokio runtime where there is an authority of the keys' URL.
    pub fn check(self, errors: &mut ConfigErrors) -> Option<AuthConfig> {
        let before = errors.count();
        let max_age = self.jwks_max_age.take("--jwks-max-age", errors).map(Duration::from);
        let is_long = max_age.is_none_or(|age| age >= SHORTEST_AGE);
        errors.require(is_long, "--jwks-max-age", "must be at least 10s");
        let algorithms = algorithms(&self.auth_algorithms, errors);
        // A variable that is empty is as one that is not set.
        let keys = self.auth_jwks.filter(|text| !text.is_empty()).and_then(|text| source(&text, errors));
        let issuer = self.auth_issuer.filter(|issuer| !issuer.is_empty());
        errors.require(
            issuer.is_none() || keys.is_some() || errors.count() > before,
            "--auth-jwks",
            "is missing: --auth-issuer says whose tokens, and not where its keys are",
        );
        errors.require(
            issuer.is_some() || keys.is_none(),
            "--auth-issuer",
            "is missing: --auth-jwks says where the keys are, and not whose tokens",
        );
        let audiences: Vec<String> = self.auth_audience.into_iter().filter(|text| !text.is_empty()).collect();
        errors.require(!audiences.is_empty(), "--auth-audience", "must name an audience");
        check_claims(issuer.as_deref(), &self.auth_scope_claim, errors);
        errors.require(
            issuer.is_none() || !self.insecure,
            "--insecure",
            "is for a process without an issuer: nobody is let in without a token here",
        );
        let scope_claim = self.auth_scope_claim;
        // The keys are public: nobody has to show a certificate for them.
        let shown = [("", None), ("", None)];
        let tls = client_tls("auth_jwks", ("--auth-jwks-ca", self.auth_jwks_ca), shown, errors);
        let tls = tls.unwrap_or_default();
        let issuer = issuer.zip(keys).zip(max_age).map(|((issuer, keys), max_age)| IssuerConfig {
            issuer,
            audiences,
            keys,
            algorithms,
            scope_claim,
            max_age,
            tls,
        });
        (errors.count() == before).then_some(AuthConfig { issuer, insecure: self.insecure })
    }
}

impl AuthConfig {
    /// Notes an error when `flag` has an address that others than this machine reach, and nobody would be asked who calls.
    pub fn check_address(&self, flag: &str, address: Option<SocketAddr>, errors: &mut ConfigErrors) {
        let Some(address) = address else { return };
        let may_be = self.issuer.is_some() || self.insecure || address.ip().to_canonical().is_loopback();
        errors.require(
            may_be,
            flag,
            format!(
                "{address} is open to other machines, and nobody there would be asked who calls: set --auth-issuer and \
                 --auth-jwks, or --insecure to serve it all the same"
            ),
        );
    }

    /// Whether nobody is asked who calls, so that only this machine is served.
    #[must_use]
    pub const fn serves_own_machine(&self) -> bool {
        self.issuer.is_none() && !self.insecure
    }

    /// Says in the log who is let in.
    pub fn announce(&self) {
        match &self.issuer {
            Some(IssuerConfig { issuer, audiences, .. }) => {
                tracing::info!(issuer, ?audiences, "callers need a token of the issuer");
            }
            None if self.insecure => tracing::warn!(
                "INSECURE: there is no issuer, and nobody is asked who calls: whoever reaches this process may read and change the data of \
                 all users (--insecure)"
            ),
            None => tracing::info!(
                "there is no issuer (--auth-issuer), and nobody is asked who calls: served on loopback only"
            ),
        }
    }
}

/// Notes errors in the claim `iss`, and in the name of the one with the scopes, which is a JSON Pointer when it begins with a slash.
fn check_claims(issuer: Option<&str>, scope: &str, errors: &mut ConfigErrors) {
    let is_blank = issuer.is_some_and(|issuer| issuer.trim().is_empty());
    errors.require(!is_blank, "--auth-issuer", "is blank: it is the claim `iss` of tokens");
    let flag = "--auth-scope-claim";
    errors.require(!scope.trim().is_empty(), flag, "must name a claim");
    let is_escaped = scope.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    errors.require(
        !scope.starts_with('/') || is_escaped,
        flag,
        format!("{scope:?} is no JSON Pointer: in one, `~` stands before 0 or 1 only (RFC 6901, section 3)"),
    );
}

fn algorithms(names: &[String], errors: &mut ConfigErrors) -> Vec<Algorithm> {
    let flag = "--auth-algorithms";
    errors.require(!names.is_empty(), flag, "must name an algorithm");
    let algorithm = |name: &String| match algorithm(name) {
        // With a secret that is published, everybody could sign.
        Some(Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) => {
            errors.note(flag, format!("{name} signs with a secret, and the keys of a JWKS are public"));
            None
        }
        Some(algorithm) => Some(algorithm),
        None => {
            errors.note(flag, format!("{name:?} is no algorithm that is known"));
            None
        }
    };
    names.iter().filter_map(algorithm).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Process {
        #[command(flatten)]
        auth: AuthSettings,
    }

    fn check(flags: &[&str]) -> Result<AuthConfig, String> {
        let settings = Process::parse_from(["process"].iter().chain(flags)).auth;
        let mut errors = ConfigErrors::default();
        let config = settings.check(&mut errors);
        errors.or(config).map_err(|errors| errors.to_string())
    }

    #[test]
    fn an_issuer_has_keys_and_no_secrets() {
        let both = ["--auth-issuer", "https://id.example", "--auth-jwks", "https://id.example/jwks"];
        let issuer = check(&both).expect("no errors").issuer.expect("an issuer");
        assert_eq!(issuer.audiences, ["ordermesh"]);
        assert_eq!(issuer.algorithms, [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]);
        for own in ["http://127.0.0.1:8080/jwks", "http://LocalHost/jwks", "http://[::1]:80/jwks"] {
            assert!(check(&["--auth-issuer", "x", "--auth-jwks", own]).is_ok(), "{own}");
        }
        for claim in ["/a~0~1b", "a~2b", "https://x.test/a~2b"] {
            assert!(check(&["--auth-scope-claim", claim]).is_ok(), "{claim}");
        }
        for nobody in [&[][..], &["--auth-issuer", "", "--auth-jwks", ""]] {
            assert!(check(nobody).expect("no errors").issuer.is_none());
        }
        for (flags, flag) in [
            (&["--auth-issuer", "x"][..], "--auth-jwks"),
            (&["--auth-jwks", "https://x/jwks"], "--auth-issuer"),
            (&["--auth-issuer", " ", "--auth-jwks", "https://x/jwks"], "--auth-issuer"),
            (&[both[0], both[1], both[2], both[3], "--auth-scope-claim", "/a~2b"], "--auth-scope-claim"),
            (&[both[0], both[1], both[2], both[3], "--auth-scope-claim", "/a~"], "--auth-scope-claim"),
            (&[both[0], both[1], both[2], both[3], "--auth-scope-claim", " "], "--auth-scope-claim"),
            (&["--auth-issuer", "x", "--auth-jwks", "/no/such/file"], "--auth-jwks"),
            (&["--auth-issuer", "x", "--auth-jwks", "ftp://x/jwks"], "--auth-jwks"),
            (&["--auth-issuer", "x", "--auth-jwks", "https://me:hidden@x/jwks"], "--auth-jwks"),
            (&["--auth-issuer", "x", "--auth-jwks", "http://id.example/jwks"], "--auth-jwks"),
            (&["--auth-issuer", "x", "--auth-jwks", "http://10.0.0.7:80/jwks"], "--auth-jwks"),
            (&["--auth-issuer", "x", "--auth-jwks", "http://127.0.0.1.example/jwks"], "--auth-jwks"),
            (&[both[0], both[1], both[2], both[3], "--auth-algorithms", "ES256,HS256"], "--auth-algorithms"),
            (&[both[0], both[1], both[2], both[3], "--auth-algorithms", "none"], "--auth-algorithms"),
            (&[both[0], both[1], both[2], both[3], "--insecure"], "--insecure"),
            (&[both[0], both[1], both[2], both[3], "--jwks-max-age", "1s"], "--jwks-max-age"),
        ] {
            let text = check(flags).expect_err("an error");
            assert!(text.starts_with("1 error ") && text.contains(flag), "{flags:?}: {text}");
            assert!(!text.contains("hidden"), "{text}");
        }
    }

    #[test]
    fn without_an_issuer_only_this_machine_is_served() {
        let noted = |flags: &[&str], address: &str| {
            let mut errors = ConfigErrors::default();
            let config = check(flags).expect("no errors");
            config.check_address("--listen", address.parse().ok(), &mut errors);
            errors.or(Some(())).map_err(|errors| errors.to_string()).err()
        };
        for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(noted(&[], address), None, "{address}");
        }
        for address in ["0.0.0.0:1", "10.0.0.7:1", "[::]:1", "[2001:db8::1]:1"] {
            let text = noted(&[], address).expect("an error");
            assert!(text.contains("--listen") && text.contains("--insecure"), "{text}");
            assert_eq!(noted(&["--insecure"], address), None, "{address}");
            let issuer = ["--auth-issuer", "x", "--auth-jwks", "https://x/jwks"];
            assert_eq!(noted(&issuer, address), None, "{address}");
        }
    }
}
