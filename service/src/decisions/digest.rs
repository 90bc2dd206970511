//! The digest of a set of decided orders: the same in whatever order they are added.

use ordermesh::reconciliation::v1::{DecidedOrder, DecisionsDigest};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

/// How many, and the sum of their hashes: that of two sets together is the sum of both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest {
    /// How many.
    pub count: i64,
    /// Modulo 2^128.
    pub sum: u128,
}

impl Digest {
    /// Adds an order.
    pub fn add(&mut self, order: &DecidedOrder) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(hash(order));
    }

    /// Takes an order away that was added.
    pub fn remove(&mut self, order: &DecidedOrder) {
        self.count -= 1;
        self.sum = self.sum.wrapping_sub(hash(order));
    }
}

impl From<&DecisionsDigest> for Digest {
    fn from(digest: &DecisionsDigest) -> Self {
        let bytes = digest.digest.as_slice().try_into().unwrap_or_default();
        Self { count: digest.count, sum: u128::from_be_bytes(bytes) }
    }
}

/// The beginning of the SHA-256 of an order.
fn hash(order: &DecidedOrder) -> u128 {
    let hash: [u8; 32] = Sha256::digest(order.encode_to_vec()).into();
    let mut first = [0; 16];
    first.copy_from_slice(&hash[..16]);
    u128::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(id: &str, amount: i64) -> DecidedOrder {
        DecidedOrder { order_id: id.into(), amount, ..DecidedOrder::default() }
    }

    #[test]
    fn digests_are_of_sets() {
        let of = |orders: &[DecidedOrder]| {
            let mut digest = Digest::default();
            orders.iter().for_each(|order| digest.add(order));
            digest
        };
        let (a, b, c) = (order("a", 1), order("b", 2), order("c", 3));
        let all = of(&[a.clone(), b.clone(), c.clone()]);
        assert_eq!(all, of(&[c.clone(), a.clone(), b.clone()]));
        let mut without = all;
        without.remove(&b);
        assert_eq!(without, of(&[a.clone(), c.clone()]));
        assert_ne!(all, of(&[a, order("b", 3), c]));
    }
}
