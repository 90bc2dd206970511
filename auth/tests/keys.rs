//! Sets of keys with some that cannot be used: those that can are in force, and without any nobody is ready to let somebody in.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use auth::{Check, IssuerConfig, KeySource, Refusal, Verifier};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chassis::{
    clock::SystemClock,
    lifecycle::Lifecycle,
    readiness::{Readiness, Report, State},
    tls::ClientTls,
};
use http::HeaderMap;
use serde_json::{Value, json};
use world::{AUDIENCE, ISSUER, Issuer, PATIENCE, Scratch, claims, eventually};

/// A verifier of tokens of these algorithms by the keys of a file.
fn verifier(file: &Path, algorithms: &[&str]) -> Result<Verifier> {
    let config = IssuerConfig {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        keys: KeySource::File(file.to_owned()),
        algorithms: algorithms.iter().map(|name| name.parse()).collect::<Result<_, _>>()?,
        scope_claim: "scope".to_owned(),
        max_age: Duration::from_secs(3_600),
        tls: ClientTls::default(),
    };
    Ok(Verifier::new(config, SystemClock::shared())?)
}

/// What the process says of itself once it has read its keys.
async fn read(readiness: &Readiness) -> Result<Report> {
    eventually("the first look at the keys", PATIENCE, async || {
        let report = readiness.now();
        let state = report.parts.get("issuer").context("the part")?;
        ensure!(!state.reason().is_some_and(|reason| reason.contains("not been read yet")), "{state:?}");
        anyhow::Ok(report)
    })
    .await
}

fn bearer(token: &str) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse()?);
    Ok(headers)
}

async fn refusal(verifier: &Verifier, token: &str) -> Result<Option<Refusal>> {
    Ok(verifier.caller(&bearer(token)?).await.err())
}

/// The keys that an issuer publishes, the first of these first.
async fn published(issuer: &Issuer, kids: &[&str]) -> Result<Vec<Value>> {
    issuer.publish(kids).await?;
    let api = world::Api::new(issuer.jwks_url().trim_end_matches("/jwks.json"))?;
    Ok(api.get("/jwks.json").await?.body["keys"].as_array().context("keys")?.clone())
}

/// Publishes these keys in a file, all with this id.
fn write(file: &Path, id: &str, keys: &[&Value]) -> Result<()> {
    let with_id = |key: &&Value| {
        let mut key = Value::clone(key);
        key["kid"] = json!(id);
        key
    };
    let keys: Vec<Value> = keys.iter().map(with_id).collect();
    // Whole, whenever it is read.
    let part = file.with_extension("part");
    fs::write(&part, json!({ "keys": keys }).to_string())?;
    Ok(fs::rename(part, file)?)
}

#[tokio::test]
async fn without_a_key_that_can_be_used_nobody_is_ready() -> Result<()> {
    let (issuer, scratch) = (Issuer::start().await?, Scratch::new("jwks")?);
    let file = scratch.path().join("jwks.json");
    let token = issuer.token("first", &claims("alice", "orders:read", 600)).await?;
    let published = world::Api::new(issuer.jwks_url().trim_end_matches("/jwks.json"))?;
    let good = published.get("/jwks.json").await?.body["keys"][0].clone();
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    let unknown = json!({ "kty": "AKP", "kid": "new", "alg": "ML-DSA-44", "pub": "AAAA" });
    let of_number = with("kid", json!(5));
    for (what, keys) in [
        ("no key", vec![]),
        ("an unknown type", vec![unknown.clone()]),
        ("for encryption", vec![with("use", json!("enc"))]),
        ("for something else", vec![with("use", json!("tls"))]),
        ("no part", vec![with("y", Value::Null)]),
        ("no point", vec![with("y", good["x"].clone())]),
        ("two of them", vec![unknown.clone(), of_number.clone()]),
    ] {
        fs::write(&file, json!({ "keys": keys }).to_string())?;
        let (verifier, mut life) = (verifier(&file, &["ES256"])?, Lifecycle::new());
        let report = read(&Readiness::start(vec![verifier.part()], &mut life)).await?;
        ensure!(!report.is_ready(), "{what}: {report:?}");
        let State::Failed(reason) = &report.parts["issuer"] else { anyhow::bail!("{what}: {report:?}") };
        ensure!(reason.contains("no key that verifies"), "{what}: {reason}");
        // The token may be right: there is nothing that it could be verified with.
        ensure!(refusal(&verifier, &token).await? == Some(Refusal::NoKeys), "{what}");
    }
    // A key for tokens that are not let in is of no use either.
    fs::write(&file, json!({ "keys": [good] }).to_string())?;
    let (strict, mut life) = (verifier(&file, &["RS256"])?, Lifecycle::new());
    ensure!(!read(&Readiness::start(vec![strict.part()], &mut life)).await?.is_ready());
    // Beside one that can be used the others change nothing.
    fs::write(&file, json!({ "keys": [unknown, of_number, good, "key"] }).to_string())?;
    let (verifier, mut life) = (verifier(&file, &["ES256"])?, Lifecycle::new());
    let report = read(&Readiness::start(vec![verifier.part()], &mut life)).await?;
    ensure!(report.is_ready() && report.parts["issuer"] == State::Ok, "{report:?}");
    ensure!(refusal(&verifier, &token).await?.is_none(), "the good key is in force");
    Ok(())
}

