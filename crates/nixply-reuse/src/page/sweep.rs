//! How the registry push depends on the number of layers: a line a packer.

use super::html::{escape, ratio};
use super::svg::{Anchor, Svg};
use crate::figures::Moved;
use crate::report::Report;
use crate::run::Run;
use std::fmt::Write as _;

const WIDTH: u64 = 10_000;
const HEIGHT: u64 = 3_600;
const LEFT: u64 = 500;
const RIGHT: u64 = 1_500;
const TOP: u64 = 120;
const BOTTOM: u64 = 420;

/// The lines go up to so many thousandths; packers beyond it are in the table.
const MOST_THOUSANDTHS: u64 = 2_500;

/// One packer over all numbers of layers.
struct Line<'a> {
    planner: &'a str,
    /// The number of layers and the ratio in thousandths.
    points: Vec<(usize, Moved)>,
}

pub(super) fn section(report: &Report, limits: &[usize]) -> String {
    let lines = lines(report);
    let mut rows = String::new();
    for line in &lines {
        let _ = write!(rows, "<tr><th scope=\"row\">{}</th>", escape(line.planner));
        for limit in limits {
            let point = line
                .points
                .iter()
                .find(|(max_layers, _)| max_layers == limit);
            let text = point.map_or_else(|| "–".to_owned(), |(_, moved)| ratio(*moved));
            let _ = write!(rows, "<td>{text}</td>");
        }
        rows.push_str("</tr>\n");
    }
    let mut heads = String::new();
    for limit in limits {
        let _ = write!(
            heads,
            "<th scope=\"col\"><a href=\"#k{limit}\">{limit} layers</a></th>"
        );
    }
    format!(
        "<section>\n<h2>How many layers it takes</h2>\n<figure>\n\
         <figcaption><b>Registry push by the number of layers.</b> As a multiple of one layer per path; what lies above \
         2.5 is in the table only.</figcaption>\n{}</figure>\n\
         <div class=\"scroll\"><table class=\"figures\">\n<thead><tr><th scope=\"col\">push</th>{heads}</tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n</section>\n",
        chart(&lines, limits)
    )
}

fn lines(report: &Report) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for run in &report.runs {
        let Run {
            planner,
            max_layers: Some(max_layers),
            total,
            ..
        } = run
        else {
            continue;
        };
        let point = (*max_layers, total.push);
        match lines.iter_mut().find(|line| line.planner == planner) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                planner,
                points: vec![point],
            }),
        }
    }
    for line in &mut lines {
        line.points.sort_by_key(|(max_layers, _)| *max_layers);
    }
    lines
}

fn chart(lines: &[Line<'_>], limits: &[usize]) -> String {
    let least = limits.iter().copied().min().unwrap_or(0) as u64;
    let most = limits.iter().copied().max().unwrap_or(0) as u64;
    let (width, height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let x_of = |max_layers: u64| LEFT + (max_layers - least) * width / (most - least).max(1);
    let y_of = |thousandths: u64| {
        let above = thousandths.clamp(1000, MOST_THOUSANDTHS) - 1000;
        TOP + height - above * height / (MOST_THOUSANDTHS - 1000)
    };
    let said: Vec<String> = lines
        .iter()
        .map(|line| {
            let points = line.points.iter();
            let points: Vec<String> = points
                .map(|(k, moved)| format!("{} at {k}", ratio(*moved)))
                .collect();
            format!("{}: {}", line.planner, points.join(", "))
        })
        .collect();
    let mut svg = Svg::new(
        WIDTH,
        HEIGHT,
        "Registry push by the number of layers",
        &said.join("; "),
    );
    for thousandths in [1000, 1500, 2000, 2500] {
        let y = y_of(thousandths);
        let text = format!("{}.{}×", thousandths / 1000, thousandths / 100 % 10);
        svg.line((LEFT, y), (LEFT + width, y), "grid");
        svg.text((LEFT - 80, y + 40), Anchor::End, "tick", &text);
    }
    for &limit in limits {
        let x = x_of(limit as u64);
        svg.line((x, TOP + height), (x, TOP + height + 50), "axis");
        svg.text(
            (x, TOP + height + 190),
            Anchor::Middle,
            "tick",
            &limit.to_string(),
        );
    }
    svg.text(
        (LEFT + width / 2, HEIGHT - 40),
        Anchor::Middle,
        "tick",
        "most layers of store paths",
    );
    let mut labels: Vec<(u64, &str, usize)> = Vec::new();
    for (idx, line) in lines.iter().enumerate() {
        let points: Vec<(u64, u64)> = line
            .points
            .iter()
            .filter(|(_, moved)| moved.is_within(MOST_THOUSANDTHS))
            .filter_map(|&(k, moved)| Some((x_of(k as u64), y_of(thousandths(moved)?))))
            .collect();
        let Some(&(_, y)) = points.last() else {
            continue;
        };
        svg.path(&points, &format!("curve c{}", idx % 8));
        for &at in &points {
            svg.circle(at, 35, &format!("point c{}", idx % 8), line.planner);
        }
        labels.push((y, line.planner, idx));
    }
    // Names stand at the lines' ends, one above another where ends are close.
    labels.sort_unstable();
    let mut free = TOP + height;
    for (y, planner, idx) in labels.into_iter().rev() {
        let y = y.min(free);
        free = y.saturating_sub(150);
        let class = format!("name t{}", idx % 8);
        svg.text((LEFT + width + 100, y + 40), Anchor::Start, &class, planner);
    }
    svg.finish()
}

fn thousandths(moved: Moved) -> Option<u64> {
    let ratio = (u128::from(moved.bytes) * 1000).checked_div(u128::from(moved.bound_bytes))?;
    u64::try_from(ratio).ok()
}
