//! The timeline of a run as SVG that a browser shows in light and in dark: answers per second, age, and faults as bars.

use std::fmt::{Result, Write as _};

use super::timeline::{Bar, Sample};

const WIDTH: f64 = 960.0;
/// Where times begin and end; left of it are the names.
const AXIS: (f64, f64) = (110.0, 940.0);
/// How high each plot is, and each row of faults, and what is between them.
const PLOT: f64 = 110.0;
const ROW: f64 = 18.0;
const GAP: f64 = 30.0;
/// Beyond so many points a browser shows no more.
const POINTS: usize = 800;
const ROWS: [&str; 4] = ["processes", "broker", "database", "arrows"];

const STYLE: &str = "\
text{font:12px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}\
.title{font-weight:600}.quiet{fill:#59636e}.end{text-anchor:end}.middle{text-anchor:middle}\
.grid{stroke:#d1d9e0}.rate,.age{fill:none;stroke-width:1.5}.rate{stroke:#0969da}.age{stroke:#bc4c00}\
.fault{fill:#bc4c00;fill-opacity:.75}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.quiet{fill:#9198a1}.grid{stroke:#3d444d}\
.rate{stroke:#4493f8}.age{stroke:#f0883e}.fault{fill:#f0883e}}";

/// The picture of a run of so many seconds.
///
/// # Errors
/// None is expected: text takes all that is written.
pub(super) fn svg(
    samples: &[Sample],
    bars: &[Bar],
    seconds: f64,
) -> std::result::Result<String, std::fmt::Error> {
    let axis = Axis { seconds: seconds.max(1.0) };
    let (first, second) = (GAP, GAP + PLOT + GAP);
    let rows = second + PLOT + GAP;
    let bottom = rows + ROW * ROWS.len() as f64;
    let mut out = String::new();
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {}" role="img" aria-label="Load, age and faults over time">"#,
        bottom + 30.0
    )?;
    writeln!(out, "<style>{STYLE}</style>")?;
    let each = samples.len().div_ceil(POINTS).max(1);
    let rates = samples.chunks(each).map(|few| (few[0].at, Some(mean(few))));
    axis.plot(&mut out, first, "rate", "answers per second", &rates.collect::<Vec<_>>())?;
    let ages = samples.chunks(each).map(|few| (few[0].at, oldest(few)));
    axis.plot(&mut out, second, "age", "age of the oldest NEW order, in seconds", &ages.collect::<Vec<_>>())?;
    for (row, name) in ROWS.iter().enumerate() {
        let y = rows + ROW * row as f64;
        writeln!(out, r#"<text class="end" x="{}" y="{:.1}">{name}</text>"#, AXIS.0 - 10.0, y + 12.0)?;
        for bar in bars.iter().filter(|bar| bar.row == *name) {
            let (from, until) = (axis.x(bar.from), axis.x(bar.until.unwrap_or(seconds)));
            let (width, high, Bar { what, whom, .. }) = ((until - from).max(1.0), ROW - 4.0, bar);
            write!(
                out,
                r#"<rect class="fault" x="{from:.1}" y="{y:.1}" width="{width:.1}" height="{high}">"#
            )?;
            writeln!(out, "<title>{whom} {what}</title></rect>")?;
        }
    }
    axis.times(&mut out, first, bottom)?;
    writeln!(out, "</svg>")?;
    Ok(out)
}

fn mean(few: &[Sample]) -> f64 {
    few.iter().map(|sample| sample.rate).sum::<f64>() / few.len() as f64
}

fn oldest(few: &[Sample]) -> Option<f64> {
    few.iter().filter_map(|sample| sample.age).reduce(f64::max)
}

struct Axis {
    seconds: f64,
}

impl Axis {
    fn x(&self, at: f64) -> f64 {
        AXIS.0 + (AXIS.1 - AXIS.0) * (at / self.seconds).clamp(0.0, 1.0)
    }

    /// A line below its title, with gaps where nothing is known.
    fn plot(
        &self,
        out: &mut String,
        top: f64,
        class: &str,
        title: &str,
        points: &[(f64, Option<f64>)],
    ) -> Result {
        let most = points.iter().filter_map(|(_, value)| *value).fold(1.0, f64::max);
        let bottom = top + PLOT;
        writeln!(out, r#"<text class="title" x="{}" y="{:.1}">{title}</text>"#, AXIS.0, top - 8.0)?;
        for (y, value) in [(top, most), (bottom, 0.0)] {
            writeln!(out, r#"<path class="grid" d="M{} {y}H{}"/>"#, AXIS.0, AXIS.1)?;
            writeln!(
                out,
                r#"<text class="quiet end" x="{}" y="{:.1}">{value:.0}</text>"#,
                AXIS.0 - 10.0,
                y + 4.0
            )?;
        }
        write!(out, r#"<path class="{class}" d=""#)?;
        let mut step = 'M';
        for (at, value) in points {
            match value {
                Some(value) => {
                    write!(out, "{step}{:.1} {:.1}", self.x(*at), bottom - PLOT * value / most)?;
                    step = 'L';
                }
                None => step = 'M',
            }
        }
        writeln!(out, r#""/>"#)
    }

    /// Ten of them, in minutes and seconds.
    fn times(&self, out: &mut String, top: f64, bottom: f64) -> Result {
        for tenth in 0..=10 {
            let at = self.seconds * f64::from(tenth) / 10.0;
            let (x, whole) = (self.x(at), at as u64);
            writeln!(out, r#"<path class="grid" d="M{x:.1} {top}V{bottom}" opacity=".4"/>"#)?;
            writeln!(
                out,
                r#"<text class="quiet middle" x="{x:.1}" y="{:.1}">{}:{:02}</text>"#,
                bottom + 18.0,
                whole / 60,
                whole % 60
            )?;
        }
        Ok(())
    }
}
