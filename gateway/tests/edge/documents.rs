//! The documents of contracts whose names are alike, and of resource names in paths.

use std::collections::BTreeSet;

use gateway::{Config, Upstreams};
use serde_json::Value;

use crate::{
    foreign::{compiled, contract, encoded, rpc},
    upstream::{Upstream, echo},
    world::World,
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
