//! Tokens of an issuer that shares no code with ours: what is let in, what is not and why, and what becomes of that when keys change.

use std::{
    sync::{Arc, atomic},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use auth::{Caller, Check, IssuerConfig, KeySource, Refusal, Verifier};
use chassis::{
    clock::{Clock, Micros, SystemClock},
    status::{Fault, Reason},
    tls::ClientTls,
};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio::time::Instant;
use world::{AUDIENCE, ISSUER, Issuer, PATIENCE, Scratch, claims, eventually, now};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// What a process knows of the issuer.
fn config(issuer: &Issuer) -> Result<IssuerConfig> {
    Ok(IssuerConfig {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        keys: KeySource::Url(issuer.jwks_url().parse()?),
        algorithms: ["RS256", "ES256", "EdDSA"].map(|name| name.parse().expect("a name")).into(),
        scope_claim: "scope".to_owned(),
        max_age: DAY,
        tls: ClientTls::default(),
    })
}

fn verifier(config: IssuerConfig) -> Result<Verifier> {
    Ok(Verifier::new(config, SystemClock::shared())?)
}

fn bearer(token: &str) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse()?);
    Ok(headers)
}

/// What a verifier says of a token: the caller, or the check that failed.
async fn verify(verifier: &Verifier, token: &str) -> Result<Result<Arc<Caller>, Check>> {
    Ok(match verifier.caller(&bearer(token)?).await {
        Ok(caller) => Ok(caller),
        Err(Refusal::Token(check)) => Err(check),
        Err(other) => anyhow::bail!("{other}"),
    })
}

/// Why a verifier refuses a token.
async fn refusal(verifier: &Verifier, token: &str) -> Result<Option<Refusal>> {
    Ok(verifier.caller(&bearer(token)?).await.err())
}

/// The claims of alice with some of them replaced, and those that are null left out.
fn with(changes: Value) -> Value {
    let mut claims = claims("alice", "orders:read", 600);
    for (name, value) in changes.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    if let Some(claims) = claims.as_object_mut() {
        claims.retain(|_, value| !value.is_null());
    }
    claims
}

