//! The separate process `payments`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// What one thread makes another one frees, which the allocator of the C library is slow at.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    service::process::main::<payments::Payments>()
}
