//! Who has a token of a key that is not known yet waits for a look at the issuer, whatever strangers send at the same time.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use auth::{IssuerConfig, KeySource, Refusal, Verifier};
use chassis::{clock::SystemClock, tls::ClientTls};
use http::HeaderMap;
use tokio::task::JoinSet;
use world::{AUDIENCE, ISSUER, Issuer, claims};

/// More than may wait at once.
const MANY: u64 = 1_000;

fn verifier(issuer: &Issuer) -> Result<Verifier> {
    let config = IssuerConfig {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        keys: KeySource::Url(issuer.jwks_url().parse()?),
        algorithms: vec!["ES256".parse()?],
        scope_claim: "scope".to_owned(),
        max_age: Duration::from_secs(3_600),
        tls: ClientTls::default(),
    };
    Ok(Verifier::new(config, SystemClock::shared())?)
}

/// A request with a token of this key.
async fn request(issuer: &Issuer, key: &str) -> Result<HeaderMap> {
    let token = issuer.token(key, &claims("alice", "orders:read", 600)).await?;
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse()?);
    Ok(headers)
}

/// Every address that a stranger has may send as much as it likes.
async fn assert_waits(stranger: impl Fn(u64) -> IpAddr, honest: Option<IpAddr>) -> Result<()> {
    let issuer = Issuer::start().await?;
    for key in ["new", "unpublished"] {
        issuer.make(key, "ES256").await?;
    }
    let verifier = verifier(&issuer)?;
    // Another look begins a second after this one.
    verifier.caller(&request(&issuer, "first").await?).await?;
    issuer.publish(&["first", "new"]).await?;
    let (known_soon, guess) = (request(&issuer, "new").await?, request(&issuer, "unpublished").await?);
    let mut strangers = JoinSet::new();
    for number in 0..MANY {
        let (verifier, guess, from) = (verifier.clone(), guess.clone(), stranger(number));
        strangers.spawn(async move { verifier.admit(&guess, Some(from)).await.err() });
    }
    let first = strangers.join_next().await.context("a stranger")??;
    ensure!(first == Some(Refusal::Crowded), "{first:?} was the first answer, and nobody is refused");
    let admitted = verifier.admit(&known_soon, honest).await;
    ensure!(
        admitted.as_ref().is_ok_and(|(caller, _)| &*caller.subject == "alice"),
        "{honest:?}: {admitted:?}"
    );
    Ok(())
}

#[tokio::test]
async fn one_address_takes_the_permits_of_nobody_else() -> Result<()> {
    let one: IpAddr = "203.0.113.7".parse()?;
    assert_waits(|_| one, Some("203.0.113.8".parse()?)).await?;
    // Nor of who calls in the same process, of whom there is no address.
    assert_waits(|_| one, None).await
}

/// Whoever has one address of IPv6 has the others of its network.
#[tokio::test]
async fn all_addresses_of_a_network_of_ipv6_are_one() -> Result<()> {
    let network: Ipv6Addr = "2001:db8:7::".parse()?;
    let honest = "2001:db8:8::1".parse()?;
    let within = |number: u64| IpAddr::from(Ipv6Addr::from_bits(network.to_bits() + u128::from(number)));
    assert_waits(within, Some(honest)).await
}
