//! Messages in envelopes, as gRPC-Web and Connect have them: those of a client become those of its service, and the answers its own again.

pub(crate) mod envelope;
pub(crate) mod sent;
pub(crate) mod answer;
