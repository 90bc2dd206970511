//! Starts everything.
fn main(){}
