//! What a shipment is.

pub mod shipment;
