//! An edge that is told nothing but where a service is.

use anyhow::{Result, ensure};
use serde_json::json;
use world::{Api, Program};

use crate::mesh::{EMBEDDED, Mesh};

#[tokio::test]
async fn the_orders_service_tells_an_edge_its_routes() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    let upstream = format!("http://{}", mesh.orders);
    let flags = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", &upstream];
    let mut edge = Program::named("gateway")?.args(flags).start()?;
    let api = Api::new(format!("http://{}", edge.address("http").await?))?;
    let order = json!({ "userId": "alice", "amount": "5", "description": "keys" });
    let placed = api.post("/gateway/orders", &order).await?;
    ensure!(placed.status == 200, "{}", placed.text);
    let id = placed.body["id"].as_str().unwrap_or_default();
    // What still changes could be read twice and differ.
    mesh.ended(id).await?;
    // The same order, and the same words, as the edge that was built with the descriptors has.
    for path in [format!("/gateway/orders/{id}/events"), "/gateway/orders?status=NEWER".to_owned()] {
        let (told, known) = (api.get(&path).await?, mesh.api.get(&path).await?);
        ensure!((told.status, &told.body) == (known.status, &known.body), "{} {}", told.text, known.text);
    }
    // What only payments knows is not here.
    ensure!(api.get("/gateway/payments/alice").await?.status == 404);
    Ok(())
}
