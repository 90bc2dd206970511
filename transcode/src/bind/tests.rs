//! Tests of binding: every kind of parameter, body and error.

use serde_json::{Value as Json, json};

use super::*;
use crate::{bind::report::RequestErrorKind, fixture, reflect::print};

fn printed(message: &DynamicMessage) -> Json {
    serde_json::from_slice(&print::message(message, usize::MAX).expect("has a JSON form")).expect("is JSON")
}

struct Case<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    body: &'a str,
    key: Option<&'a str>,
    lenient: bool,
}

const GET: Case<'_> =
    Case { method: "GET", path: "/v1/shapes", query: "", body: "", key: None, lenient: false };
const POST: Case<'_> = Case { method: "POST", path: "/v1/shapes/a", ..GET };

impl Case<'_> {
    fn bind(&self) -> Result<(Json, Vec<String>), RequestError> {
        let (route, captures) = fixture::route(self.method, self.path);
        let input = Input {
            captures,
            query: self.query,
            body: self.body.as_bytes(),
            idempotency_key: self.key,
            ..Input::default()
        };
        let (message, ignored) = bind(&route, &input, self.lenient)?;
        Ok((printed(&message), ignored))
    }

    fn is(&self, expected: &Json) {
        assert_eq!(&self.bind().expect("binds").0, expected, "{} {} {}", self.path, self.query, self.body);
    }

    fn fails(&self, kind: RequestErrorKind, expected: &[(&str, &str)]) {
        let error = self.bind().expect_err("does not bind");
        let violations: Vec<(&str, &str)> =
            error.violations.iter().map(|at| (at.field.as_str(), at.description.as_str())).collect();
        assert_eq!(violations, expected);
        assert_eq!(error.kind, kind);
    }
}

#[test]
fn query_parameters_of_every_kind_are_read() {
    for (query, expected) in [
        ("text=a+b%26c%2B&snake_case_name=x", json!({"text": "a b&c+", "snakeCaseName": "x"})),
        ("snakeCaseName=x", json!({"snakeCaseName": "x"})),
        ("i32=-5&i64=-9223372036854775808", json!({"i32": -5, "i64": "-9223372036854775808"})),
        (
            "u32=4294967295&u64=18446744073709551615",
            json!({"u32": 4294967295u32, "u64": "18446744073709551615"}),
        ),
        ("s64=-1&f32=7", json!({"s64": "-1", "f32": 7})),
        ("double=1.5e3&float=-Infinity", json!({"double": 1500.0, "float": "-Infinity"})),
        ("flag=true&data=_-8", json!({"flag": true, "data": "/+8="})),
        // As Go spells them, and so clients of grpc-gateway.
        ("flag=1&wrappedFlag=TRUE", json!({"flag": true, "wrappedFlag": true})),
        (
            "wrappedFlag=False&i64=1e3&wrapped_number=1e3&u64=1.0",
            json!({"wrappedFlag": false, "i64": "1000", "wrappedNumber": "1000", "u64": "1"}),
        ),
        // Google's clients name fields in a mask as the contract does.
        ("mask=snake_case_name,nested.deeper,bC", json!({"mask": "snakeCaseName,nested.deeper,bC"})),
        ("color=GREEN", json!({"color": "GREEN"})),
        ("color=2", json!({"color": "GREEN"})),
        ("color=77", json!({"color": 77})),
        ("numbers=1&numbers=2&words=a&words=", json!({"numbers": ["1", "2"], "words": ["a", ""]})),
        ("nested.text=a&nested.deeper.number=3", json!({"nested": {"text": "a", "deeper": {"number": 3}}})),
        ("nested.colors=RED&nested.colors=2", json!({"nested": {"colors": ["RED", "GREEN"]}})),
        ("at=2024-02-29T12:00:00.5%2B01:00", json!({"at": "2024-02-29T11:00:00.500Z"})),
        ("lasting=1.5s&mask=text,snakeCaseName", json!({"lasting": "1.500s", "mask": "text,snakeCaseName"})),
        (
            "wrappedNumber=7&wrapped_flag=false&wrapped_text=",
            json!({"wrappedNumber": "7", "wrappedFlag": false, "wrappedText": ""}),
        ),
        ("maybe=0&right=0", json!({"maybe": 0, "right": 0})),
        ("&text=a&&", json!({"text": "a"})),
        // Of every method, as Google's generated clients send them.
        ("%24alt=json;enum-encoding=int&$alt=json%3Benum-encoding%3Dint&text=a", json!({"text": "a"})),
        ("alt=json&prettyPrint=false&$prettyPrint=0&key=k&quotaUser=u&$.xgafv=2", json!({})),
    ] {
        Case { query, ..GET }.is(&expected);
    }
}

