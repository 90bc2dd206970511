//! The documents of contracts whose names are alike, and of resource names in paths, and where they say that the server is.

use std::collections::BTreeSet;

use gateway::{Config, Upstreams};
use http::StatusCode;
use serde_json::Value;

use crate::{
    foreign::{compiled, contract, encoded, rpc},
    upstream::{Upstream, echo},
    world::{World, json, shapes},
};

async fn world() -> World {
    let service = |path: &str| {
        let rules = [
            rpc(
                "Get",
                &format!("get: \"/{path}/{{a=shelves/*}}\" additional_bindings {{ get: \"/{path}\" }}"),
            ),
            rpc("Get_1", &format!("get: \"/{path}/{{a=shelves/*/books/*}}\"")),
            rpc("Rest", &format!("get: \"/{path}/files/{{a=**}}\"")),
        ];
        format!("service Shop {{ {} }}", rules.concat())
    };
    let files = compiled(&[
        ("one.proto", contract("shop.v1", "", &service("v1"))),
        ("two.proto", contract("shop.v2", "", &service("v2"))),
        (
            "other.proto",
            contract("depot.v1", "", &format!("service Depot {{ {} }}", rpc("Get", "get: \"/depot\""))),
        ),
    ]);
    let upstream = Upstream::start(async |call| echo(&call)).await;
    World::with(Config {
        descriptor_set: encoded(files.into_values()),
        foreign: Some(Vec::new()),
        upstreams: Upstreams::One(upstream.url().into()),
        ..Config::builtin("http://unused", "http://unused")
    })
    .await
}

async fn document(world: &World, path: &str) -> Value {
    let response = world.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    serde_json::from_str(&response.text().await.expect("a body")).expect("JSON")
}

fn operations(document: &Value) -> Vec<&Value> {
    let paths = document["paths"].as_object().expect("paths").values();
    paths.flat_map(|path| path.as_object().expect("operations").values()).collect()
}

#[tokio::test]
async fn versions_of_a_service_have_ids_and_documents_of_their_own() {
    let world = world().await;
    let all = document(&world, "/openapi.json").await;
    let ids: Vec<&str> =
        operations(&all).iter().map(|one| one["operationId"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), 9, "{ids:?}");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 9, "{ids:?}");
    assert!(ids.contains(&"shop_v1_Shop_Get") && ids.contains(&"Depot_Get"), "{ids:?}");
    for (name, prefix) in [("shop.v1", "/v1"), ("shop.v2", "/v2"), ("depot", "/depot")] {
        let own = document(&world, &format!("/openapi/{name}.json")).await;
        let paths = own["paths"].as_object().expect("paths");
        assert!(!paths.is_empty() && paths.keys().all(|path| path.starts_with(prefix)), "{name}: {paths:?}");
    }
}

#[tokio::test]
async fn each_segment_of_a_resource_name_is_a_parameter() {
    let world = world().await;
    let document = document(&world, "/openapi.json").await;
    let paths = &document["paths"];
    for (path, names) in [
        ("/v1/shelves/{shelf}", &["shelf"][..]),
        ("/v1/shelves/{shelf}/books/{book}", &["shelf", "book"]),
        ("/v1/files/{a}", &["a"]),
    ] {
        let parameters =
            paths[path]["get"]["parameters"].as_array().unwrap_or_else(|| panic!("{path} in {paths}"));
        let found: Vec<&Value> =
            parameters.iter().filter(|one| one["in"] == "path").map(|one| &one["name"]).collect();
        assert_eq!(found, names, "{path}");
        assert!(parameters.iter().all(|one| one["name"] != "a" || names == ["a"]), "{path}: {parameters:?}");
    }
    // As a client of the document asks.
    let book = world.get("/v1/shelves/s%2F1/books/b").await;
    assert_eq!(book.text().await.expect("a body"), r#"{"a":"shelves/s%2F1/books/b"}"#);
}

/// The URL of the server in a document that is asked for with these headers.
async fn server(world: &World, path: &str, headers: &[(&str, &str)]) -> String {
    let request = world.request("GET", path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let document = json(request.send().await.expect("the edge answers"), StatusCode::OK).await;
    document["servers"][0]["url"].as_str().expect("a URL").to_owned()
}

#[tokio::test]
async fn a_document_names_the_server_that_its_client_called() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    for path in ["/openapi.json", "/openapi/shapes.json"] {
        assert_eq!(server(&world, path, &[]).await, world.url, "{path}");
        assert_eq!(server(&world, path, &[("host", "api.example:81")]).await, "http://api.example:81");
    }
    // Whoever is in the way may be called by another name.
    let forwarded = [("x-forwarded-proto", "https"), ("host", "inside")];
    assert_eq!(server(&world, "/openapi.json", &forwarded).await, ".");
    assert_eq!(server(&world, "/openapi/shapes.json", &forwarded).await, "..");
}

#[tokio::test]
async fn behind_a_trusted_proxy_it_is_the_proxy() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    let world = World::with(Config { trusted_proxies, ..shapes(&upstream.url()) }).await;
    for (headers, url) in [
        (&[("x-forwarded-proto", "https"), ("x-forwarded-host", "api.example")][..], "https://api.example"),
        (&[("x-forwarded-prefix", "/shop/"), ("host", "h")], "http://h/shop"),
        (&[("forwarded", "for=192.0.2.1;proto=https;host=\"api.example:444\"")], "https://api.example:444"),
        (&[("x-forwarded-host", "a.example, b.example")], "http://a.example"),
        (&[("x-forwarded-host", "a b")], "."),
        (&[("x-forwarded-prefix", "//evil.example\"")], "."),
        (&[("x-forwarded-host", "user@a.example")], "."),
    ] {
        assert_eq!(server(&world, "/openapi.json", headers).await, url, "{headers:?}");
    }
}

/// A prefix in front of all is none of the edge's business: nothing that it links to has it.
#[tokio::test]
async fn pages_find_their_documents_below_a_prefix() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = World::of_shapes(&upstream).await;
    let pages = world.get("/swagger/swagger-initializer.js").await.text().await.expect("a script");
    assert!(pages.contains("\"../openapi/shapes.json?server=relative\""), "{pages}");
    assert_eq!(server(&world, "/openapi/shapes.json?server=relative", &[]).await, "..");
    assert_eq!(server(&world, "/openapi.json?server=relative", &[]).await, ".");
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    for (path, to) in [("/swagger", "swagger/index.html"), ("/swagger/", "index.html")] {
        let response = client.get(format!("{}{path}", world.url)).send().await.expect("the edge answers");
        assert_eq!(
            (response.status(), &response.headers()["location"]),
            (StatusCode::PERMANENT_REDIRECT, &to.parse().expect("a value")),
            "{path}"
        );
    }
}
