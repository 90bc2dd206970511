//! Who consumes which messages: the one table that every service declares on the broker before it publishes.

/// A consumer that must exist, with the full names of the messages that it has to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumer {
    /// Its name, part of the names of its queues.
    pub name: &'static str,
    /// The kinds of its messages.
    pub kinds: &'static [&'static str],
}

/// Ends orders by the decisions of payments.
pub const ORDERS: Consumer = Consumer { name: "orders", kinds: &["ordermesh.payments.v1.PaymentDecided"] };

/// Decides about the payment of orders.
pub const PAYMENTS: Consumer = Consumer {
    name: "payments",
    kinds: &[
        "ordermesh.orders.v1.OrderPlaced",
        "ordermesh.payments.v1.VoidPayment",
        "ordermesh.payments.v1.RestoreDecision",
    ],
};

/// All of them.
pub const CONSUMERS: [Consumer; 2] = [ORDERS, PAYMENTS];
