//! What a gRPC listener serves.

use std::{collections::BTreeSet, sync::Arc};

use auth::Guard;
use chassis::tls::ServerTls;
use tonic::service::Routes;

/// What a gRPC listener serves.
#[derive(Debug, Clone)]
pub struct Contract {
    /// What the service is called in metrics.
    pub name: &'static str,
    /// Its services.
    pub routes: Routes,
    /// Encoded `FileDescriptorSet`s that declare them, for reflection.
    pub descriptor_sets: &'static [&'static [u8]],
    /// Their full names, such as `ordermesh.orders.v1.OrdersService`.
    pub services: BTreeSet<String>,
    /// Who may call them.
    pub guard: Arc<Guard>,
    /// TLS of its listener.
    pub tls: ServerTls,
}