#[test]
fn query_parameters_that_do_not_fit_are_reported_all_at_once() {
    let query = "i32=2147483648&i64=x&u32=-1&double=inf&flag=yes&data=*&color=BLUE&at=today&lasting=1&wrapped_flag=yes\
                 &nested=a&counts=1&text=a&text=b&left=a&right=1&words=%ff&text%=x&object=x&i32.x=1&nope=1&items.text=a&float=1e39";
    Case { query, ..GET }.fails(
        RequestErrorKind::Unreadable,
        &[
            ("i32", "must be a 32-bit integer"),
            ("i64", "must be a 64-bit integer"),
            ("u32", "must be an unsigned 32-bit integer"),
            ("double", "must be a number"),
            ("flag", "must be true or false"),
            ("data", "must be base64"),
            ("color", "must be one of COLOR_UNSPECIFIED, RED, GREEN"),
            ("at", "must be a time such as 2024-01-01T00:00:00.5Z, with 9 digits of a second at most"),
            ("lasting", "must be seconds such as 1.5s, with 9 digits after the point at most"),
            ("wrappedFlag", "must be true or false"),
            ("nested", "is a message: name the field in it"),
            ("counts", "is a message: name the field in it"),
            ("text", "is given more than once"),
            ("right", "cannot be given together with left"),
            ("words", "is not UTF-8"),
            ("text%", "the name has a `%` without two hexadecimal digits"),
            ("object", "is a message: name the field in it"),
            ("i32.x", "is not a query parameter of this route"),
            ("nope", "is not a query parameter of this route"),
            ("items.text", "is not a query parameter of this route"),
            ("float", "must be a 32-bit number"),
        ],
    );
}

#[test]
fn a_body_of_every_kind_is_read() {
    let full = json!({
        "text": "a", "i32": 1, "i64": "2", "u32": 3, "u64": "4", "s64": "5", "f32": 6, "double": 1.5, "float": 2.5,
        "flag": true, "data": "AQI=", "color": "RED", "nested": {"text": "n", "deeper": {"number": 1}},
        "numbers": ["1", "2"], "words": ["x"], "items": [{"text": "i"}, {}], "counts": {"a": 1},
        "byId": {"7": {"text": "s"}}, "at": "2024-01-01T00:00:00Z", "lasting": "1s", "mask": "text",
        "wrappedNumber": "1", "wrappedFlag": false, "wrappedText": "w", "object": {"a": [1.0, null, {"b": "c"}]},
        "anything": null, "any": {"@type": "type.googleapis.com/shapes.v1.Nested", "number": 5}, "empty": {},  "maybe": 0, "both": {}, "requestId": "k", "snakeCaseName": "x",
    });
    let mut body = full.clone();
    // The one value of NullValue is its default, which is read and never printed.
    body["nothing"] = Json::Null;
    Case { body: &body.to_string(), ..POST }.is(&full);
    for (body, expected) in [
        ("", json!({"text": "a"})),
        ("{}", json!({"text": "a"})),
        // So generated clients spell that they were given no body.
        ("null", json!({"text": "a"})),
        (
            r#"{"snake_case_name": "x", "i64": 7, "u64": 1e3, "i32": "8", "color": 2}"#,
            json!({"text": "a", "snakeCaseName": "x", "i64": "7", "u64": "1000", "i32": 8, "color": "GREEN"}),
        ),
        (
            r#"{"i32": null, "numbers": null, "counts": null, "nested": null, "wrappedText": null, "left": null, "right": 1}"#,
            json!({"text": "a", "right": 1}),
        ),
    ] {
        Case { body, ..POST }.is(&expected);
    }
}

