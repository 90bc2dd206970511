//! Who publishes and who consumes which messages: of the latter every service declares the queues on the broker before it publishes.

/// A consumer that must exist, with the full names of the messages that it has to get. Each service has one, of its own name.
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

/// Who publishes messages, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publisher {
    /// Its name, the last part of the `source` of its messages.
    pub name: &'static str,
    /// The kinds of its messages.
    pub kinds: &'static [&'static str],
}

/// All who publish.
pub const PUBLISHERS: [Publisher; 2] = [
    Publisher {
        name: "orders",
        kinds: &[
            "ordermesh.orders.v1.OrderPlaced",
            "ordermesh.payments.v1.VoidPayment",
            "ordermesh.payments.v1.RestoreDecision",
        ],
    },
    Publisher { name: "payments", kinds: &["ordermesh.payments.v1.PaymentDecided"] },
];
