//! What was measured, as tables: medians with minimum and maximum.

use std::{fmt::Write as _, io::Write as _, path::Path};

use anyhow::{Context as _, Result};

use crate::load::Measured;

const BEGIN: &str = "<!-- measured -->\n";
const END: &str = "<!-- /measured -->";

/// What a ratio is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of {
    AtLeast(f64),
    AtMost(f64),
}

impl Of {
    fn text(self) -> String {
        match self {
            Self::AtLeast(target) => format!("≥ {target}"),
            Self::AtMost(target) => format!("≤ {target}"),
        }
    }

    fn met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(target) => value >= target,
            Self::AtMost(target) => value <= target,
        }
    }
}

/// Everything so far, in the order in which it was first seen.
#[derive(Debug, Default)]
pub(crate) struct Report {
    ratios: Vec<(String, Of, Vec<f64>)>,
    figures: Vec<(String, Vec<f64>)>,
}

impl Report {
    /// Notes a value that has a target.
    pub(crate) fn ratio(&mut self, name: &str, target: Of, value: f64) {
        match self.ratios.iter_mut().find(|(known, ..)| known == name) {
            Some((.., values)) => values.push(value),
            None => self.ratios.push((name.to_owned(), target, vec![value])),
        }
    }

    /// Notes a value of this machine and minute.
    pub(crate) fn figure(&mut self, name: &str, value: f64) {
        match self.figures.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value),
            None => self.figures.push((name.to_owned(), vec![value])),
        }
    }

    /// Notes what each process has computed for an order.
    pub(crate) fn processor(&mut self, run: &Measured) {
        for (name, time) in &run.processor {
            let per_order = time.as_secs_f64() * 1e6 / run.orders as f64;
            self.figure(&format!("CPU of {name} per order, µs"), per_order);
        }
    }

    pub(crate) fn print(&self, title: &str) -> Result<()> {
        Ok(writeln!(std::io::stdout().lock(), "\n{title}\n\n{}", self.tables()?)?)
    }

    /// Puts the tables between the marks of a document.
    pub(crate) fn write_into(&self, document: &Path) -> Result<()> {
        let text = std::fs::read_to_string(document)?;
        let (before, rest) = text.split_once(BEGIN).context("the document has no mark for the tables")?;
        let (_, after) = rest.split_once(END).context("the document has no mark for their end")?;
        Ok(std::fs::write(document, format!("{before}{BEGIN}\n{}\n{END}{after}", self.tables()?))?)
    }

    fn tables(&self) -> Result<String> {
        let mut text =
            String::from("| | target | median | min | max | runs | |\n|---|---|---|---|---|---|---|\n");
        for (name, target, values) in &self.ratios {
            let (median, least, most) = spread(values);
            let verdict = if target.met(median) { "met" } else { "missed" };
            let (target, runs) = (target.text(), values.len());
            writeln!(
                text,
                "| {name} | {target} | {} | {} | {} | {runs} | {verdict} |",
                number(median),
                number(least),
                number(most)
            )?;
        }
        text += "\n| of this machine and minute | median | min | max |\n|---|---|---|---|\n";
        for (name, values) in &self.figures {
            let (median, least, most) = spread(values);
            writeln!(text, "| {name} | {} | {} | {} |", number(median), number(least), number(most))?;
        }
        Ok(text)
    }
}

/// Median, minimum and maximum.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    (at(values.len() / 2), at(0), at(values.len().saturating_sub(1)))
}

fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