#[test]
fn one_field_of_the_request_can_be_the_body() {
    let part = Case { method: "PATCH", body: r#"{"number": 5}"#, ..POST };
    Case { query: "i32=1", ..part }.is(&json!({"text": "a", "nested": {"number": 5}, "i32": 1}));
    Case { query: "nested.text=b&text=a", ..part }.fails(
        RequestErrorKind::Unreadable,
        &[("nested.text", "is given by the body"), ("text", "is given by the path")],
    );
    Case { body: "[]", ..part }.fails(RequestErrorKind::Unreadable, &[("nested", "must be an object")]);
    Case { method: "PUT", path: "/v1/lists", body: "[1, \"2\"]", ..GET }.is(&json!({"numbers": ["1", "2"]}));
}

/// In the order of the body.
#[test]
fn a_body_that_does_not_fit_is_reported_all_at_once() {
    let body = r#"{"i64": 9223372036854775808, "u64": 1e300, "i32": 1.5, "flag": "true", "wrappedText": 5, "data": "!", "color": "BLUE",
        "nested": {"deeper": {"colors": ["RED", "PINK", 1.5], "nope": 1}}, "numbers": [1, null, "x"], "items": [{}, []], "counts": {"a": "b"},
        "byId": {"x": {}}, "words": "a", "nope": {}, "left": "l", "right": 1, "snakeCaseName": "a", "snake_case_name": "b",
        "text": "other", "object": []}"#;
    Case { body, ..POST }.fails(
        RequestErrorKind::Unreadable,
        &[
            ("i64", "must be a 64-bit integer"),
            ("u64", "must be an unsigned 64-bit integer"),
            ("i32", "must be a 32-bit integer"),
            ("flag", "must be true or false"),
            ("wrappedText", "must be a string"),
            ("data", "must be base64"),
            ("color", "must be one of COLOR_UNSPECIFIED, RED, GREEN"),
            ("nested.deeper.colors[1]", "must be one of COLOR_UNSPECIFIED, RED, GREEN"),
            ("nested.deeper.colors[2]", "must be one of COLOR_UNSPECIFIED, RED, GREEN"),
            ("nested.deeper.nope", "is not a field of Nested"),
            ("numbers[1]", "must be a 64-bit integer"),
            ("numbers[2]", "must be a 64-bit integer"),
            ("items[1]", "must be an object"),
            ("counts[\"a\"]", "must be a 32-bit integer"),
            ("byId[\"x\"]", "has a key of the wrong type"),
            ("words", "must be an array"),
            ("nope", "is not a field of Shape"),
            ("right", "cannot be given together with left"),
            ("snakeCaseName", "is given twice"),
            ("object", "must be an object"),
            ("text", "differs from the path"),
        ],
    );
}

#[test]
fn a_body_that_is_no_object_is_reported_as_a_whole() {
    for body in [
        "[]",
        "1",
        "\"a\"",
        "{",
        "{}x",
        "\u{0}",
        r#"{"i32": 1, "i32": 2}"#,
        &"[".repeat(10_000),
        &"{\"nested\":".repeat(10_000),
    ] {
        let error = Case { body, ..POST }.bind().expect_err("does not bind");
        assert_eq!((error.kind, error.violations[0].field.as_str()), (RequestErrorKind::Unreadable, "body"));
    }
    Case { body: "{}", ..GET }.fails(RequestErrorKind::Unreadable, &[("body", "this route has none")]);
}

#[test]
fn a_parameter_of_another_answer_than_json_is_unknown() {
    Case { query: "alt=media&$alt=proto", ..GET }.fails(
        RequestErrorKind::Unreadable,
        &[
            ("alt", "is not a query parameter of this route"),
            ("$alt", "is not a query parameter of this route"),
        ],
    );
}