#[tokio::test]
async fn a_token_that_is_not_right_fails_by_its_check() -> Result<()> {
    let issuer = Issuer::start().await?;
    issuer.make("unpublished", "ES256").await?;
    let verifier = verifier(config(&issuer)?)?;
    let good = issuer.token("first", &with(json!({ "jti": "t-1" }))).await?;
    let caller = verify(&verifier, &good).await?.map_err(|check| anyhow::anyhow!("{check:?}"))?;
    ensure!(&*caller.subject == "alice" && caller.token_id.as_deref() == Some("t-1"), "{caller:?}");
    ensure!(caller.has("orders:read") && !caller.has("orders:write"), "{caller:?}");

    let (head, rest) = good.split_once('.').context("a JWT")?;
    let forged = issuer.token("first", &with(json!({ "sub": "bob" }))).await?;
    let (_, forged) = forged.split_once('.').context("a JWT")?;
    let (forged, _) = forged.split_once('.').context("a JWT")?;
    let (_, signature) = rest.split_once('.').context("a JWT")?;
    let signed = async |changes| issuer.token("first", &with(changes)).await;
    let now = now();
    for (what, token, check) in [
        ("no JWT", "what".to_owned(), Check::Form),
        ("four parts", format!("{good}.x"), Check::Form),
        ("too long", format!("{head}.{}.x", "A".repeat(9_000)), Check::Form),
        ("claims of another token", format!("{head}.{forged}.{signature}"), Check::Signature),
        ("no signature", format!("{}.", good.rsplit_once('.').context("a JWT")?.0), Check::Signature),
        ("none", issuer.unsigned(&with(json!({}))).await?, Check::Algorithm),
        ("HS256", issuer.confused("first", &with(json!({}))).await?, Check::Algorithm),
        ("unknown key", issuer.token("unpublished", &with(json!({}))).await?, Check::Key),
        (
            "key of another",
            issuer.token_with("unpublished", &with(json!({})), &json!({ "kid": "first" })).await?,
            Check::Signature,
        ),
        ("another issuer", signed(json!({ "iss": "https://other.test" })).await?, Check::Issuer),
        ("another audience", signed(json!({ "aud": "others" })).await?, Check::Audience),
        ("too early", signed(json!({ "nbf": now + 60 })).await?, Check::NotBefore),
        ("too late", signed(json!({ "exp": now - 1 })).await?, Check::Expiry),
        ("no end", signed(json!({ "exp": null })).await?, Check::Claims),
        ("no subject", signed(json!({ "sub": null })).await?, Check::Claims),
        ("a long subject", signed(json!({ "sub": "s".repeat(256) })).await?, Check::Claims),
        ("a subject that nobody stores", signed(json!({ "sub": "a\0b" })).await?, Check::Claims),
        ("an empty id", signed(json!({ "jti": "" })).await?, Check::Claims),
        ("a long id", signed(json!({ "jti": "t".repeat(256) })).await?, Check::Claims),
        ("a list of issuers", signed(json!({ "iss": ["https://other.test", ISSUER] })).await?, Check::Claims),
        ("no issuer", signed(json!({ "iss": null })).await?, Check::Claims),
        ("no audience", signed(json!({ "aud": null })).await?, Check::Claims),
    ] {
        let verdict = verify(&verifier, &token).await?;
        ensure!(verdict.as_ref().err() == Some(&check), "{what}: {verdict:?} instead of {check:?}");
        // A second time, what was remembered of the first changes nothing.
        ensure!(verify(&verifier, &token).await?.err() == Some(check), "{what}, again");
    }
    ensure!(verify(&verifier, &signed(json!({ "aud": ["others", AUDIENCE] })).await?).await?.is_ok());
    ensure!(
        verify(&verifier, &issuer.token_with("first", &with(json!({})), &json!({ "kid": null })).await?)
            .await?
            .is_ok()
    );
    Ok(())
}

#[tokio::test]
async fn one_bearer_token_is_needed() -> Result<()> {
    let issuer = Issuer::start().await?;
    let verifier = verifier(config(&issuer)?)?;
    let token = issuer.token("first", &with(json!({}))).await?;
    for (lines, is_read) in [
        (vec![format!("Bearer {token}")], true),
        (vec![format!("bearer  {token}")], true),
        (vec![], false),
        (vec![token.clone()], false),
        (vec![format!("Basic {token}")], false),
        (vec!["Bearer ".to_owned()], false),
        (vec![format!("Bearer {token}"), format!("Bearer {token}")], false),
    ] {
        let line = |line: &String| {
            ("authorization".parse().expect("a name"), HeaderValue::from_str(line).expect("text"))
        };
        let headers: HeaderMap = lines.iter().map(line).collect();
        let outcome = verifier.caller(&headers).await;
        ensure!(outcome.is_ok() == is_read, "{lines:?}: {outcome:?}");
        ensure!(is_read || outcome == Err(Refusal::Token(Check::Present)), "{outcome:?}");
    }
    Ok(())
}

#[tokio::test]
async fn every_algorithm_that_is_allowed_is_verified() -> Result<()> {
    let issuer = Issuer::start().await?;
    let algorithms = ["RS256", "ES256", "EdDSA"];
    for algorithm in algorithms {
        issuer.make(algorithm, algorithm).await?;
    }
    issuer.publish(&algorithms).await?;
    let verifier = verifier(config(&issuer)?)?;
    for algorithm in algorithms {
        let token = issuer.token(algorithm, &with(json!({}))).await?;
        ensure!(verify(&verifier, &token).await?.is_ok(), "{algorithm}");
    }
    let narrow = IssuerConfig { algorithms: vec!["EdDSA".parse()?], ..config(&issuer)? };
    let token = issuer.token("ES256", &with(json!({}))).await?;
    ensure!(verify(&self::verifier(narrow)?, &token).await? == Err(Check::Algorithm));
    Ok(())
}

