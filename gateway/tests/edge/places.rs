//! What is at `/`, and the catalogue of errors.

use chassis::status::Reason;
use gateway::Config;
use http::StatusCode;
use serde_json::Value;

use crate::{
    foreign::{compiled, contract, encoded, rpc},
    upstream::{Upstream, echo},
    world::{World, json, reason, shapes},
};

#[tokio::test]
async fn the_root_says_what_this_is() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let root = json(world.get("/").await, StatusCode::OK).await;
    for (what, path) in
        [("openapi", "/openapi.json"), ("documentation", "/swagger/index.html"), ("errors", "/errors/")]
    {
        assert_eq!(root[what], path[1..], "{root}");
        assert_eq!(world.get(path).await.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(root["documents"]["shapes"], "openapi/shapes.json", "{root}");
    let page =
        world.request("GET", "/").header("accept", "text/html,*/*;q=0.8").send().await.expect("a page");
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(
        page.headers()["content-security-policy"].to_str().expect("text").starts_with("default-src 'none'")
    );
    let page = page.text().await.expect("a page");
    assert!(page.contains("<a href=\"openapi/shapes.json\">"), "{page}");
    let rather_json = "application/json, text/html;q=0.5";
    let rather_json = world.request("GET", "/").header("accept", rather_json).send().await.expect("JSON");
    assert_eq!(rather_json.headers()["content-type"], "application/json");
    let head = world.send("HEAD", "/", "").await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(world.send("POST", "/", "").await.status(), StatusCode::METHOD_NOT_ALLOWED);
    // Every protocol that is spoken, for people and for programs.
    for text in [root["description"].as_str().expect("text"), &page] {
        for protocol in ["HTTP/JSON", "gRPC", "gRPC-Web", "Connect"] {
            assert!(text.contains(protocol), "{protocol} in {text}");
        }
    }
}

#[tokio::test]
async fn every_reason_is_described_where_its_problem_details_say() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let list = json(world.get("/errors/").await, StatusCode::OK).await;
    let all: Vec<&Value> =
        list["errors"].as_array().expect("a list").iter().map(|one| &one["reason"]).collect();
    assert_eq!(all, Reason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>());
    for reason in Reason::ALL {
        let path = format!("/errors/{}", reason.as_str());
        let entry = json(world.get(&path).await, StatusCode::OK).await;
        assert_eq!(
            (&entry["reason"], &entry["http"]),
            (&reason.as_str().into(), &reason.http().as_u16().into())
        );
        assert_eq!(entry["example"]["error"]["details"][0]["reason"], reason.as_str(), "{entry}");
        assert!(entry["cause"].as_str().is_some_and(|cause| cause.ends_with('.')), "{entry}");
        let page = world.request("GET", &path).header("accept", "text/html").send().await.expect("a page");
        assert!(
            page.text().await.expect("a page").contains(&format!("<h1>{}</h1>", reason.as_str())),
            "{path}"
        );
    }
    for (reason, retry) in
        [("RATE_LIMITED", "later"), ("OUTCOME_UNKNOWN", "with-key"), ("ORDER_NOT_FOUND", "never")]
    {
        assert_eq!(json(world.get(&format!("/errors/{reason}")).await, StatusCode::OK).await["retry"], retry);
    }
    // Links of the list are relative.
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let response = client.get(format!("{}/errors", world.url)).send().await.expect("the edge answers");
    assert_eq!(response.headers()["location"], "errors/");
    let failed = world.request("GET", "/v1/shapes?nope=1").header("accept", "application/problem+json");
    let failed = json(failed.send().await.expect("the edge answers"), StatusCode::BAD_REQUEST).await;
    assert_eq!(failed["type"], "/errors/MALFORMED_REQUEST");
    assert_eq!(world.get("/errors/NOPE").await.status(), StatusCode::NOT_FOUND);
}

/// Those of our own services: of others nobody knows any.
#[tokio::test]
async fn the_events_are_described_where_they_are_ours() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let document = json(World::of(&upstream).await.get("/asyncapi.json").await, StatusCode::OK).await;
    assert_eq!(document["asyncapi"], "3.0.0", "{document}");
    let of_others = World::of_shapes(&upstream).await;
    assert_eq!(of_others.get("/asyncapi.json").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn routes_of_a_contract_come_first() {
    let rules = [
        rpc("Api", "get: \"/openapi.json\" additional_bindings { post: \"/openapi/s.json\" body: \"*\" }"),
        rpc("Swagger", "get: \"/swagger/{a}\""),
        rpc("Root", "get: \"/\""),
        rpc("Error", "get: \"/errors/{a}\""),
        rpc("Events", "get: \"/asyncapi.json\" additional_bindings { post: \"/asyncapi.json\" body: \"*\" }"),
    ];
    let files =
        compiled(&[("s.proto", contract("s.v1", "", &format!("service S {{ {} }}", rules.concat())))]);
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let config = Config { descriptor_set: encoded(files.into_values()), ..shapes(&upstream.url()) };
    let config = Config { foreign: Some(Vec::new()), ..config };
    // With layers around everything, too.
    for compress in [false, true] {
        let world = World::with(Config { compress, ..config.clone() }).await;
        let read = world.get("/asyncapi.json?a=x").await;
        assert_eq!(read.text().await.expect("a body"), r#"{"a":"x"}"#);
        let written = world.send("POST", "/asyncapi.json", r#"{"a":"y"}"#).await;
        assert_eq!(written.text().await.expect("a body"), r#"{"a":"y"}"#);
        let document = world.get("/openapi.json?a=x").await;
        assert_eq!(document.text().await.expect("a body"), r#"{"a":"x"}"#);
        let page = world.get("/swagger/index.html").await;
        assert_eq!(page.text().await.expect("a body"), r#"{"a":"index.html"}"#);
        assert_eq!(world.send("HEAD", "/openapi.json", "").await.status(), StatusCode::OK);
        // A path is a route's in every way.
        let written = world.send("POST", "/openapi/s.json", r#"{"a":"y"}"#).await;
        assert_eq!(written.text().await.expect("a body"), r#"{"a":"y"}"#);
        for (method, path, allow) in
            [("GET", "/openapi/s.json", "OPTIONS, POST"), ("POST", "/openapi.json", "GET, HEAD, OPTIONS")]
        {
            let refused = world.send(method, path, "{}").await;
            assert_eq!(refused.headers()["allow"], allow, "{method} {path}");
            let refused = json(refused, StatusCode::METHOD_NOT_ALLOWED).await;
            assert_eq!(reason(&refused), "METHOD_NOT_ALLOWED", "{method} {path}");
        }
    }
    let world = World::with(config).await;
    assert_eq!(world.get("/?a=root").await.text().await.expect("a body"), r#"{"a":"root"}"#);
    assert_eq!(
        world.get("/errors/RATE_LIMITED").await.text().await.expect("a body"),
        r#"{"a":"RATE_LIMITED"}"#
    );
    assert_eq!(world.get("/errors/").await.status(), StatusCode::OK);
}
