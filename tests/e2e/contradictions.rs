//! What is stored contradicts itself: only the messages that it concerns are parked, and paid once somebody has repaired it.

use anyhow::{Result, ensure};
use ordermesh::messaging::v1::{
    ListParkedMessagesRequest, RedriveParkedMessagesRequest,
    messaging_admin_service_client::MessagingAdminServiceClient,
};
use tonic::Request;
use world::{PATIENCE, eventually};

use crate::mesh::{ADMIN_TOKEN, Arrangement, EMBEDDED, Mesh};

fn with_token<T>(message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {ADMIN_TOKEN}").parse()?);
    Ok(request)
}

/// `why` is what the database says of her orders: one meets the same again and again, the other a violated key.
async fn only_hers_wait(arrangement: Arrangement, why: &str) -> Result<()> {
    let mesh = Mesh::start(arrangement).await?;
    for user in ["alice", "bob", "carol"] {
        mesh.account(user, 100).await?;
    }
    mesh.lift_append_only("ledger_entries").await?;
    // The next entry of alice is there already, and no number of attempts changes that.
    mesh.tamper("payments", "UPDATE ledger_entries SET sequence = 2 WHERE user_id = 'alice'").await?;
    let (mut hers, mut others) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        others.push(mesh.order("bob", 10).await?);
        hers.push(mesh.order("alice", 10).await?);
        others.push(mesh.order("carol", 10).await?);
    }
    let parked = "SELECT COUNT(*) FROM parked";
    eventually("her orders parked", 6 * PATIENCE, async || {
        let parked = mesh.count("payments", parked).await?;
        ensure!(parked == 3, "{parked} are parked");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    for id in &others {
        ensure!(mesh.ended(id).await?["status"] == "FINISHED");
    }
    let mut admin = MessagingAdminServiceClient::connect(format!("http://{}", mesh.payments)).await?;
    let listed = admin.list_parked_messages(with_token(ListParkedMessagesRequest::default())?).await?;
    for message in listed.into_inner().messages {
        ensure!(message.partition_key == "alice" && message.error.contains(why), "{message:?}");
    }

    mesh.tamper("payments", "UPDATE ledger_entries SET sequence = 1 WHERE user_id = 'alice'").await?;
    let redrive = RedriveParkedMessagesRequest { operator: "carol".into(), ..Default::default() };
    ensure!(admin.redrive_parked_messages(with_token(redrive)?).await?.into_inner().redriven == 3);
    for id in &hers {
        ensure!(mesh.ended(id).await?["status"] == "FINISHED");
    }
    ensure!(mesh.balance("alice").await? == 70);
    mesh.at_rest().await
}

#[tokio::test]
async fn a_sequence_ahead_of_its_account_on_sqlite() -> Result<()> {
    only_hers_wait(EMBEDDED, "contended").await
}

#[tokio::test]
async fn a_sequence_ahead_of_its_account_on_postgres() -> Result<()> {
    only_hers_wait(Arrangement { postgres: true, ..EMBEDDED }, "payments_ledger_entry_id_fkey").await
}
