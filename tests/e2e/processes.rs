//! The processes of a service, as its status lists them.

use anyhow::{Result, bail, ensure};
use chassis::version;
use ordermesh::messaging::v1::{
    GetMessagingStatusRequest, ProcessState, messaging_admin_service_client::MessagingAdminServiceClient,
};

use crate::admin_json::with_token;

/// Of two processes of a service each is listed with its version and build; the frozen one, which holds the lease, was not seen for longer than
/// the one at this URL, which answers.
pub(crate) async fn both_are_listed(url: &str, frozen: &str) -> Result<()> {
    let mut client = MessagingAdminServiceClient::connect(url.to_owned()).await?;
    let status = client.get_messaging_status(with_token(GetMessagingStatusRequest {})?).await?.into_inner();
    let [first, second] = &status.processes[..] else { bail!("{status:?}") };
    let holder = status.relay.as_ref().map(|relay| relay.lease_holder.as_str()).unwrap_or_default();
    ensure!(first.process_id.starts_with(frozen) && first.process_id == holder, "{status:?}");
    ensure!(!first.answers && second.answers, "{status:?}");
    let is_of = |one: &ProcessState| one.version == version::VERSION && one.build == version::BUILD;
    ensure!(is_of(first) && is_of(second) && first.host == second.host, "{status:?}");
    let seen = |one: &ProcessState| one.seen_time.as_ref().map(|time| (time.seconds, time.nanos));
    ensure!(seen(first) < seen(second), "{status:?}");
    Ok(())
}
