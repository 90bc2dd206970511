//! Requests and answers that are a well-known type themselves: what the edge prints it reads.

use std::fmt::Write as _;

use gateway::{Config, Upstreams};
use http::StatusCode;

use crate::{
    foreign::{compiled, contract, encoded},
    upstream::{Upstream, echo},
    world::{World, json, reason},
};

/// Each type with texts that are printed as they are read, and with some that are none of its own.
const TYPES: [(&str, &[&str], &[&str]); 17] = [
    ("Struct", &["{}", r#"{"a":null}"#, r#"{"a":[1.0,{"b":"c"}]}"#], &["[]", "1"]),
    ("Value", &["null", "1.5", r#""x""#, "[true]", r#"{"a":1.0}"#], &["nothing"]),
    ("ListValue", &["[]", r#"[null,{"a":[]}]"#], &["{}", "1"]),
    ("Any", &["{}", r#"{"@type":"type.googleapis.com/wholes.v1.M","a":"x"}"#], &["[]", r#"{"a":"x"}"#]),
    ("Empty", &["{}"], &["[]", r#"{"a":1}"#]),
    ("Timestamp", &[r#""1970-01-01T00:00:00Z""#, r#""2024-02-29T11:00:00.500Z""#], &["0", r#""today""#]),
    ("Duration", &[r#""0s""#, r#""-1.500s""#], &["1", r#""1""#]),
    ("FieldMask", &[r#""""#, r#""a,bC.dE""#], &["[]", r#""b_c""#]),
    ("DoubleValue", &["0.0", "-0.0", r#""NaN""#], &[r#""inf""#, "{}"]),
    ("FloatValue", &["3.4028235e+38", r#""-Infinity""#], &["1e39"]),
    ("Int64Value", &[r#""0""#, r#""-9223372036854775808""#], &["1.5", "9223372036854775808"]),
    ("UInt64Value", &[r#""18446744073709551615""#], &["18446744073709551616", "-1"]),
    ("Int32Value", &["0", "-1"], &["2147483648"]),
    ("UInt32Value", &["4294967295"], &["-1"]),
    ("BoolValue", &["false", "true"], &["0", r#""true""#]),
    ("StringValue", &[r#""""#, r#""é""#], &["1"]),
    ("BytesValue", &[r#""""#, r#""/+8=""#], &[r#""*""#]),
];

/// An edge before a service that answers each of them with itself.
async fn world(upstream: &Upstream) -> World {
    let imports = ["any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers"]
        .map(|file| format!("import \"google/protobuf/{file}.proto\";"));
    let mut service = "service S {".to_owned();
    for (name, ..) in TYPES {
        let rule = format!("option (google.api.http) = {{ post: \"/{name}\" body: \"*\" }};");
        let of = format!("google.protobuf.{name}");
        write!(service, "rpc Echo{name}({of}) returns ({of}) {{ {rule} }}").expect("memory");
    }
    service.push('}');
    let files = compiled(&[("wholes.proto", contract("wholes.v1", &imports.concat(), &service))]);
    World::with(Config {
        descriptor_set: encoded(files.into_values()),
        upstreams: Upstreams::One(upstream.url().into()),
        ..Config::default()
    })
    .await
}

#[tokio::test]
async fn what_is_printed_of_a_well_known_type_is_read_as_one() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = world(&upstream).await;
    for (name, texts, _) in TYPES {
        // By its route, and by its name in the Connect protocol.
        for path in [format!("/{name}"), format!("/wholes.v1.S/Echo{name}")] {
            for text in texts {
                let answer = world.send("POST", &path, text).await;
                let status = answer.status();
                let printed = answer.text().await.expect("a body");
                assert_eq!((status, printed.as_str()), (StatusCode::OK, *text), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_text_of_a_well_known_type_is_refused() {
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let world = world(&upstream).await;
    for (name, _, texts) in TYPES {
        for text in texts {
            let refused = world.send("POST", &format!("/{name}"), text).await;
            let error = json(refused, StatusCode::BAD_REQUEST).await;
            assert_eq!(reason(&error), "MALFORMED_REQUEST", "{name} {text}");
        }
    }
    assert!(upstream.calls().is_empty(), "nobody is called");
}
