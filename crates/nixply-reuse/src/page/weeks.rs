//! What moved at each pin: a small chart a packer, all on one scale.

use super::bars::legend;
use super::html::{escape, ratio, short_pin, size};
use super::scale::Scale;
use super::svg::{Anchor, Svg};
use crate::figures::{Figures, Moved};
use crate::report::Report;
use crate::run::Run;
use std::fmt::Write as _;

const WIDTH: u64 = 3_200;
const HEIGHT: u64 = 1_700;
const LEFT: u64 = 480;
const TOP: u64 = 60;
const BOTTOM: u64 = 240;

/// A measure: what it is called, and the bytes of a pin.
struct Measure {
    title: &'static str,
    explanation: &'static str,
    of: fn(&Figures) -> Moved,
}

const MEASURES: [Measure; 2] = [
    Measure {
        title: "Pushed to the registry at each pin",
        explanation: "Layers that the registry did not have, of all images together. The figures beside the names leave \
                      out the first pin, where everything is new.",
        of: |figures| figures.push,
    },
    Measure {
        title: "Pulled by the updates of each pin",
        explanation: "One host an image, each with the version of the pin before.",
        of: |figures| figures.pull,
    },
];

pub(super) fn section(report: &Report, runs: &[&Run]) -> String {
    if report.pins.len() < 2 {
        return String::new();
    }
    let measures: String = MEASURES
        .iter()
        .map(|measure| measure.draw(report, runs))
        .collect();
    format!(
        "<section>\n<h3>From pin to pin</h3>\n{}{measures}</section>\n",
        legend()
    )
}

impl Measure {
    fn draw(&self, report: &Report, runs: &[&Run]) -> String {
        let all = runs.iter().flat_map(|run| &run.pins);
        let most = all
            .map(|figures| (self.of)(figures).bytes)
            .max()
            .unwrap_or(0);
        let panels: String = runs
            .iter()
            .map(|run| self.panel(report, run, most))
            .collect();
        format!(
            "<figure>\n<figcaption><b>{}.</b> {}</figcaption>\n<div class=\"panels\">\n{panels}</div>\n{}</figure>\n",
            self.title,
            self.explanation,
            self.table(report, runs)
        )
    }

    fn panel(&self, report: &Report, run: &Run, most: u64) -> String {
        let plot = (WIDTH - LEFT, HEIGHT - TOP - BOTTOM);
        let scale = Scale::new(most, plot.1);
        // As in the table of all figures: at the first pin everything is new.
        let total: Moved = run.pins.iter().skip(1).map(self.of).sum();
        let description = format!(
            "{} from the second pin on, {} of it needed; the figures stand in the table below.",
            size(total.bytes),
            size(total.bound_bytes)
        );
        let title = format!("{}: {}", run.planner, self.title);
        let mut svg = Svg::new(WIDTH, HEIGHT, &title, &description);
        let floor = TOP + plot.1;
        for (bytes, text) in scale.ticks() {
            let y = floor - scale.length(bytes);
            svg.line((LEFT, y), (WIDTH, y), "grid");
            svg.text((LEFT - 50, y + 35), Anchor::End, "tick", &text);
        }
        let column = plot.0 / run.pins.len().max(1) as u64;
        let bar = column * 7 / 10;
        // Labels of a date are about five columns' worth of digits; only so many fit side by side.
        let every = (run.pins.len() as u64).div_ceil(5);
        for ((at, figures), pin) in (0_u64..).zip(&run.pins).zip(&report.pins) {
            let moved = (self.of)(figures);
            let x = LEFT + at * column + (column - bar) / 2;
            let (needed, all) = (scale.length(moved.bound_bytes), scale.length(moved.bytes));
            let tip = |what: &str, bytes| format!("{}: {what} {}", pin.name, size(bytes));
            svg.rect(
                (x, floor - needed),
                (bar, needed),
                "needed",
                &tip("needed", moved.bound_bytes),
            );
            svg.rect(
                (x, floor - all),
                (bar, all.saturating_sub(needed)),
                "again",
                &tip("again", moved.extra_bytes()),
            );
            if at % every == 0 {
                let name = short_pin(&pin.name);
                // The year would say the same below every bar.
                let label = if name.len() == 10 { &name[5..] } else { name };
                svg.text((x + bar / 2, floor + 150), Anchor::Middle, "tick", label);
            }
        }
        svg.line((LEFT, floor), (WIDTH, floor), "axis");
        format!(
            "<div class=\"panel\"><h4>{} <span>{}× · {}</span></h4>\n{}</div>\n",
            escape(&run.planner),
            ratio(total),
            size(total.bytes),
            svg.finish()
        )
    }

    fn table(&self, report: &Report, runs: &[&Run]) -> String {
        let mut rows = String::new();
        for (idx, pin) in report.pins.iter().enumerate() {
            let _ = write!(rows, "<tr><th scope=\"row\">{}</th>", escape(&pin.name));
            let needed = runs
                .first()
                .map_or(0, |run| (self.of)(&run.pins[idx]).bound_bytes);
            let _ = write!(rows, "<td>{}</td>", size(needed));
            for run in runs {
                let _ = write!(rows, "<td>{}</td>", size((self.of)(&run.pins[idx]).bytes));
            }
            rows.push_str("</tr>\n");
        }
        let mut names = String::new();
        for run in runs {
            let _ = write!(names, "<th scope=\"col\">{}</th>", escape(&run.planner));
        }
        format!(
            "<details>\n<summary>The figures</summary>\n<div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">pin</th>\
             <th scope=\"col\">needed</th>{names}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n</details>\n"
        )
    }
}
