//! What was measured, as tables: medians with minimum and maximum; as a picture; and all values, for whoever wants to check.

use std::{fmt::Write as _, io::Write as _, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{
    load::Measured,
    plot::{self, Row},
};

const BEGIN: &str = "<!-- measured -->\n";
const END: &str = "<!-- /measured -->";

/// Beside the document.
const PICTURE: &str = "performance-ratios.svg";
const VALUES: &str = "performance.json";

/// What a ratio is to be.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

    /// How good a value is, as a multiple of what it is to be.
    fn reached(self, value: f64) -> f64 {
        match self {
            Self::AtLeast(target) => value / target,
            Self::AtMost(target) => target / value,
        }
    }
}

/// A value that has a target, of every round.
#[derive(Debug, Serialize, Deserialize)]
struct Ratio {
    name: String,
    target: Of,
    values: Vec<f64>,
}

impl Ratio {
    fn row(&self) -> Row<'_> {
        let target = self.target;
        let (median, least, most) = spread(&self.values);
        let (worst, best) = match target {
            Of::AtLeast(_) => (least, most),
            Of::AtMost(_) => (most, least),
        };
        Row {
            name: &self.name,
            told: format!("{}, target {}", number(median), target.text()),
            met: target.met(median),
            reached: [worst, median, best].map(|value| target.reached(value)),
        }
    }
}

/// A value of this machine and minute, of every round.
#[derive(Debug, Serialize, Deserialize)]
struct Figure {
    name: String,
    values: Vec<f64>,
}

/// Everything so far, in the order in which it was first seen.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    ratios: Vec<Ratio>,
    figures: Vec<Figure>,
}

impl Report {
    /// Notes a value that has a target.
    pub(crate) fn ratio(&mut self, name: &str, target: Of, value: f64) {
        match self.ratios.iter_mut().find(|known| known.name == name) {
            Some(known) => known.values.push(value),
            None => self.ratios.push(Ratio { name: name.to_owned(), target, values: vec![value] }),
        }
    }

    /// Notes a value of this machine and minute.
    pub(crate) fn figure(&mut self, name: &str, value: f64) {
        match self.figures.iter_mut().find(|known| known.name == name) {
            Some(known) => known.values.push(value),
            None => self.figures.push(Figure { name: name.to_owned(), values: vec![value] }),
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

    /// What an earlier run has written beside its document.
    pub(crate) fn read(values: &Path) -> Result<Self> {
        let text = std::fs::read(values).with_context(|| values.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| values.display().to_string())
    }

    /// Puts picture and tables between the marks of a document, and the picture itself and all values beside it.
    pub(crate) fn write_into(&self, document: &Path) -> Result<()> {
        let text = read_document(document)?;
        let (before, after) = around_the_tables(&text)?;
        let measured = format!("![Each ratio beside its target]({PICTURE})\n\n{}", self.tables()?);
        std::fs::write(document, format!("{before}{BEGIN}\n{measured}\n{END}{after}"))?;
        std::fs::write(document.with_file_name(PICTURE), self.picture()?)?;
        Ok(std::fs::write(document.with_file_name(VALUES), serde_json::to_string_pretty(self)? + "\n")?)
    }

    fn picture(&self) -> Result<String> {
        Ok(plot::svg(&self.ratios.iter().map(Ratio::row).collect::<Vec<_>>())?)
    }

    fn tables(&self) -> Result<String> {
        let mut text =
            String::from("| | target | median | min | max | runs | |\n|---|---|---|---|---|---|---|\n");
        for Ratio { name, target, values } in &self.ratios {
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
        for Figure { name, values } in &self.figures {
            let (median, least, most) = spread(values);
            writeln!(text, "| {name} | {} | {} | {} |", number(median), number(least), number(most))?;
        }
        Ok(text)
    }
}

/// Fails for a document that cannot take the tables, before anything is measured.
pub(crate) fn check(document: &Path) -> Result<()> {
    around_the_tables(&read_document(document)?).map(drop)
}

fn read_document(document: &Path) -> Result<String> {
    std::fs::read_to_string(document).with_context(|| document.display().to_string())
}

/// What stands before the marks of a document, and what behind them.
fn around_the_tables(text: &str) -> Result<(&str, &str)> {
    let (before, rest) = text.split_once(BEGIN).context("the document has no mark for the tables")?;
    let (_, after) = rest.split_once(END).context("the document has no mark for their end")?;
    Ok((before, after))
}

/// Median, minimum and maximum.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let last = values.len().saturating_sub(1);
    (f64::midpoint(at(last / 2), at(values.len() / 2)), at(0), at(last))
}

fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that nobody has measured.
    fn made_up() -> Report {
        let mut report = Report::default();
        for value in [0.5, 2.0, 1.5] {
            report.ratio("as many as the yardstick", Of::AtLeast(1.0), value);
            report.ratio("as long as the yardstick", Of::AtMost(2.0), 10.0 * value);
            report.figure("orders/s", 1_000.0 * value);
        }
        report
    }

    #[test]
    fn a_document_is_made_again_of_the_values_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let document = folder.path().join("PERFORMANCE.md");
        std::fs::write(&document, format!("before\n{BEGIN}old\n{END}\nafter\n")).expect("writes");
        made_up().write_into(&document).expect("has marks");
        let files = || {
            [&document, &folder.path().join(PICTURE)]
                .map(|file| std::fs::read_to_string(file).expect("is there"))
        };
        let first = files();
        assert!(first[0].starts_with("before\n") && first[0].ends_with(&format!("{END}\nafter\n")));
        assert!(first[0].contains("| as many as the yardstick | ≥ 1 | 1.50 | 0.50 | 2.00 | 3 | met |"));
        assert!(first[0].contains("| as long as the yardstick | ≤ 2 | 15.00 | 5.00 | 20.00 | 3 | missed |"));
        let saved = Report::read(&folder.path().join(VALUES)).expect("was written");
        saved.write_into(&document).expect("has marks");
        assert_eq!(files(), first);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        assert_eq!(spread(&[4.0, 1.0, 3.0, 2.0]), (2.5, 1.0, 4.0));
        assert_eq!(spread(&[3.0, 1.0, 2.0]), (2.0, 1.0, 3.0));
        assert!(spread(&[]).0.is_nan());
    }

    #[test]
    fn better_than_the_target_is_more_than_one_either_way() {
        assert!(Of::AtLeast(2.0).reached(4.0) > 1.0 && Of::AtMost(2.0).reached(1.0) > 1.0);
        assert!(Of::AtLeast(2.0).reached(1.0) < 1.0 && Of::AtMost(2.0).reached(4.0) < 1.0);
    }
}