#[tokio::test]
async fn scopes_are_words_or_lists_wherever_the_claim_is() -> Result<()> {
    let issuer = Issuer::start().await?;
    let claims = with(json!({
        "scope": "orders:read  admin:write", "roles": ["orders:write"], "realm_access": { "roles": ["payments:read"] },
        "https://x.test/scp": "payments:write",
    }));
    let token = issuer.token("first", &claims).await?;
    for (claim, expected) in [
        ("scope", &["admin:write", "orders:read"][..]),
        ("roles", &["orders:write"]),
        ("/realm_access/roles", &["payments:read"]),
        ("https://x.test/scp", &["payments:write"]),
        ("absent", &[]),
        ("realm_access", &[]),
    ] {
        let verifier = verifier(IssuerConfig { scope_claim: claim.to_owned(), ..config(&issuer)? })?;
        let caller = verify(&verifier, &token).await?.map_err(|check| anyhow::anyhow!("{check:?}"))?;
        ensure!(caller.scopes.iter().eq(expected), "{claim}: {:?}", caller.scopes);
        ensure!(caller.has("admin:read") == (claim == "scope"), "who may act may look");
    }
    Ok(())
}

/// A clock that a test sets.
#[derive(Debug)]
struct Hands(atomic::AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Micros {
        self.0.load(atomic::Ordering::Relaxed)
    }

    fn new_id(&self) -> uuid::Uuid {
        SystemClock.new_id()
    }
}

#[tokio::test]
async fn what_was_verified_ends_with_its_token() -> Result<()> {
    let (issuer, now) = (Issuer::start().await?, now());
    let clock = Arc::new(Hands(atomic::AtomicI64::new(now * 1_000_000)));
    let verifier = Verifier::new(config(&issuer)?, Arc::clone(&clock) as Arc<dyn Clock>)?;
    let token = issuer.token("first", &with(json!({ "exp": now + 100, "nbf": now + 29 }))).await?;
    ensure!(verify(&verifier, &token).await?.is_ok(), "a clock may be 30 s ahead");
    clock.0.store((now + 100) * 1_000_000 - 1, atomic::Ordering::Relaxed);
    ensure!(verify(&verifier, &token).await?.is_ok());
    clock.0.store((now + 100) * 1_000_000, atomic::Ordering::Relaxed);
    ensure!(verify(&verifier, &token).await? == Err(Check::Expiry));
    Ok(())
}

#[tokio::test]
async fn a_new_key_is_known_with_its_first_token_and_an_old_one_goes() -> Result<()> {
    let issuer = Issuer::start().await?;
    issuer.make("second", "ES256").await?;
    let verifier = verifier(config(&issuer)?)?;
    let old = issuer.token("first", &with(json!({}))).await?;
    ensure!(verify(&verifier, &old).await?.is_ok());
    issuer.publish(&["first", "second"]).await?;
    let new = issuer.token("second", &with(json!({}))).await?;
    // Many callers at once, each of which has to be let in.
    let callers = (0..50).map(|_| {
        let (verifier, new) = (verifier.clone(), new.clone());
        tokio::spawn(async move { verify(&verifier, &new).await })
    });
    for caller in callers.collect::<Vec<_>>() {
        ensure!(caller.await??.is_ok(), "the new key was not looked for");
    }
    ensure!(verify(&verifier, &old).await?.is_ok(), "both are published");
    let before = issuer.fetches().await?;
    ensure!(before <= 4, "{before} requests for 50 callers");

    issuer.publish(&["second"]).await?;
    // Something that is not known makes it look again.
    issuer.make("third", "ES256").await?;
    let unknown = issuer.token("third", &with(json!({}))).await?;
    ensure!(verify(&verifier, &unknown).await? == Err(Check::Key));
    ensure!(
        verify(&verifier, &old).await? == Err(Check::Key),
        "a token that was verified by a key that has gone"
    );
    ensure!(verify(&verifier, &new).await?.is_ok());
    Ok(())
}

