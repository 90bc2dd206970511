//! Lists: the filter of a ledger, read into conditions.

use ordermesh::payments::v1::ledger_entry::Type;
use service::filter::Comparison;

use crate::store::{entity::ledger::EntryType, ledger::Condition};

/// What a comparison says, or what is wrong with it.
pub(super) fn condition(comparison: &Comparison) -> Result<Condition, String> {
    let Comparison { field, operator, value } = comparison;
    match field.as_str() {
        "type" => {
            let kind = match Type::from_str_name(value) {
                Some(Type::TopUp) => Some(EntryType::TopUp),
                Some(Type::OrderDebit) => Some(EntryType::OrderDebit),
                Some(Type::Unspecified) => None,
                None => return Err(format!("{value:?} is no type of entries")),
            };
            Ok(Condition::Type(comparison.by_equality()?, kind))
        }
        "amount" => Ok(Condition::Amount(*operator, comparison.minor_units()?)),
        "create_time" => Ok(Condition::CreateTime(*operator, comparison.moment()?)),
        "order_id" => {
            let id = comparison.present().map(|id| id.parse()).transpose();
            let id = id.map_err(|_| format!("{value:?} is no id of an order"))?;
            Ok(Condition::OrderId(comparison.by_equality()?, id))
        }
        "request_id" => Ok(Condition::RequestId(comparison.by_equality()?, comparison.present())),
        _ => Err(format!("{field} cannot be filtered by")),
    }
}