#[tokio::test]
async fn a_set_that_becomes_useless_lets_nobody_in() -> Result<()> {
    let (issuer, scratch) = (Issuer::start().await?, Scratch::new("jwks")?);
    let file = scratch.path().join("jwks.json");
    issuer.make("other", "ES256").await?;
    issuer.make("rsa", "RS256").await?;
    let keys = published(&issuer, &["first", "rsa"]).await?;
    let good = issuer.token("first", &claims("alice", "orders:read", 600)).await?;
    // The first token of a key that is not known has the keys looked at.
    let unknown = issuer.token("other", &claims("alice", "orders:read", 600)).await?;
    let (first, rsa) = (&keys[0], &keys[1]);
    let mut encrypting = first.clone();
    encrypting["use"] = json!("enc");
    write(&file, "first", &[first])?;
    let (verifier, mut life) = (verifier(&file, &["ES256"])?, Lifecycle::new());
    let readiness = Readiness::start(vec![verifier.part()], &mut life);
    ensure!(read(&readiness).await?.is_ready());
    for (what, useless) in [("no key", &[][..]), ("for encryption", &[&encrypting]), ("not let in", &[rsa])] {
        ensure!(refusal(&verifier, &good).await?.is_none(), "before: {what}");
        write(&file, "first", useless)?;
        ensure!(refusal(&verifier, &unknown).await? == Some(Refusal::NoKeys), "{what}");
        ensure!(refusal(&verifier, &good).await? == Some(Refusal::NoKeys), "{what}, verified before");
        let report = eventually("a part that is not ready", PATIENCE, async || {
            let report = readiness.now();
            ensure!(!report.is_ready(), "{what}: {report:?}");
            anyhow::Ok(report)
        })
        .await?;
        let reason = report.parts["issuer"].reason().context("a reason")?.to_owned();
        ensure!(reason.contains("no key that verifies"), "{what}: {reason}");
        write(&file, "first", &[first])?;
        ensure!(refusal(&verifier, &unknown).await? == Some(Refusal::Token(Check::Key)), "after: {what}");
    }
    Ok(())
}

#[tokio::test]
async fn keys_of_one_id_are_all_tried() -> Result<()> {
    let (issuer, scratch) = (Issuer::start().await?, Scratch::new("jwks")?);
    let file = scratch.path().join("jwks.json");
    issuer.make("second", "ES256").await?;
    issuer.make("third", "ES256").await?;
    let keys = published(&issuer, &["first", "second", "third"]).await?;
    let token = async |key: &'static str| {
        let claims = claims("alice", "orders:read", 600);
        issuer.token_with(key, &claims, &json!({ "kid": "shared" })).await
    };
    write(&file, "shared", &[&keys[0], &keys[1]])?;
    let verifier = verifier(&file, &["ES256"])?;
    for key in ["first", "second"] {
        ensure!(refusal(&verifier, &token(key).await?).await?.is_none(), "{key}");
    }
    let third = token("third").await?;
    ensure!(
        refusal(&verifier, &third).await? == Some(Refusal::Token(Check::Signature)),
        "it is none of them"
    );
    // A key that has taken the place of another one under its id is looked for with its first token.
    write(&file, "shared", &[&keys[2]])?;
    ensure!(refusal(&verifier, &third).await?.is_none(), "its key is there now");
    ensure!(refusal(&verifier, &token("first").await?).await? == Some(Refusal::Token(Check::Signature)));
    Ok(())
}

/// As its issuer may write it by RFC 9864, in a file of an editor that begins with a byte order mark.
#[tokio::test]
async fn a_key_of_the_newer_name_is_one_for_eddsa() -> Result<()> {
    let scratch = Scratch::new("jwks")?;
    let file = scratch.path().join("jwks.json");
    let key = Ed25519KeyPair::generate()?;
    let public = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "Ed25519", "kid": "new", "x": public });
    fs::write(&file, format!("\u{feff}{}", json!({ "keys": [jwk] })))?;
    let verifier = verifier(&file, &["EdDSA"])?;
    let signed = |head: Value, claims: &Value| {
        let message = [&head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()));
        bearer(&format!("{message}.{signature}"))
    };
    let mut claims = claims("alice", "orders:read", 600);
    // The second one expires in more years than any timer has.
    for expires in [claims["exp"].clone(), json!(u64::MAX)] {
        claims["exp"] = expires;
        let token = signed(json!({ "alg": "EdDSA", "kid": "new" }), &claims)?;
        let (caller, validity) = verifier.admit(&token, None).await?;
        ensure!(&*caller.subject == "alice", "{claims}: {caller:?}");
        let ended = tokio::time::timeout(Duration::from_millis(100), validity.ended()).await;
        ensure!(ended.is_err(), "{claims}: {ended:?}");
    }
    // An extension that has to be understood, and claims that are not what they seem (RFC 7797).
    for more in [json!({ "crit": ["x"], "x": 1 }), json!({ "crit": ["b64"], "b64": false })] {
        let mut head = json!({ "alg": "EdDSA", "kid": "new" });
        for (name, value) in more.as_object().into_iter().flatten() {
            head[name] = value.clone();
        }
        let refused = verifier.admit(&signed(head, &claims)?, None).await.err();
        ensure!(refused == Some(Refusal::Token(Check::Form)), "{more}: {refused:?}");
    }
    Ok(())
}
