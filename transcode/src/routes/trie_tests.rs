//! Tests of the trie: precedence, backtracking, verbs, decoding and ambiguity.

use proptest::prelude::*;

use super::*;

fn entries(routes: &[(&str, &str)]) -> Vec<Entry> {
    let entry = |(method, template): &(&str, &str)| Entry {
        method: (*method).to_owned(),
        template: Template::parse(template).expect("a valid template"),
        rpc: format!("test.{template}"),
    };
    routes.iter().map(entry).collect()
}

fn build(entries: &[Entry]) -> Result<Trie, Vec<Ambiguity>> {
    let (trie, clashes) = Trie::build(entries);
    if clashes.is_empty() { Ok(trie) } else { Err(clashes) }
}

fn trie() -> Trie {
    build(&entries(&[
        ("GET", "/orders"),                   // 0
        ("POST", "/orders"),                  // 1
        ("GET", "/orders/{id}"),              // 2
        ("POST", "/orders/{id}:cancel"),      // 3
        ("GET", "/orders/{id}:watch"),        // 4
        ("GET", "/orders:watch"),             // 5
        ("GET", "/orders/{id}/events"),       // 6
        ("GET", "/orders/latest"),            // 7
        ("GET", "/orders/latest/{x}/deep"),   // 8
        ("GET", "/files/{name=**}"),          // 9
        ("DELETE", "/files/{name=**}:purge"), // 10
        ("GET", "/v1/{name=a/*/b/**}"),       // 11
        ("*", "/any/{x}"),                    // 12
        ("GET", "/caf%C3%A9"),                // 13
    ]))
    .expect("no two are alike")
}

fn found(method: &str, path: &str) -> (usize, Vec<String>) {
    match trie().find(method, path) {
        Lookup::Found(index, values) => (index, values.into_iter().map(|v| v.expect("decodes")).collect()),
        other => panic!("{method} {path}: {other:?}"),
    }
}

#[test]
fn literals_go_before_one_and_one_before_rest() {
    for (method, path, index, values) in [
        ("GET", "/orders", 0, vec![]),
        ("HEAD", "/orders", 0, vec![]),
        ("POST", "/orders", 1, vec![]),
        ("GET", "/orders/7", 2, vec!["7"]),
        ("POST", "/orders/7:cancel", 3, vec!["7"]),
        ("GET", "/orders/7:watch", 4, vec!["7"]),
        ("GET", "/orders:watch", 5, vec![]),
        ("GET", "/orders/7/events", 6, vec!["7"]),
        ("GET", "/orders/latest", 7, vec![]),
        ("GET", "/orders/latest/7/deep", 8, vec!["7"]),
        ("PUT", "/any/7", 12, vec!["7"]),
        ("GET", "/caf%c3%A9", 13, vec![]),
        ("GET", "/%6frders", 0, vec![]),
    ] {
        assert_eq!(found(method, path), (index, values.iter().map(ToString::to_string).collect()), "{path}");
    }
}

#[test]
fn a_choice_that_leads_nowhere_is_taken_back() {
    assert_eq!(found("GET", "/orders/latest/events"), (6, vec!["latest".to_owned()]));
    let trie = build(&entries(&[("POST", "/a/{x}"), ("GET", "/a/b")])).expect("no two are alike");
    assert_eq!(trie.find("POST", "/a/b"), Lookup::Found(0, vec![Ok("b".to_owned())]));
}

#[test]
fn a_colon_is_a_verb_only_where_a_template_has_it() {
    assert_eq!(found("GET", "/orders/a:b"), (2, vec!["a:b".to_owned()]));
    assert_eq!(found("GET", "/orders/a%3Awatch"), (2, vec!["a:watch".to_owned()]));
    assert_eq!(found("GET", "/orders/a:b:watch"), (4, vec!["a:b".to_owned()]));
    assert_eq!(found("DELETE", "/files/x/y:purge"), (10, vec!["x/y".to_owned()]));
    // No GET has this verb: it is an id that ends so.
    assert_eq!(found("GET", "/orders/7:cancel"), (2, vec!["7:cancel".to_owned()]));
    let both = ["GET", "POST"].map(str::to_owned).into();
    assert_eq!(trie().find("PUT", "/orders/7:cancel"), Lookup::OtherMethods(both));
}

