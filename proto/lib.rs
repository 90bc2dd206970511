//! The contracts of ordermesh: messages, client stubs (feature `client`) and server traits (feature `server`).
//!
//! The comments of `proto/**/*.proto` are the reference. Names are those of the packages: `ordermesh.orders.v1.Order` is
//! [`orders::v1::Order`].

pub mod rules;
pub mod topology;

/// The orders service: placing, reading, cancelling and watching orders.
pub mod orders {
    /// Version 1 of the contract, package `ordermesh.orders.v1`.
    pub mod v1 {
        #![cfg_attr(
            feature = "server",
            expect(clippy::allow_attributes, clippy::too_many_lines, reason = "generated")
        )]
        include!(concat!(env!("OUT_DIR"), "/ordermesh.orders.v1.rs"));
    }
}

/// The payments service: accounts, ledger and payment decisions.
pub mod payments {
    /// Version 1 of the contract, package `ordermesh.payments.v1`.
    pub mod v1 {
        #![cfg_attr(
            feature = "server",
            expect(clippy::allow_attributes, clippy::too_many_lines, reason = "generated")
        )]
        include!(concat!(env!("OUT_DIR"), "/ordermesh.payments.v1.rs"));
    }
}

/// Messaging: what an operator asks about the messages of a service.
pub mod messaging {
    /// Version 1 of the contract, package `ordermesh.messaging.v1`.
    pub mod v1 {
        #![cfg_attr(
            feature = "server",
            expect(clippy::allow_attributes, clippy::too_many_lines, reason = "generated")
        )]
        include!(concat!(env!("OUT_DIR"), "/ordermesh.messaging.v1.rs"));
    }
}

/// Who did it: what an auditor asks of a service.
pub mod audit {
    /// Version 1 of the contract, package `ordermesh.audit.v1`.
    pub mod v1 {
        #![cfg_attr(
            feature = "server",
            expect(clippy::allow_attributes, clippy::too_many_lines, reason = "generated")
        )]
        include!(concat!(env!("OUT_DIR"), "/ordermesh.audit.v1.rs"));
    }
}

/// Reconciliation: what orders and payments compare.
pub mod reconciliation {
    /// Version 1 of the contract, package `ordermesh.reconciliation.v1`.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/ordermesh.reconciliation.v1.rs"));
    }
}

/// The encoded `google.protobuf.FileDescriptorSet` of every contract with its imports, options and comments: what server
/// reflection answers and what the HTTP edge compiles its routes from.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ordermesh.binpb"));

/// The full name of the option of a method that lists why it fails, beside what every method can fail for.
pub const REASONS: &str = "ordermesh.errors.v1.reasons";

/// The topic exchange that every event travels through. A service that subscribes binds a queue of its own to it:
/// the routing key is the full name of the message, a dot, and the number of the partition.
pub const EVENTS_EXCHANGE: &str = "ordermesh.events";
