//! Who is let in by nobody, whatever is called.

use anyhow::{Context as _, Result};
use serde_json::json;
use world::{Issuer, claims, now};

use super::SCOPES;

/// Tokens that let nobody in, whatever is called, and the check that each fails.
pub(super) async fn refused(issuer: &Issuer) -> Result<Vec<(&'static str, Option<String>, &'static str)>> {
    issuer.make("unpublished", "ES256").await?;
    let all = [&SCOPES[..], &["admin:read", "admin:write"]].concat().join(" ");
    let good = claims("alice", &all, 3_600);
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let of = async |name: &str, value| issuer.token("first", &with(name, value)).await;
    let (one, other) = (of("jti", json!("one")).await?, of("jti", json!("other")).await?);
    let (claimed, _) = one.rsplit_once('.').context("a JWT")?;
    let (_, signature) = other.rsplit_once('.').context("a JWT")?;
    Ok(vec![
        ("no token", None, "present"),
        ("another token's signature", Some(format!("{claimed}.{signature}")), "signature"),
        ("no subject", Some(of("sub", json!("")).await?), "claims"),
        ("no JWT", Some("what".to_owned()), "form"),
        ("expired", Some(issuer.token("first", &with("exp", json!(now() - 1))).await?), "expiry"),
        (
            "not yet valid",
            Some(issuer.token("first", &with("nbf", json!(now() + 3_000))).await?),
            "not_before",
        ),
        ("wrong issuer", Some(issuer.token("first", &with("iss", json!("https://x.test"))).await?), "issuer"),
        ("wrong audience", Some(issuer.token("first", &with("aud", json!("others"))).await?), "audience"),
        ("none", Some(issuer.unsigned(&good).await?), "algorithm"),
        ("HS256 by the public key", Some(issuer.confused("first", &good).await?), "algorithm"),
        ("unknown key", Some(issuer.token("unpublished", &good).await?), "key"),
    ])
}
