//! Which layers moved: for each packer, those in which most bytes travelled that were there already.

use super::html::{escape, short_pin, size};
use super::svg::{Anchor, Svg};
use crate::moved_layers::MovedLayers;
use crate::report::Report;
use crate::run::Run;
use std::fmt::Write as _;

/// So many layers a packer.
const ROWS: usize = 12;

const WIDTH: u64 = 10_000;
const NAMES: u64 = 2_500;
const TOTALS: u64 = 2_100;
const ROW: u64 = 280;
const TOP: u64 = 300;
const MOST_RADIUS: u64 = 130;

pub(super) fn section(report: &Report, runs: &[&Run], id: &str) -> String {
    if report.pins.len() < 2 {
        return String::new();
    }
    let mut text = "<section>\n<h3>Which layers moved</h3>\n\
         <p>Layers of updates, named after the package of their largest path, and summed over images. The area of a circle \
         is what travelled again in them at a pin, a dot a layer that moved with nothing in it again. Each packer has its own \
         scale, so that the largest circle is the same for all.</p>\n"
        .to_owned();
    let drawn: Vec<&&Run> = runs.iter().filter(|run| again(run) > 0).collect();
    for (idx, run) in drawn.iter().enumerate() {
        let open = if idx == 0 { " open" } else { "" };
        let _ = writeln!(
            text,
            "<details name=\"layers{id}\"{open}>\n<summary><b>{}</b> {} again in updates</summary>\n{}</details>",
            escape(&run.planner),
            size(again(run)),
            chart(report, run)
        );
    }
    if drawn.is_empty() {
        text.push_str("<p>Nothing travelled that was there.</p>\n");
    }
    text.push_str("</section>\n");
    text
}

fn again(run: &Run) -> u64 {
    run.total.pull.extra_bytes()
}

fn named(run: &Run) -> impl Iterator<Item = &MovedLayers> {
    run.moved_layers.iter().filter(|row| row.name.is_some())
}

fn chart(report: &Report, run: &Run) -> String {
    let rows: Vec<&MovedLayers> = named(run).take(ROWS).collect();
    let cells = rows.iter().flat_map(|row| &row.pins);
    let most = cells
        .map(|moved| moved.extra_bytes())
        .max()
        .unwrap_or(0)
        .max(1);
    let rest: crate::figures::Moved = run
        .moved_layers
        .iter()
        .filter(|row| !rows.iter().any(|shown| std::ptr::eq(*shown, *row)))
        .map(MovedLayers::total)
        .sum();
    let title = format!("Layers that moved under {}", run.planner);
    let said: Vec<String> = rows.iter().map(|row| said(row)).collect();
    let bottom = TOP + ROW * rows.len() as u64;
    let mut svg = Svg::new(WIDTH, bottom + 330, &title, &said.join("; "));
    // Nothing is pulled as an update at the first pin.
    let pins = report.pins.len() - 1;
    let column = (WIDTH - NAMES - TOTALS) / pins as u64;
    let every = (pins as u64).div_ceil(8);
    let totals = (WIDTH - TOTALS + 1_000, WIDTH - 60);
    svg.text(
        (NAMES - 100, 150),
        Anchor::End,
        "tick",
        &format!("largest circle: {}", size(most)),
    );
    svg.text((totals.0, 150), Anchor::End, "tick", "moved");
    svg.text((totals.1, 150), Anchor::End, "tick", "again");
    for (at, pin) in (0_u64..).zip(&report.pins[1..]) {
        let x = NAMES + at * column + column / 2;
        svg.line((x, TOP - 60), (x, bottom), "grid");
        if at % every == 0 {
            let name = short_pin(&pin.name);
            let label = if name.len() == 10 { &name[5..] } else { name };
            svg.text((x, 150), Anchor::Middle, "tick", label);
        }
    }
    for (at, row) in (0_u64..).zip(&rows) {
        let y = TOP + at * ROW + ROW / 2;
        let name = row.name.as_deref().unwrap_or_default();
        svg.text(
            (NAMES - 100, y + 45),
            Anchor::End,
            "name",
            &label(name, row.paths),
        );
        for ((column_at, moved), pin) in (0_u64..).zip(&row.pins[1..]).zip(&report.pins[1..]) {
            let again = moved.extra_bytes();
            // Area, not radius, grows with bytes.
            let area = u128::from(again) * u128::from(MOST_RADIUS * MOST_RADIUS) / u128::from(most);
            let radius = u64::try_from(area.isqrt()).unwrap_or(MOST_RADIUS);
            if moved.bytes > 0 {
                let tip = format!(
                    "{name}, {}: {} moved, {} of it again",
                    pin.name,
                    size(moved.bytes),
                    size(again)
                );
                let class = if radius < 10 { "dot" } else { "again" };
                let x = NAMES + column_at * column + column / 2;
                svg.circle((x, y), radius.max(12), class, &tip);
            }
        }
        let total = row.total();
        svg.text((totals.0, y + 45), Anchor::End, "value", &size(total.bytes));
        svg.text(
            (totals.1, y + 45),
            Anchor::End,
            "value",
            &size(total.extra_bytes()),
        );
    }
    let y = bottom + 180;
    svg.line((0, bottom + 20), (WIDTH, bottom + 20), "grid");
    svg.text((NAMES - 100, y), Anchor::End, "name", "all other layers");
    svg.text((totals.0, y), Anchor::End, "value", &size(rest.bytes));
    svg.text(
        (totals.1, y),
        Anchor::End,
        "value",
        &size(rest.extra_bytes()),
    );
    svg.finish()
}

/// The name, cut where the column ends, and how many paths share the layer.
fn label(name: &str, paths: usize) -> String {
    const MOST: usize = 24;
    let cut: String = name.chars().take(MOST).collect();
    let dots = if cut.len() < name.len() { "…" } else { "" };
    match paths {
        0 | 1 => format!("{cut}{dots}"),
        n => format!("{cut}{dots} +{}", n - 1),
    }
}

fn said(row: &MovedLayers) -> String {
    let total = row.total();
    format!(
        "{}: {} moved, {} of it again",
        row.name.as_deref().unwrap_or("others"),
        size(total.bytes),
        size(total.extra_bytes())
    )
}
