//! Names of what is on the broker.

use lapin::types::ShortString;

use crate::broker::BrokerError;

/// Names in AMQP have at most 255 bytes.
pub(super) fn short(name: &str) -> Result<ShortString, BrokerError> {
    ShortString::try_new(name).map_err(|too_long| BrokerError::Refused(Box::new(too_long)))
}