#[test]
fn the_mask_of_a_patch_names_fields_in_either_spelling() {
    let patch = Case { method: "PATCH", path: "/v1/changes/a", body: "{}", ..POST };
    let masked = |query: &str| {
        let (route, captures) = fixture::route(patch.method, patch.path);
        let input = Input { captures, query, body: b"{}", ..Input::default() };
        let (message, _) = bind(&route, &input, false).expect("binds");
        let mask = message.get_field_by_name("update_mask").expect("a field");
        let paths =
            mask.as_message().expect("a message").get_field_by_name("paths").expect("a field").into_owned();
        let path = |path: &Value| path.as_str().expect("a text").to_owned();
        paths.as_list().expect("a list").iter().map(path).collect::<Vec<_>>()
    };
    let paths = ["snake_case_name", "line_1", "nested.deeper"];
    assert_eq!(masked("updateMask=snakeCaseName,line1,nested.deeper"), paths);
    assert_eq!(masked("update_mask=snake_case_name,line_1,nested.deeper"), paths);
    assert_eq!(masked("updateMask=otherName,some_name"), ["other_name", "some_name"]);
}

#[test]
fn path_variables_reach_nested_fields_and_numbers() {
    Case { path: "/v1/nested/a%2Fb", ..GET }.is(&json!({"nested": {"text": "a/b"}}));
    Case { path: "/v1/names/a/b%2Fc/d%20e", ..GET }.is(&json!({"text": "names/a/b%2Fc/d e"}));
    Case { path: "/v1/numbers/-5", ..GET }.is(&json!({"i64": "-5"}));
    Case { path: "/v1/numbers/x", query: "i32=y", ..GET }.fails(
        RequestErrorKind::Unreadable,
        &[("i32", "must be a 32-bit integer"), ("i64", "must be a 64-bit integer")],
    );
    Case { path: "/v1/nested/%ff", ..GET }
        .fails(RequestErrorKind::Unreadable, &[("nested.text", "is not UTF-8")]);
}

#[test]
fn a_lenient_edge_passes_over_unknown_names_only() {
    let lenient = Case { lenient: true, query: "nope=1", ..GET };
    assert_eq!(lenient.bind().expect("binds"), (json!({}), vec!["nope".to_owned()]));
    let body = r#"{"nope": {"x": [1]}, "nested": {"nope": 1, "colors": ["RED", "PINK"]}, "i32": 1}"#;
    let (message, ignored) = Case { lenient: true, body, ..POST }.bind().expect("binds");
    assert_eq!(message, json!({"text": "a", "nested": {"colors": ["RED"]}, "i32": 1}));
    assert_eq!(ignored, ["nope", "nested.nope", "nested.colors[1]"]);
    Case { lenient: true, query: "i32=x", ..GET }
        .fails(RequestErrorKind::Unreadable, &[("i32", "must be a 32-bit integer")]);
}

#[test]
fn the_idempotency_key_becomes_the_request_id() {
    Case { key: Some("k"), ..POST }.is(&json!({"text": "a", "requestId": "k"}));
    Case { key: Some("k"), body: r#"{"requestId": "k"}"#, ..POST }
        .is(&json!({"text": "a", "requestId": "k"}));
    Case { key: Some("k"), body: r#"{"requestId": "other"}"#, ..POST }
        .fails(RequestErrorKind::Invalid, &[("requestId", "differs from the header Idempotency-Key")]);
}

#[test]
fn a_stream_resumes_after_the_last_event() {
    let (route, _) = fixture::route("GET", "/v1/shapes:watch");
    let resume = |id, query| {
        let input = Input { query, last_event_id: Some(id), ..Input::default() };
        bind(&route, &input, false).map(|(message, _)| printed(&message))
    };
    assert_eq!(resume("7", "after_version=3"), Ok(json!({"afterVersion": "7"})));
    assert_eq!(resume("x", "").expect_err("no number").violations[0].field, "afterVersion");
}
