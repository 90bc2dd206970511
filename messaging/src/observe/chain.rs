//! An error for a person: with what caused it. Its twin is `chassis/src/status/chain.rs`: neither crate may know the other, and there is none
//! that both know.

use std::error::Error;

/// An error with its causes. A cause that the text before it ends with is not repeated.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.extend([": ", &more]);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sea_orm::{DbErr, RuntimeErr};
    use storage::Failure;

    use super::*;

    #[test]
    fn what_a_database_says_is_there_once() {
        let refused = DbErr::Exec(RuntimeErr::Internal("the poison works".into()));
        let text = chain(&Failure::Refused(Arc::new(refused)));
        assert_eq!(text, "the database refused a statement: Execution Error: the poison works");
    }
}
