//! Version 1 of the contract, `shipping.proto`.

#![expect(clippy::allow_attributes, clippy::too_many_lines, reason = "generated")]
tonic::include_proto!("shipping.v1");
