//! What was measured, as tables: each round as it ends, and medians with minimum and maximum at the end.

use std::io::Write as _;

use anyhow::Result;

use crate::{arrangement::Kind, load::Measured};

/// One run of everything.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// One for each arrangement, right before it.
    pub(crate) tpc_b: Vec<f64>,
    /// The arrangement, orders spread over all accounts, and orders on one.
    pub(crate) runs: Vec<(Kind, Measured, Measured)>,
}

pub(crate) fn round(number: u32, round: &Round) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for ((kind, spread, hot), tpc_b) in round.runs.iter().zip(&round.tpc_b) {
        writeln!(
            out,
            "round {number} {kind:?}: TPC-B {tpc_b:.0}/s, spread {:.0}/s, hot {:.0}/s",
            spread.per_second(),
            hot.per_second()
        )?;
        for (name, time) in &spread.processor {
            let per_order = time.as_secs_f64() * 1e6 / spread.orders as f64;
            writeln!(out, "  {name}: {per_order:.0} us of processor time per order")?;
        }
    }
    Ok(())
}

pub(crate) fn summary(rounds: &[Round]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "| ratio | median | min | max |\n|---|---|---|---|")?;
    for (at, kind) in [Kind::Apart, Kind::Embedded].iter().enumerate() {
        let over_tpc_b = rounds.iter().map(|round| round.runs[at].1.per_second() / round.tpc_b[at]);
        writeln!(out, "| {kind:?}: orders/s ÷ TPC-B tps | {} |", spread(over_tpc_b))?;
        let hot = rounds.iter().map(|round| round.runs[at].2.per_second() / round.runs[at].1.per_second());
        writeln!(out, "| {kind:?}: one hot account ÷ spread | {} |", spread(hot))?;
    }
    Ok(())
}

/// Median, minimum and maximum.
fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    format!("{:.2} | {:.2} | {:.2}", at(values.len() / 2), at(0), at(values.len().saturating_sub(1)))
}
