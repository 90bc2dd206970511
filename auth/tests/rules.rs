//! The rules of contracts: that ours have one for every method, what is said of those that have not, and what a rule allows.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use auth::{Access, Caller, Check, Data, Refusal, Rule, Rules};
use world::Scratch;

fn caller(subject: &str, scopes: &[&str]) -> Caller {
    let scopes: BTreeSet<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    Caller { subject: subject.into(), scopes, token_id: None, expires: 0 }
}

/// The descriptors of a service whose method `Do` has these options.
fn described(options: &str) -> Result<Vec<u8>> {
    let scratch = Scratch::new("rules")?;
    let text = format!(
        r#"syntax = "proto3"; package test.v1; import "ordermesh/auth/v1/rule.proto";
        message Inner {{ string user_id = 1; int64 number = 2; repeated string users = 3; }}
        message Request {{ Inner inner = 1; string user_id = 2; }}
        service Thing {{
            rpc Good(Request) returns (Request) {{ option (ordermesh.auth.v1.rule) = {{scope: "a:b", owner: "user_id"}}; }}
            rpc Do(Request) returns (stream Request) {{ {options} }}
        }}"#
    );
    fs::write(scratch.path().join("test.proto"), text)?;
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto");
    let mut compiler = protox::Compiler::new([scratch.path(), proto.as_ref()])?;
    Ok(compiler.include_imports(true).open_file("test.proto")?.encode_file_descriptor_set())
}

#[test]
fn every_method_of_ours_has_a_rule() -> Result<()> {
    let rules = Rules::of(&[ordermesh::DESCRIPTOR_SET])?;
    let create = rules.get("/ordermesh.orders.v1.OrdersService/CreateOrder").context("a rule")?;
    let expected =
        Rule { scope: "orders:write".into(), data: Data::Named("order.user_id".into()), streams: false };
    ensure!(*create == expected, "{create:?}");
    let watch = rules.get("/ordermesh.orders.v1.OrdersService/WatchOrder").context("a rule")?;
    ensure!(*watch == Rule { scope: "orders:read".into(), data: Data::Stored, streams: true }, "{watch:?}");
    let admin = rules.get("/ordermesh.messaging.v1.MessagingAdminService/RedriveParkedMessages");
    ensure!(admin.is_some_and(|rule| rule.data == Data::All && rule.scope == "admin:write"), "{admin:?}");
    Ok(())
}

#[test]
fn a_method_whose_rule_cannot_be_followed_is_named() -> Result<()> {
    let rule = |fields: &str| format!("option (ordermesh.auth.v1.rule) = {{{fields}}};");
    for (options, problem) in [
        (String::new(), "has no option (ordermesh.auth.v1.rule)"),
        (rule(r#"owner: "user_id""#), "without a scope"),
        (rule(r#"scope: "a b", owner: "user_id""#), "without a scope"),
        (rule(r#"scope: "orders:read""#), "does not say whose data"),
        (rule(r#"scope: "orders:read", stored_owner: false"#), "does not say whose data"),
        (rule(r#"scope: "orders:read", owner: "nobody""#), "no text field of the request"),
        (rule(r#"scope: "orders:read", owner: "inner""#), "no text field of the request"),
        (rule(r#"scope: "orders:read", owner: "inner.number""#), "no text field of the request"),
        (rule(r#"scope: "orders:read", owner: "inner.users""#), "no text field of the request"),
        (rule(r#"scope: "orders:read", owner: "user_id.x""#), "no text field of the request"),
        (rule(r#"scope: "admin:read", owner: "user_id""#), "an operator's scope and an owner"),
    ] {
        let text = Rules::of(&[&described(&options)?]).err().context(options.clone())?.to_string();
        ensure!(text.starts_with("test.v1.Thing.Do ") && text.contains(problem), "{options}: {text}");
        ensure!(!text.contains("Good"), "{text}");
    }
    let good = described(&rule(r#"scope: "a:b", owner: "inner.user_id""#))?;
    let rules = Rules::of(&[ordermesh::DESCRIPTOR_SET, &good])?;
    let rule = rules.get("/test.v1.Thing/Do").context("a rule")?;
    ensure!(rule.data == Data::Named("inner.user_id".into()) && rule.streams, "{rule:?}");
    Ok(())
}

#[test]
fn a_rule_decides_by_scopes_and_the_subject() {
    let rule = |scope: &str, data| Rule { scope: scope.to_owned(), data, streams: false };
    let named = || Data::Named("user_id".to_owned());
    let (own, missing) =
        (|| Ok(Access::Own("alice".into())), |scope: &str| Err(Refusal::Scope(scope.to_owned())));
    for (rule, scopes, verdict) in [
        (rule("orders:read", named()), &["orders:read"][..], own()),
        (rule("orders:read", Data::Stored), &["orders:read"], own()),
        (rule("orders:read", named()), &["orders:write", "payments:read"], missing("orders:read")),
        (rule("orders:read", named()), &["admin:read"], Ok(Access::All)),
        (rule("orders:read", Data::Stored), &["orders:read", "admin:write"], Ok(Access::All)),
        (rule("orders:write", named()), &["admin:write", "admin:read"], missing("orders:write")),
        (rule("orders:write", named()), &["admin:write", "orders:write"], own()),
        (rule("admin:read", Data::All), &["admin:read"], Ok(Access::All)),
        (rule("admin:read", Data::All), &["admin:write"], Ok(Access::All)),
        (rule("admin:write", Data::All), &["admin:write"], Ok(Access::All)),
        (rule("admin:write", Data::All), &["admin:read", "orders:read"], missing("admin:write")),
        (rule("orders:read", named()), &[], missing("orders:read")),
    ] {
        assert_eq!(rule.admit(&caller("alice", scopes)), verdict, "{rule:?} {scopes:?}");
    }
    // Who can be no user has no data; an operator needs none.
    for subject in ["", "auth0|7", "a b", &"x".repeat(65)] {
        let verdict = rule("orders:read", named()).admit(&caller(subject, &["orders:read"]));
        assert_eq!(verdict, Err(Refusal::Token(Check::Subject)), "{subject}");
        assert_eq!(rule("orders:read", named()).admit(&caller(subject, &["admin:read"])), Ok(Access::All));
    }
}
