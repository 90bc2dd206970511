//! An error for a log: with what caused it. Its twin is `messaging/src/observe/chain.rs`: neither crate may know the other, and there is none
//! that both know.

use std::fmt;

/// An error with its causes, for a log line. A cause that the text before it ends with is not repeated.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.ends_with(&more) {
                text.extend([": ", &more]);
            }
            cause = error.source();
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use std::num::ParseIntError;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("a bad amount: {0}")]
    struct Amount(#[source] ParseIntError);

    #[derive(Debug, thiserror::Error)]
    #[error("the request is refused")]
    struct Request(#[source] Amount);

    #[test]
    fn each_cause_is_there_once() {
        let cause = "x".parse::<i64>().expect_err("no number");
        let text = Chain(&Request(Amount(cause))).to_string();
        assert_eq!(text, "the request is refused: a bad amount: invalid digit found in string");
    }
}
