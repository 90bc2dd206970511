//! `just bench-micro`: the pure functions that every order goes through, timed by criterion; and the gate of CI, which counts
//! their instructions instead, because a count is the same on a busy machine.

mod cases;
mod valgrind;
mod baseline;
mod gate;

use anyhow::{Context as _, Result, bail};
use criterion::Criterion;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("--gate") => gate::check(),
        Some("--renew-baseline") => gate::renew(),
        Some(valgrind::EXECUTE) => {
            let name = arguments.next().context("which case?")?;
            let Some(case) = cases::CASES.iter().find(|case| case.name == name) else {
                bail!("there is no case {name}")
            };
            valgrind::execute(case);
            Ok(())
        }
        // What remains is criterion's, such as a part of a name.
        _ => {
            measure();
            Ok(())
        }
    }
}

fn measure() {
    let mut criterion = Criterion::default().configure_from_args();
    for case in cases::CASES {
        criterion.bench_function(case.name, |bencher| {
            let mut call = (case.prepare)();
            bencher.iter(&mut call);
        });
    }
    criterion.final_summary();
}
