//! What the edge answers itself: to everyone who has a token of the issuer, whatever its scopes, and to nobody else.

use anyhow::{Result, ensure};
use bytes::Bytes;
use world::{Issuer, claims};

use super::{
    Expected, channel, refused,
    rows::own,
    ways::{connect, grpc, grpc_web},
};
use crate::mesh::{EMBEDDED, Mesh};

#[tokio::test]
async fn reflection_and_health_of_the_edge_need_a_token_of_any_scope() -> Result<()> {
    let issuer = Issuer::start().await?;
    let mesh = Mesh::start_with(EMBEDDED, &issuer.env()).await?;
    let edge = channel(mesh.api.base().trim_start_matches("http://").parse()?).await?;
    let refused = refused(&issuer).await?.into_iter();
    let mut callers: Vec<_> =
        refused.map(|(what, token, check)| (what, token, Expected::Unauthenticated(check))).collect();
    let any = issuer.token("first", &claims("anybody", "", 600)).await?;
    callers.push(("without a scope", Some(any), Expected::Reason(String::new())));
    for (row, message) in own() {
        for (what, token, expected) in &callers {
            let (token, wire) = (token.as_deref(), Bytes::from_static(message));
            let mut outcomes = vec![
                ("gRPC", false, grpc(&edge, &row, wire.clone(), token).await?),
                ("gRPC-Web", false, grpc_web(&mesh.api, &row, wire, token).await?),
            ];
            // Reflection goes on as long as it is asked.
            if !(row.method.contains("reflection") && expected.is_ok()) {
                let message = ("proto", message.to_vec());
                outcomes.push(("Connect", !row.streams, connect(&mesh.api, &row, message, token).await?));
            }
            for (way, is_http, outcome) in outcomes {
                let holds = expected.meets(&outcome, is_http);
                ensure!(holds, "{}, {what}, {way}: {outcome:?} instead of {expected:?}", row.method);
            }
        }
    }
    Ok(())
}
