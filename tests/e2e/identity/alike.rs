//! Permission comes before existence: who may not see something does not learn whether it is there.

use anyhow::{Result, ensure};
use http::StatusCode;
use serde_json::json;
use world::{Answer, Api, Issuer, answer, claims};

use super::{SCOPES, mesh};
use crate::mesh::EMBEDDED;

/// The routes of an order, each with its scope, and the reason that a stranger gets.
const OF_AN_ORDER: [(&str, &str, &str, &str); 5] = [
    ("GET", "/gateway/orders/$ID", "orders:read", "ORDER_NOT_FOUND"),
    ("GET", "/gateway/orders/$ID/events", "orders:read", "ORDER_NOT_FOUND"),
    ("GET", "/gateway/orders/$ID:watch", "orders:read", "ORDER_NOT_FOUND"),
    ("GET", "/gateway/orders/$ID/payment", "payments:read", "PAYMENT_NOT_FOUND"),
    ("POST", "/gateway/orders/$ID:cancel", "orders:write", "ORDER_NOT_FOUND"),
];

/// What a call about this id is answered: the status, the reason, and the body without the id.
async fn answered(api: &Api, (method, path): (&str, &str), id: &str) -> Result<(StatusCode, String, String)> {
    let request = api.request(method.parse()?, &path.replace("$ID", id));
    let request = if method == "POST" { request.json(&json!({})) } else { request };
    let Answer { status, text, body, .. } = answer(request).await?;
    let reason = body["error"]["details"][0]["reason"].as_str().unwrap_or_default().to_owned();
    Ok((status, reason, text.replace(id, "ID")))
}

/// Calls a route about what is another user's and about what is not there: the answers are the same.
async fn alike(api: &Api, route: (&str, &str), ids: [&str; 2], status: u16, expected: &str) -> Result<()> {
    let [strangers, absent] = ids;
    let (strangers, absent) = (answered(api, route, strangers).await?, answered(api, route, absent).await?);
    ensure!(strangers == absent, "{route:?}: {strangers:?}, and of what is not there {absent:?}");
    let (given, reason, _) = &strangers;
    ensure!(*given == status && reason == expected, "{route:?}: {strangers:?} instead of {expected}");
    Ok(())
}

#[tokio::test]
async fn what_is_a_strangers_and_what_is_not_there_are_answered_alike() -> Result<()> {
    let issuer = Issuer::start().await?;
    let (mesh, orders) = mesh(&issuer, EMBEDDED).await?;
    let strangers = &orders["bob"];
    // Of the same millisecond, and of nobody.
    let last = if strangers.ends_with('0') { '1' } else { '0' };
    let absent = format!("{}{last}", &strangers[..strangers.len() - 1]);
    let alice = async |scopes: &[&str]| {
        let token = issuer.token("first", &claims("alice", &scopes.join(" "), 3_600)).await?;
        anyhow::Ok(mesh.api.with_token(&token))
    };
    let api = alice(&SCOPES[..]).await?;
    for (method, path, scope, reason) in OF_AN_ORDER {
        alike(&api, (method, path), [strangers, &absent], 404, reason).await?;
        let others: Vec<&str> = SCOPES.into_iter().filter(|other| *other != scope).collect();
        let api = alice(others.as_slice()).await?;
        alike(&api, (method, path), [strangers, &absent], 403, "SCOPE_MISSING").await?;
    }
    for path in ["/gateway/payments/$ID", "/gateway/payments/$ID/entries", "/gateway/orders?userId=$ID"] {
        alike(&api, ("GET", path), ["bob", "nobody"], 403, "NOT_OWNER").await?;
    }
    Ok(())
}
