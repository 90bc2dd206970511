//! This build beside an earlier one: the same load in turns, on servers of their own.

use std::path::Path;

use anyhow::Result;

use crate::{
    Settings,
    arrangement::{Kind, Stage, own_folder},
    load::{self, Measured},
    pace,
    report::{Of, Report},
    stored,
};

/// What a change that is not about speed may cost.
const KEPT: f64 = 0.97;

impl Settings {
    /// Rates in turns, and for processes apart the time of an order at a fixed rate.
    pub(crate) async fn against(&self, earlier: &Path, kind: Kind, report: &mut Report) -> Result<()> {
        let now = self.set_up(kind, &own_folder()?).await?;
        let then = self.set_up(kind, earlier).await?;
        let name = if kind == Kind::Embedded { "embedded" } else { "apart" };
        let [of_now, of_then] = self.in_turns(&now, &then).await?;
        let ratio = |of| mean(&of_now, of) / mean(&of_then, of);
        report.figure(&format!("orders/s, {name}"), mean(&of_now, Measured::per_second));
        report.ratio(
            &format!("orders/s ÷ the build before, {name}"),
            Of::AtLeast(KEPT),
            ratio(Measured::per_second),
        );
        report.ratio(
            &format!("CPU of our processes per order ÷ the build before, {name}"),
            Of::AtMost(1.0 / KEPT),
            ratio(Measured::processor_per_order),
        );
        if kind == Kind::Embedded {
            return Ok(());
        }
        for (at, (process, _)) in of_now[0].processor.iter().enumerate() {
            let of = |run: &Measured| run.processor[at].1.as_secs_f64() / run.orders as f64;
            let mean = |runs: &[Measured; 2]| f64::midpoint(of(&runs[0]), of(&runs[1]));
            report.figure(
                &format!("CPU of {process} per order ÷ the build before"),
                mean(&of_now) / mean(&of_then),
            );
        }
        let mut times = Vec::new();
        for stage in [&now, &then, &then, &now] {
            times.push(pace::orders(stage, self.accounts, self.time()).await?);
        }
        let [first, second, third, last] = times.as_slice() else { return Ok(()) };
        let p50 = (first.p50 + last.p50).as_secs_f64() / (second.p50 + third.p50).as_secs_f64();
        report.figure("POST to the end at 200/s, p50, ms", (first.p50 + last.p50).as_secs_f64() * 5e2);
        report.ratio("p50 at 200/s ÷ the build before", Of::AtMost(1.0 / KEPT), p50);
        Ok(())
    }

    /// Two runs of each, and each is first once: what the machine gains or loses meanwhile counts for both.
    pub(crate) async fn in_turns(&self, one: &Stage, other: &Stage) -> Result<[[Measured; 2]; 2]> {
        let run = async |stage| self.run(stage, self.accounts).await;
        let first = run(one).await?;
        let others = [run(other).await?, run(other).await?];
        Ok([[first, run(one).await?], others])
    }

    async fn set_up(&self, kind: Kind, binaries: &Path) -> Result<Stage> {
        let stage = Stage::set_with(kind, binaries).await?;
        load::open_accounts(&stage, self.accounts).await?;
        if kind == Kind::Apart {
            stored::clean(&stage).await?;
        }
        Ok(stage)
    }
}

pub(crate) fn mean(runs: &[Measured; 2], of: fn(&Measured) -> f64) -> f64 {
    f64::midpoint(of(&runs[0]), of(&runs[1]))
}
