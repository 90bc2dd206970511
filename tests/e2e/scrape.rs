//! What `/metrics` told at one moment, in the text format of Prometheus.

use anyhow::{Result, ensure};
use world::Api;

/// The numbers of one process.
#[derive(Debug)]
pub(crate) struct Scrape(String);

impl Scrape {
    pub(crate) async fn of(admin: &Api) -> Result<Self> {
        let answer = admin.get("/metrics").await?;
        ensure!(answer.status == 200, "{}", answer.text);
        Ok(Self(answer.text))
    }

    /// All of it.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// The number of the series with these labels, and maybe others.
    pub(crate) fn number(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let mut found = self.0.lines().filter_map(|line| series(line, name, labels));
        match (found.next(), found.next()) {
            (Some(value), None) => Ok(value.parse()?),
            (None, _) => anyhow::bail!("no {name} {labels:?} in\n{}", self.0),
            (Some(_), Some(_)) => anyhow::bail!("more than one {name} {labels:?} in\n{}", self.0),
        }
    }

    /// What a histogram holds: how many values, and their sum.
    pub(crate) fn histogram(&self, name: &str, labels: &[(&str, &str)]) -> Result<(f64, f64)> {
        let part = |part| self.number(&format!("{name}_{part}"), labels);
        let everything: Vec<_> = labels.iter().copied().chain([("le", "+Inf")]).collect();
        let (count, sum) = (part("count")?, part("sum")?);
        // Buckets: those of a summary, which cannot be added up over processes, are not what is promised.
        let in_buckets = self.number(&format!("{name}_bucket"), &everything)?;
        ensure!(in_buckets == count, "{in_buckets} of {count} values of {name} are in buckets");
        Ok((count, sum))
    }

    /// Whether what a metric means is told, and of which type it is.
    pub(crate) fn describes(&self, name: &str, of_type: &str) -> Result<()> {
        let lines = [format!("# HELP {name} "), format!("# TYPE {name} {of_type}")];
        for line in lines {
            ensure!(self.0.lines().any(|told| told.starts_with(&line)), "no {line:?} in\n{}", self.0);
        }
        Ok(())
    }
}

fn series<'l>(line: &'l str, name: &str, labels: &[(&str, &str)]) -> Option<&'l str> {
    let rest = line.strip_prefix(name)?;
    let (held, value) = match rest.strip_prefix('{') {
        Some(labelled) => labelled.rsplit_once("} ")?,
        None => ("", rest.strip_prefix(' ')?),
    };
    let has =
        |(label, value): &(&str, &str)| held.split(',').any(|pair| pair == format!("{label}=\"{value}\""));
    labels.iter().all(has).then_some(value)
}
