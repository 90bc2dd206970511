//! CreateAccount: one account per user, opened with a balance of zero.

use std::collections::{HashMap, HashSet};

use chassis::status::{Fault, Reason};
use futures_util::future::BoxFuture;
use sea_orm::{DbBackend, DbErr};
use service::request::key_reused;
use storage::{Executor, group::Batch};

use crate::store::{accounts, entity::account::Model as Account};

/// Opens accounts, a group in a transaction.
#[derive(Debug, Clone, Copy)]
pub struct CreateAccount;

/// The account as it was opened, and whether that was an earlier call with the same key.
pub type Opened = Result<(Account, bool), Fault>;

impl Batch for CreateAccount {
    type Request = Account;
    type Reply = Opened;
    type Prepared = ();

    fn prepare(&self, _: DbBackend, _: &[Account]) -> Result<(), DbErr> {
        Ok(())
    }

    fn apply<'t>(
        &'t self,
        transaction: Executor<'t>,
        requests: &'t [Account],
        (): &'t (),
    ) -> BoxFuture<'t, Result<Vec<Opened>, DbErr>> {
        Box::pin(async move {
            let mut opened: HashSet<String> =
                accounts::open(&transaction, requests).await?.into_iter().collect();
            let mut others = HashMap::new();
            if opened.len() < requests.len() {
                let users = requests.iter().map(|account| account.user_id.as_str());
                let found = accounts::lock(&transaction, users).await?;
                others.extend(found.into_iter().map(|account| (account.user_id.clone(), account)));
            }
            // Of several requests for one user in this group the first opened it.
            Ok(requests
                .iter()
                .map(|account| match opened.remove(&account.user_id) {
                    true => Ok((account.clone(), false)),
                    false => judge(account, others.get(&account.user_id)),
                })
                .collect())
        })
    }
}

/// What to say to one whose account was there.
fn judge(account: &Account, there: Option<&Account>) -> Opened {
    match there {
        Some(there) if account.request_id.is_some() && there.request_id == account.request_id => {
            if there.fingerprint != account.fingerprint {
                return Err(key_reused());
            }
            // As it was when it was opened: everything else of an account never changes.
            let first = Account { balance: 0, version: 0, update_time: there.create_time, ..there.clone() };
            Ok((first, true))
        }
        _ => {
            let text = format!("user {} has an account", account.user_id);
            Err(Fault::new(Reason::AccountAlreadyExists, text))
        }
    }
}