#[test]
fn an_encoded_colon_begins_a_verb_only_where_there_is_nothing_else() {
    assert_eq!(found("GET", "/orders/a%3Awatch"), (2, vec!["a:watch".to_owned()]));
    for path in ["/orders/7%3Acancel", "/orders/7%3acancel"] {
        assert_eq!(found("POST", path), (3, vec!["7".to_owned()]));
    }
    assert_eq!(found("POST", "/orders/7%3A8%3Acancel"), (3, vec!["7:8".to_owned()]));
    assert_eq!(trie().find("POST", "/orders/7%3Anothing"), Lookup::OtherMethods(["GET".to_owned()].into()));
}

#[test]
fn captures_are_decoded_by_their_number_of_segments() {
    assert_eq!(found("GET", "/orders/a%2Fb%20c"), (2, vec!["a/b c".to_owned()]));
    assert_eq!(found("GET", "/files/a%2Fb%20c/d"), (9, vec!["a%2Fb c/d".to_owned()]));
    assert_eq!(found("GET", "/files"), (9, vec![String::new()]));
    assert_eq!(found("GET", "/files/a//b"), (9, vec!["a//b".to_owned()]));
    assert_eq!(found("GET", "/v1/a/1/b/2/3"), (11, vec!["a/1/b/2/3".to_owned()]));
    for (path, error) in [("/orders/%zz", PercentError::Escape), ("/orders/%ff", PercentError::Utf8)] {
        assert_eq!(trie().find("GET", path), Lookup::Found(2, vec![Err(error)]));
    }
}

#[test]
fn an_absent_path_is_not_a_wrong_method() {
    for path in [
        "/",
        "",
        "*",
        "/nothing",
        "/orders/",
        "/orders//events",
        "/ORDERS",
        "/orders/7/",
        "//orders",
        "/v1/a/1",
    ] {
        assert_eq!(trie().find("GET", path), Lookup::Nothing, "{path:?}");
    }
    let both = ["GET", "POST"].map(str::to_owned).into();
    assert_eq!(trie().find("DELETE", "/orders"), Lookup::OtherMethods(both));
}

#[test]
fn templates_that_match_the_same_are_refused_all_at_once() {
    let clashes = build(&entries(&[
        ("GET", "/orders/{id}"),
        ("GET", "/orders/{name=*}"),
        ("POST", "/orders/{id}"),
        ("GET", "/a/{x=b/**}:go"),
        ("GET", "/a/b/**:go"),
        ("GET", "/orders/7"),
    ]))
    .expect_err("two pairs are alike");
    let texts: Vec<String> = clashes.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "test./orders/{id} and test./orders/{name=*} both answer GET /orders/x",
            "test./a/{x=b/**}:go and test./a/b/**:go both answer GET /a/b/x/y:go",
        ]
    );
}

proptest! {
    #[test]
    fn no_path_panics(method in "GET|POST|HEAD|\\*", path in "[/a-b:%0-9orders*]{0,40}") {
        let _lookup = trie().find(&method, &path);
    }

    #[test]
    fn every_template_matches_its_own_example(text in "(/([a-c]{1,3}|\\*|\\{[a-c]=[a-c]/\\*\\})){1,4}(/\\*\\*)?(:[x-z]{1,2})?") {
        if let Ok(template) = Template::parse(&text) {
            let path = template.example();
            let entry = Entry { method: "GET".into(), template, rpc: "test".into() };
            let trie = build(&[entry]).expect("one entry is never ambiguous");
            prop_assert!(matches!(trie.find("GET", &path), Lookup::Found(0, _)));
        }
    }
}
