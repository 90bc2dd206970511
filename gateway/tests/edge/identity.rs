//! Who is let in to services of somebody else: by the rules of their contract, or with any token where there is none.

use std::time::Duration;

use auth::{IssuerConfig, KeySource, Verifier};
use bytes::Bytes;
use chassis::{clock::SystemClock, tls::ClientTls};
use gateway::{Config, Edge, Upstreams};
use http::StatusCode;
use world::{AUDIENCE, ISSUER, Issuer, PATIENCE, claims};

use crate::{
    foreign::{compiled, contract, encoded},
    upstream::{Upstream, echo},
    world::{World, json, reason},
};

/// A contract with a rule for one of its two methods.
fn described(scope: &str) -> Bytes {
    let rpc = |name: &str, rule: &str| {
        let route = format!("get: \"/v1/{}\"", name.to_lowercase());
        format!("rpc {name}(M) returns (M) {{ option (google.api.http) = {{{route}}}; {rule} }}")
    };
    let rule = format!("option (ordermesh.auth.v1.rule) = {{scope: \"{scope}\", owner: \"a\"}};");
    let service = format!("service Things {{ {} {} }}", rpc("Ruled", &rule), rpc("Unruled", ""));
    let contract = contract("things.v1", "import \"ordermesh/auth/v1/rule.proto\";", &service);
    encoded(compiled(&[("things.proto", contract)]).into_values())
}

fn config(upstream: &Upstream, scope: &str, foreign: Option<Vec<String>>) -> Config {
    let upstreams = Upstreams::One(upstream.url().as_str().into());
    Config { descriptor_set: described(scope), upstreams, foreign, ..Config::default() }
}

/// What verifies the tokens of this issuer.
pub(crate) fn verifier(issuer: &Issuer) -> Verifier {
    aging(issuer, Duration::from_secs(3_600))
}

/// The same, with keys that are good for so long after they were last seen.
pub(crate) fn aging(issuer: &Issuer, max_age: Duration) -> Verifier {
    let config = IssuerConfig {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        keys: KeySource::Url(issuer.jwks_url().parse().expect("a URL")),
        algorithms: vec!["ES256".parse().expect("a name")],
        scope_claim: "scope".to_owned(),
        max_age,
        tls: ClientTls::default(),
    };
    Verifier::new(config, SystemClock::shared()).expect("TLS")
}

#[tokio::test]
async fn a_route_without_a_rule_wants_any_token_and_one_with_a_rule_its_scope() {
    let issuer = Issuer::start().await.expect("an issuer");
    let verifier = verifier(&issuer);
    let token = async |scope| issuer.token("first", &claims("alice", scope, 600)).await.expect("a token");
    let (none, read) = (token("").await, token("things:read").await);
    let upstream = Upstream::start(async |call| echo(&call)).await;
    // Of one's own descriptors, and of those that somebody else wrote.
    for foreign in [None, Some(Vec::new())] {
        let config = Config { issuer: Some(verifier.clone()), ..config(&upstream, "things:read", foreign) };
        let world = World::with(config).await;
        for (path, token, status, why) in [
            ("/v1/unruled?a=x", None, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
            ("/v1/unruled?a=x", Some("what"), StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
            ("/v1/unruled?a=x", Some(none.as_str()), StatusCode::OK, ""),
            ("/v1/ruled?a=x", None, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"),
            ("/v1/ruled?a=x", Some(none.as_str()), StatusCode::FORBIDDEN, "SCOPE_MISSING"),
            ("/v1/ruled?a=x", Some(read.as_str()), StatusCode::OK, ""),
            ("/v1/absent", None, StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND"),
        ] {
            let before = upstream.calls().len();
            let request = world.request("GET", path);
            let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
            let body = json(request.send().await.expect("an answer"), status).await;
            assert_eq!(reason(&body), why, "{path}");
            let calls = upstream.calls();
            assert_eq!(
                calls.len() - before,
                usize::from(status == StatusCode::OK),
                "{path}: before any call"
            );
            if let (StatusCode::OK, Some(token), Some(call)) = (status, token, calls.last()) {
                let sent = call.metadata.get("authorization").and_then(|value| value.to_str().ok());
                assert_eq!(sent, Some(format!("Bearer {token}").as_str()), "the service verifies it too");
            }
        }
    }
}

#[tokio::test]
async fn without_an_issuer_nobody_is_asked_and_the_documents_say_so() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::with(config(&upstream, "things:read", None)).await;
    json(world.get("/v1/ruled").await, StatusCode::OK).await;
    let document = json(world.get("/openapi.json").await, StatusCode::OK).await;
    let security = |path: &str| document["paths"][path]["get"]["security"].clone();
    assert_eq!(security("/v1/ruled"), serde_json::json!([{}, { "bearer": ["things:read"] }]));
    assert_eq!(security("/v1/unruled"), serde_json::json!([{}, { "bearer": [] }]));
    json(world.get("/.well-known/jwks.json").await, StatusCode::NOT_FOUND).await;
}

#[tokio::test]
async fn a_rule_that_cannot_be_followed_stops_the_start() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let error = Edge::from_config(config(&upstream, "two words", None)).err().map(|error| error.to_string());
    let error = error.expect("it stops the start");
    assert!(error.contains("things.v1.Things.Ruled has a rule without a scope"), "{error}");
}

#[tokio::test]
async fn before_any_key_was_read_callers_learn_to_come_again() {
    let issuer = Issuer::start().await.expect("an issuer");
    issuer.away(true).await.expect("it obeys");
    let verifier = verifier(&issuer);
    let token = issuer.token("first", &claims("alice", "", 600)).await.expect("a token");
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world =
        World::with(Config { issuer: Some(verifier), ..config(&upstream, "things:read", None) }).await;
    let ask = async || {
        let request = world.request("GET", "/v1/unruled?a=x").bearer_auth(&token);
        request.send().await.expect("an answer")
    };
    let refused = ask().await;
    assert!(
        refused.headers().contains_key("retry-after") && !refused.headers().contains_key("www-authenticate")
    );
    let error = json(refused, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(reason(&error), "ISSUER_UNAVAILABLE");
    // Who has no token is at fault all the same.
    json(world.get("/v1/unruled?a=x").await, StatusCode::UNAUTHORIZED).await;
    issuer.away(false).await.expect("it obeys");
    let again = async { while ask().await.status() != StatusCode::OK {} };
    tokio::time::timeout(PATIENCE, again).await.expect("the keys are read");
}
