//! The separate process `shipping`.

use std::process::ExitCode;

fn main() -> ExitCode {
    service::process::main::<shipping::Shipping>()
}
