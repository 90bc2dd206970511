//! What is measured. Every input is fixed: no clock, nothing random, so that two runs do the same.

mod contracts;
mod edge;
mod ledger;
mod database;

/// One function with one input.
pub(crate) struct Case {
    /// What it is called in the baseline: the crate and the function, then what with.
    pub(crate) name: &'static str,
    /// Makes the input; what it returns is one call.
    pub(crate) prepare: fn() -> Call,
}

/// One call, with its input.
pub(crate) type Call = Box<dyn FnMut()>;

/// In the order in which an order meets them.
pub(crate) const CASES: &[Case] = &[
    Case { name: "transcode/route/order", prepare: edge::route },
    Case { name: "transcode/request_from_json/order", prepare: edge::request },
    Case { name: "transcode/response_to_json/order", prepare: edge::response },
    Case { name: "transcode/response_to_json/50_orders", prepare: edge::page },
    Case { name: "service/fingerprint/order", prepare: contracts::fingerprint },
    Case { name: "contracts/encode/OrderPlaced", prepare: contracts::encode_placed },
    Case { name: "contracts/decode/OrderPlaced", prepare: contracts::decode_placed },
    Case { name: "contracts/encode/PaymentDecided", prepare: contracts::encode_decided },
    Case { name: "contracts/decode/PaymentDecided", prepare: contracts::decode_decided },
    Case { name: "payments/book/200_charges_1_account", prepare: ledger::hot },
    Case { name: "payments/book/200_charges_200_accounts", prepare: ledger::spread },
    Case { name: "storage/statements/200_rows", prepare: database::statements },
    Case { name: "service/page_token/seal", prepare: database::seal },
    Case { name: "service/page_token/open", prepare: database::open },
];