#[tokio::test]
async fn unknown_keys_cost_the_issuer_little_and_others_nothing() -> Result<()> {
    let issuer = Issuer::start().await?;
    let verifier = verifier(config(&issuer)?)?;
    let good = issuer.token("first", &with(json!({}))).await?;
    ensure!(verify(&verifier, &good).await?.is_ok());
    issuer.make("unpublished", "ES256").await?;
    let mut tokens = Vec::new();
    for number in 0..600 {
        let header = json!({ "kid": format!("guess-{number}") });
        tokens.push(issuer.token_with("unpublished", &with(json!({})), &header).await?);
    }
    let (before, begun) = (issuer.fetches().await?, Instant::now());
    let verifying = tokens.into_iter().map(|token| (verifier.clone(), token));
    let refused = verifying.map(|(verifier, token)| async move { refusal(&verifier, &token).await });
    let refused: tokio::task::JoinSet<_> = refused.collect();
    ensure!(verify(&verifier, &good).await?.is_ok());
    let refused: Vec<_> = refused.join_all().await.into_iter().collect::<Result<_>>()?;
    let count = |wanted: &Refusal| refused.iter().filter(|refusal| refusal.as_ref() == Some(wanted)).count();
    // Nobody has looked for the keys of the others: they may be good, and their tokens are not to be thrown away.
    let (unknown, crowded) = (count(&Refusal::Token(Check::Key)), count(&Refusal::Crowded));
    ensure!(unknown >= 256 && crowded > 0 && unknown + crowded == 600, "{unknown} and {crowded}");
    ensure!(Fault::from(Refusal::Crowded).reason == Reason::IssuerUnavailable);
    let (fetches, seconds) = (issuer.fetches().await? - before, begun.elapsed().as_secs());
    ensure!(fetches <= seconds + 2, "{fetches} requests in {seconds} s");
    Ok(())
}

#[tokio::test]
async fn while_the_issuer_is_away_its_keys_are_good_up_to_their_age() -> Result<()> {
    let (issuer, begun) = (Issuer::start().await?, now());
    issuer.make("unpublished", "ES256").await?;
    let clock = Arc::new(Hands(atomic::AtomicI64::new(begun * 1_000_000)));
    let verifier = Verifier::new(config(&issuer)?, Arc::clone(&clock) as Arc<dyn Clock>)?;
    // By the clock of tokens, and by the one that keys age by.
    let pass = async |seconds: u32| {
        clock.0.fetch_add(i64::from(seconds) * 1_000_000, atomic::Ordering::Relaxed);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds.into())).await;
        tokio::time::resume();
    };
    let of = |subject: &str| with(json!({ "sub": subject, "exp": begun + 100_000 }));
    let good = issuer.token("first", &of("alice")).await?;
    let unknown = issuer.token("unpublished", &of("alice")).await?;
    ensure!(verify(&verifier, &good).await?.is_ok());
    issuer.away(true).await?;
    // An hour, and up to the last minute of the day. One token was verified before, and another one of its key was not.
    for seconds in [3_600, 82_740] {
        pass(seconds).await;
        for token in [&good, &issuer.token("first", &of(&format!("carol-{seconds}"))).await?] {
            ensure!(verify(&verifier, token).await?.is_ok(), "after {seconds} s");
        }
        ensure!(verify(&verifier, &unknown).await? == Err(Check::Key), "after {seconds} s");
    }
    pass(60).await;
    ensure!(refusal(&verifier, &good).await? == Some(Refusal::NoKeys));
    issuer.away(false).await?;
    let known = async || verify(&verifier, &good).await?.map_err(|check| anyhow::anyhow!("{check:?}"));
    eventually("the keys again", PATIENCE, known).await.map(drop)
}

