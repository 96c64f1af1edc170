//! The table of all figures.

use super::html::{escape, ratio};
use crate::figures::Moved;
use crate::report::Report;
use crate::run::Run;
use std::fmt::Write as _;

pub(super) fn section(report: &Report, runs: &[&Run]) -> String {
    let mut leaves = String::new();
    if let Some(run) = runs.first() {
        for insertion in &run.insertions {
            let kilobytes = insertion.leaf_nar_size_bytes / 1000;
            let size = if kilobytes < 1000 {
                format!("{kilobytes} kB")
            } else {
                format!("{} MB", kilobytes / 1000)
            };
            let _ = write!(leaves, "<th scope=\"col\">leaf of {size}</th>");
        }
    }
    let rows: String = runs.iter().map(|run| row(run)).collect();
    let first = match report.pins.as_slice() {
        [first, _, ..] => format!(
            " The push leaves out the first pin, {}.",
            escape(&first.name)
        ),
        _ => String::new(),
    };
    format!(
        "<section>\n<h3>All figures</h3>\n\
         <p>Bytes moved as a multiple of one layer per path. Behind them, the megabytes (MB) that move again, on average of an \
         image, when it gets a new leaf.{first}</p>\n\
         <div class=\"scroll\"><table class=\"figures\">\n<thead><tr><th scope=\"col\">packer</th>\
         <th scope=\"col\">push</th><th scope=\"col\">pull</th><th scope=\"col\">cross</th><th scope=\"col\">deploy</th>\
         <th scope=\"col\">chain</th><th scope=\"col\">deploy, chain</th>{leaves}<th scope=\"col\">layers, most</th>\
         <th scope=\"col\">mean</th><th scope=\"col\">ms a plan</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n\
         </section>\n"
    )
}

fn row(run: &Run) -> String {
    let total = run.total;
    let mut row = format!("<tr><th scope=\"row\">{}</th>", escape(&run.planner));
    for moved in [
        total.push,
        total.pull,
        total.cross,
        total.deploy,
        total.chain,
        total.deploy_chain,
    ] {
        let _ = write!(row, "<td class=\"{}\">{}</td>", grade(moved), ratio(moved));
    }
    for insertion in &run.insertions {
        let text = match insertion.again_bytes_an_image() {
            None => "–".to_owned(),
            Some(bytes) => {
                let tenths = bytes.saturating_add(50_000) / 100_000;
                format!("{}.{}", tenths / 10, tenths % 10)
            }
        };
        let _ = write!(row, "<td>{text}</td>");
    }
    let mean = (run.layers * 10).checked_div(run.layered_plans);
    let mean = mean.map_or_else(
        || "–".to_owned(),
        |tenths| format!("{}.{}", tenths / 10, tenths % 10),
    );
    let nanos = run.plan_nanos.checked_div(u64::from(run.plans));
    let time = nanos.map_or_else(
        || "–".to_owned(),
        |nanos| {
            let hundredths = nanos.saturating_add(5000) / 10_000;
            format!("{}.{:02}", hundredths / 100, hundredths % 100)
        },
    );
    let _ = writeln!(
        row,
        "<td>{}</td><td>{mean}</td><td>{time}</td></tr>",
        run.most_layers
    );
    row
}

/// How a ratio is shaded: within 2 %, within 10 %, within half, within twice, beyond.
fn grade(moved: Moved) -> &'static str {
    let grades = [(1020, "g0"), (1100, "g1"), (1500, "g2"), (2000, "g3")];
    let fits = grades
        .into_iter()
        .find(|(thousandths, _)| moved.is_within(*thousandths));
    fits.map_or("g4", |(_, grade)| grade)
}
