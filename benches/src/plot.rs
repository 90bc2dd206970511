//! The ratios as a picture: how far each is from its target, as SVG that a browser shows in light and in dark.
//!
//! The axis is logarithmic, because half of a target and twice a target are equally far from it. On the right is what is better,
//! whether the target is a least or a most.

use std::fmt::{Result, Write as _};

const WIDTH: f64 = 960.0;
/// Where the axis begins and ends; left of it are the names, right of it the values.
const AXIS: (f64, f64) = (400.0, 810.0);
/// Where the first row is, and how high each is.
const TOP: f64 = 64.0;
const ROW: f64 = 30.0;

/// System fonts, and colours of sufficient contrast on white and on GitHub's dark grey.
const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}\
.title{font-weight:600}.quiet{fill:#59636e}.end{text-anchor:end}.middle{text-anchor:middle}\
.grid{stroke:#d1d9e0}.target{stroke:#1f2328;stroke-width:1.5}\
.met{fill:#1a7f37;stroke:#1a7f37}.missed{fill:#fff;stroke:#bc4c00}.range{stroke-width:7;stroke-opacity:.35}.median{stroke-width:2.5}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.quiet{fill:#9198a1}.grid{stroke:#3d444d}.target{stroke:#f0f6fc}\
.met{fill:#3fb950;stroke:#3fb950}.missed{fill:#0d1117;stroke:#f0883e}}";

/// A ratio with its target.
#[derive(Debug)]
pub(crate) struct Row<'r> {
    pub(crate) name: &'r str,
    /// The median and its target, as a reader is told them.
    pub(crate) told: String,
    pub(crate) met: bool,
    /// How good it is beside its target, which is 1: worst, median and best.
    pub(crate) reached: [f64; 3],
}

/// The picture.
///
/// # Errors
/// None is expected: text takes all that is written.
pub(crate) fn svg(rows: &[Row<'_>]) -> std::result::Result<String, std::fmt::Error> {
    let axis = Axis::over(rows);
    let bottom = TOP + ROW * rows.len() as f64;
    let mut out = String::new();
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {}" role="img" aria-label="Each ratio beside its target">"#,
        bottom + 40.0
    )?;
    writeln!(out, "<style>{STYLE}</style>")?;
    writeln!(
        out,
        r#"<text class="title" x="12" y="24">Median and range of each ratio, beside its target</text>"#
    )?;
    axis.draw(&mut out, bottom)?;
    for (number, row) in rows.iter().enumerate() {
        row.draw(&mut out, &axis, TOP + ROW * (number as f64 + 0.5))?;
    }
    writeln!(out, "</svg>")?;
    Ok(out)
}

/// Powers of two around the target.
struct Axis {
    least: i32,
    most: i32,
}

impl Axis {
    /// Wide enough for every value, and for one step on each side of the target.
    fn over(rows: &[Row<'_>]) -> Self {
        let values =
            || rows.iter().flat_map(|row| row.reached).filter(|value| value.is_finite() && *value > 0.0);
        let least = values().fold(0.5, f64::min).log2().floor();
        let most = values().fold(2.0, f64::max).log2().ceil();
        Self { least: least as i32, most: most as i32 }
    }

    fn x(&self, value: f64) -> f64 {
        let (least, most) = (f64::from(self.least), f64::from(self.most));
        AXIS.0 + (AXIS.1 - AXIS.0) * (value.log2().clamp(least, most) - least) / (most - least)
    }

    fn draw(&self, out: &mut String, bottom: f64) -> Result {
        for power in self.least..=self.most {
            let x = self.x(f64::from(power).exp2());
            let (class, label) = match power {
                0 => ("target", "target".to_owned()),
                1.. => ("grid", format!("{}×", 1_u64 << power)),
                _ => ("grid", format!("1/{}", 1_u64 << power.unsigned_abs())),
            };
            writeln!(out, r#"<path class="{class}" d="M{x:.1} {TOP}V{bottom}"/>"#)?;
            writeln!(out, r#"<text class="quiet middle" x="{x:.1}" y="{}">{label}</text>"#, TOP - 10.0)?;
        }
        let (legend, met) = (bottom + 26.0, self.x(1.0));
        writeln!(out, r#"<text class="quiet end" x="{:.1}" y="{legend}">← missed</text>"#, met - 10.0)?;
        writeln!(out, r#"<text class="quiet" x="{:.1}" y="{legend}">met →</text>"#, met + 10.0)
    }
}

impl Row<'_> {
    fn draw(&self, out: &mut String, axis: &Axis, y: f64) -> Result {
        let class = if self.met { "met" } else { "missed" };
        let [worst, median, best] = self.reached.map(|value| axis.x(value));
        let (name, told, base) = (escaped(self.name), escaped(&self.told), y + 4.5);
        writeln!(out, r#"<text class="end" x="{}" y="{base}">{name}</text>"#, AXIS.0 - 14.0)?;
        writeln!(out, r#"<path class="{class} range" d="M{worst:.1} {y}H{best:.1}"/>"#)?;
        writeln!(out, r#"<circle class="{class} median" cx="{median:.1}" cy="{y}" r="5"/>"#)?;
        writeln!(out, r#"<text class="quiet" x="{}" y="{base}">{told}</text>"#, AXIS.1 + 14.0)
    }
}

/// As XML's text; the marks of code in a name are Markdown's.
fn escaped(text: &str) -> String {
    text.replace('`', "").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, met: bool, reached: [f64; 3]) -> Row<'_> {
        Row { name, told: "made up".to_owned(), met, reached }
    }

    #[test]
    fn what_is_better_is_on_the_right_and_nothing_leaves_the_axis() {
        let rows = [row("one", true, [1.0, 3.0, 40.0]), row("two", false, [0.04, 0.3, 0.9])];
        let axis = Axis::over(&rows);
        assert_eq!((axis.least, axis.most), (-5, 6));
        assert!(axis.x(0.3) < axis.x(1.0) && axis.x(1.0) < axis.x(3.0));
        assert_eq!((axis.x(0.0), axis.x(f64::INFINITY)), AXIS);
        // Without any value, the target still has a step on each side.
        assert_eq!((Axis::over(&[]).least, Axis::over(&[]).most), (-1, 1));
    }

    #[test]
    fn every_row_is_there_with_its_name_as_xml() {
        let picture =
            svg(&[row("`a` < b & c", true, [1.1; 3]), row("d", false, [0.5, 0.6, 0.7])]).expect("text");
        assert!(picture.contains(">a &lt; b &amp; c</text>") && picture.contains(">made up</text>"));
        assert_eq!(picture.matches("<circle class=\"met").count(), 1);
        assert_eq!(picture.matches("<circle class=\"missed").count(), 1);
        assert!(!picture.contains("NaN"));
    }
}