#[tokio::test]
async fn before_any_key_was_read_no_token_is_at_fault() -> Result<()> {
    let issuer = Issuer::start().await?;
    issuer.make("unpublished", "ES256").await?;
    issuer.away(true).await?;
    let verifier = verifier(config(&issuer)?)?;
    let good = issuer.token("first", &with(json!({}))).await?;
    let unknown = issuer.token("unpublished", &with(json!({}))).await?;
    for token in [&good, &unknown] {
        ensure!(refusal(&verifier, token).await? == Some(Refusal::NoKeys));
    }
    let fault = Fault::from(Refusal::NoKeys);
    ensure!(fault.reason == Reason::IssuerUnavailable && fault.retry_after.is_some(), "{fault:?}");
    // What is seen without a key is the caller's fault all the same.
    for (token, check) in
        [("what", Check::Form), (&issuer.unsigned(&with(json!({}))).await?, Check::Algorithm)]
    {
        ensure!(verify(&verifier, token).await? == Err(check));
    }
    ensure!(verifier.caller(&HeaderMap::new()).await == Err(Refusal::Token(Check::Present)));
    issuer.away(false).await?;
    eventually("the keys", PATIENCE, async || {
        ensure!(verify(&verifier, &good).await?.is_ok());
        anyhow::Ok(())
    })
    .await?;
    ensure!(
        verify(&verifier, &unknown).await? == Err(Check::Key),
        "now it is known that there is no such key"
    );
    Ok(())
}

#[tokio::test]
async fn keys_come_from_a_file_too() -> Result<()> {
    let (issuer, scratch) = (Issuer::start().await?, Scratch::new("jwks")?);
    let file = scratch.path().join("jwks.json");
    let keys = world::Api::new(issuer.jwks_url().trim_end_matches("/jwks.json"))?.get("/jwks.json").await?;
    std::fs::write(&file, &keys.text)?;
    let verifier = verifier(IssuerConfig { keys: KeySource::File(file.clone()), ..config(&issuer)? })?;
    ensure!(verify(&verifier, &issuer.token("first", &with(json!({}))).await?).await?.is_ok());
    // One that cannot be read is no reason to let nobody in.
    std::fs::write(&file, "{")?;
    issuer.make("unpublished", "ES256").await?;
    let unknown = issuer.token("unpublished", &with(json!({}))).await?;
    ensure!(verify(&verifier, &unknown).await? == Err(Check::Key));
    ensure!(verify(&verifier, &issuer.token("first", &with(json!({ "jti": "2" }))).await?).await?.is_ok());
    Ok(())
}

/// Keys of different types may have the same id (RFC 7517, section 4.5); none hides another, and least of all one that verifies nothing here.
#[tokio::test]
async fn a_key_hides_no_other_of_its_id() -> Result<()> {
    let (issuer, scratch) = (Issuer::start().await?, Scratch::new("jwks")?);
    issuer.make("second", "RS256").await?;
    issuer.make("third", "EdDSA").await?;
    issuer.make("unread", "ES512").await?;
    issuer.publish(&["first", "second", "third", "unread"]).await?;
    let base = issuer.jwks_url().trim_end_matches("/jwks.json").to_owned();
    let mut document = world::Api::new(&base)?.get("/jwks.json").await?.body;
    let keys = document["keys"].as_array_mut().context("keys")?;
    ensure!(keys.len() == 4, "{keys:?}");
    for key in keys.iter_mut().filter_map(Value::as_object_mut) {
        key.insert("kid".to_owned(), json!("shared"));
        // Which it is for, the curve of a key says as well.
        key.remove("alg");
    }
    for turn in 0..4 {
        document["keys"].as_array_mut().context("keys")?.rotate_left(1);
        let file = scratch.path().join(format!("{turn}.json"));
        std::fs::write(&file, document.to_string())?;
        let verifier = verifier(IssuerConfig { keys: KeySource::File(file), ..config(&issuer)? })?;
        for key in ["first", "second", "third"] {
            let token = issuer.token_with(key, &with(json!({})), &json!({ "kid": "shared" })).await?;
            let verdict = verify(&verifier, &token).await?;
            ensure!(verdict.is_ok(), "{turn}, {key}: {verdict:?}");
        }
    }
    Ok(())
}
