//! What moved in all, and what one pull takes: a bar a packer.

use super::html::{escape, ratio, size};
use super::scale::Scale;
use super::svg::{Anchor, Svg};
use crate::figures::Moved;
use crate::report::Report;
use crate::run::Run;

const WIDTH: u64 = 10_000;
const NAMES: u64 = 1_250;
const LABELS: u64 = 2_300;
const ROW: u64 = 260;
const BAR: u64 = 170;

/// A chart: what its bars are, and the bytes of a run.
struct Chart<'a> {
    title: String,
    explanation: &'a str,
    moved: &'a dyn Fn(&Run) -> Moved,
}

pub(super) fn section(report: &Report, runs: &[&Run]) -> String {
    let updates = pulls(report, 1);
    let deploys = pulls(report, 0) * report.deploys as u64;
    let pairs = pulls(report, 0) * (report.images.len() as u64).saturating_sub(1);
    let mean = |moved: Moved, count: u64| Moved {
        bytes: moved.bytes.checked_div(count).unwrap_or(0),
        bound_bytes: moved.bound_bytes.checked_div(count).unwrap_or(0),
    };
    let charts = [
        Chart {
            title: if report.pins.len() > 1 {
                "Pushed to the registry, all pins but the first".to_owned()
            } else {
                "Pushed to the registry".to_owned()
            },
            explanation: "Layers that the registry did not have.",
            moved: &|run| run.total.push,
        },
        Chart {
            title: "One pull of one image, an update".to_owned(),
            explanation: "What a host pulls that has the image's version of the pin before, on average.",
            moved: &|run| mean(run.total.pull, updates),
        },
        Chart {
            title: "One deploy of one image".to_owned(),
            explanation: "What a host pulls when nothing but the image's own paths changed, on average.",
            moved: &|run| mean(run.total.deploy, deploys),
        },
        Chart {
            title: "One image onto a host that has another".to_owned(),
            explanation: "What a host pulls for a second image of the fleet, on average of all ordered pairs.",
            moved: &|run| mean(run.total.cross, pairs),
        },
    ];
    let charts: String = charts
        .iter()
        .filter(|chart| runs.iter().any(|run| (chart.moved)(run).bytes > 0))
        .map(|chart| chart.draw(runs))
        .collect();
    format!(
        "<section>\n<h3>What moved</h3>\n{}{charts}</section>\n",
        legend()
    )
}

/// How many pulls of first versions there are, from a pin on; exact where every pin has every image.
fn pulls(report: &Report, from_pin: usize) -> u64 {
    (report.pins.len().saturating_sub(from_pin) * report.images.len()) as u64
}

/// The two colours of all charts.
pub(super) fn legend() -> &'static str {
    "<p class=\"legend\"><span class=\"key needed\"></span> needed: paths that were not there \
     <span class=\"key again\"></span> again: paths that were there and shared a layer with others</p>\n"
}

impl Chart<'_> {
    fn draw(&self, runs: &[&Run]) -> String {
        let most = runs
            .iter()
            .map(|run| (self.moved)(run).bytes)
            .max()
            .unwrap_or(0);
        let plot = WIDTH - NAMES - LABELS;
        let scale = Scale::new(most, plot);
        let height = ROW * runs.len() as u64 + 260;
        let said: Vec<String> = runs
            .iter()
            .map(|run| {
                let moved = (self.moved)(run);
                format!(
                    "{} {}, {} times the needed",
                    run.planner,
                    size(moved.bytes),
                    ratio(moved)
                )
            })
            .collect();
        let mut svg = Svg::new(WIDTH, height, &self.title, &said.join("; "));
        let bottom = ROW * runs.len() as u64;
        for (bytes, text) in scale.ticks() {
            let x = NAMES + scale.length(bytes);
            svg.line((x, 0), (x, bottom + 40), "grid");
            svg.text((x, bottom + 190), Anchor::Middle, "tick", &text);
        }
        for (row, run) in (0_u64..).zip(runs) {
            let moved = (self.moved)(run);
            let top = row * ROW + (ROW - BAR) / 2;
            let (needed, all) = (scale.length(moved.bound_bytes), scale.length(moved.bytes));
            let tip = |what: &str, bytes| format!("{}: {what} {}", run.planner, size(bytes));
            svg.text((NAMES - 100, top + 135), Anchor::End, "name", &run.planner);
            svg.rect(
                (NAMES, top),
                (needed, BAR),
                "needed",
                &tip("needed", moved.bound_bytes),
            );
            svg.rect(
                (NAMES + needed, top),
                (all.saturating_sub(needed), BAR),
                "again",
                &tip("again", moved.extra_bytes()),
            );
            let label = format!("{} · {}×", size(moved.bytes), ratio(moved));
            svg.text(
                (NAMES + all + 80, top + 135),
                Anchor::Start,
                "value",
                &label,
            );
        }
        format!(
            "<figure>\n<figcaption><b>{}.</b> {}</figcaption>\n{}</figure>\n",
            escape(&self.title),
            escape(self.explanation),
            svg.finish()
        )
    }
}
