//! The report as one HTML page: no script, no font, no picture that it would have to fetch.
//!
//! Charts are inline SVG with a title and a description each, and every figure stands in a table, too. Colours follow the
//! reader's light or dark setting. Geometry is in integers, so equal reports give equal pages.

mod bars;
mod figures;
mod html;
mod layers;
mod scale;
mod svg;
mod sweep;
mod weeks;

use crate::report::{ByteKind, Report};
use crate::run::Run;
use html::{escape, size};
use std::fmt::Write as _;

const STYLE: &str = include_str!("style.css");

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let limits = report.limits();
    let mut body = intro(report);
    if limits.len() > 1 {
        let numbers: Vec<usize> = limits.iter().flatten().copied().collect();
        body.push_str(&sweep::section(report, &numbers));
    }
    for &limit in &limits {
        let runs = report.runs_of(limit);
        let (id, title) = match limit {
            Some(limit) => (limit.to_string(), format!("At most {limit} layers")),
            None => ("all".to_owned(), "Without a limit of layers".to_owned()),
        };
        let _ = writeln!(
            body,
            "<h2 id=\"k{id}\">{title}</h2>\n{}{}{}{}",
            figures::section(report, &runs),
            bars::section(report, &runs),
            weeks::section(report, &runs),
            layers::section(report, &runs, &id),
        );
    }
    body.push_str(&how_to_read(report));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Layer reuse: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(&report.title),
    )
}

fn intro(report: &Report) -> String {
    let span = match report.pins.as_slice() {
        [] => "no pin".to_owned(),
        [only] => format!("one pin, {}", escape(&only.name)),
        [first, .., last] => format!(
            "{} pins from {} to {}",
            report.pins.len(),
            escape(&first.name),
            escape(&last.name)
        ),
    };
    let bytes = match report.bytes {
        ByteKind::Nar => "Bytes are NAR sizes, uncompressed.".to_owned(),
        ByteKind::Compressed {
            known_paths,
            unknown_paths,
        } => format!(
            "Bytes are compressed sizes of {known_paths} paths, and NAR sizes of {unknown_paths} that the store \
             does not have."
        ),
    };
    let own = if report.names_own_paths {
        ""
    } else {
        " Packers were not told which paths are an image's own."
    };
    let plural = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let deploys = if report.has_deploys() {
        format!("{} of each image a pin", plural(report.deploys, "deploy"))
    } else {
        "no deploys".to_owned()
    };
    let mut text = format!(
        "<header>\n<p class=\"kicker\">nixply bench reuse</p>\n<h1>What a fleet moves</h1>\n\
         <p class=\"lead\">{}: {span}, {}, {deploys}. {bytes}{own}</p>\n",
        escape(&report.title),
        plural(report.images.len(), "image"),
    );
    if let Some(most) = report.limits().into_iter().flatten().max() {
        text.push_str(&headline(&report.runs_of(Some(most)), most));
    }
    text.push_str("</header>\n");
    text
}

/// What was pushed under the packers that people ask for first, in one sentence.
fn headline(runs: &[&Run], limit: usize) -> String {
    let asked_for = ["fleet", "solo", "auto-layer", "popularity"];
    let find = |name: &&str| runs.iter().find(|run| run.planner == *name);
    let shown: Vec<&&Run> = asked_for.iter().filter_map(find).collect();
    let [first, rest @ ..] = shown.as_slice() else {
        return String::new();
    };
    let needed = first.total.push.bound_bytes;
    if needed == 0 || rest.is_empty() {
        return String::new();
    }
    let part = |run: &&&Run| {
        let push = run.total.push;
        format!(
            "<b>{}</b> under {} ({}×)",
            size(push.bytes),
            escape(&run.planner),
            html::ratio(push)
        )
    };
    let parts: Vec<String> = shown.iter().map(part).collect();
    format!(
        "<p class=\"headline\">One layer per store path would have added {} to the registry. With at most {limit} layers \
         it took {}.</p>\n",
        size(needed),
        parts.join(", ")
    )
}

fn how_to_read(report: &Report) -> String {
    let mut images = String::new();
    for image in &report.images {
        let sets: Vec<String> = image.sets.iter().map(|set| escape(set)).collect();
        let of = if sets.is_empty() {
            "used as it is".to_owned()
        } else {
            sets.join(", ")
        };
        let name = escape(&image.name);
        let _ = writeln!(
            images,
            "<tr><th scope=\"row\">{name}</th><td>{of}</td></tr>"
        );
    }
    format!(
        "<section>\n<h2>How to read this</h2>\n<dl>\n\
         <dt>Needed</dt><dd>What one layer per store path would have moved: the paths themselves that were not there. \
         Nothing that keeps store paths whole moves less.</dd>\n\
         <dt>Again</dt><dd>The rest: paths that were there already and travelled once more, because they shared a layer \
         with one that was not.</dd>\n\
         <dt>Push</dt><dd>Layers that the registry does not have yet, all images one after another. At the first pin \
         everything is new, so it stands apart.</dd>\n\
         <dt>Pull</dt><dd>The update: what a host pulls at a pin that has the image's version of the pin before.</dd>\n\
         <dt>Cross</dt><dd>What a host pulls for one image when it has another one of the same pin; all ordered \
         pairs.</dd>\n\
         <dt>Deploy</dt><dd>What a host pulls when nothing but the image's own paths changed.</dd>\n\
         <dt>Chain</dt><dd>The pull of clients that fetch everything above the first layer that changed.</dd>\n\
         <dt>New leaf</dt><dd>What moves again, on average of an image, when it gets one more small path.</dd>\n\
         </dl>\n<details>\n<summary>The images</summary>\n<div class=\"scroll\"><table>\n\
         <thead><tr><th scope=\"col\">image</th><th scope=\"col\">package sets</th></tr></thead>\n\
         <tbody>\n{images}</tbody>\n</table></div>\n</details>\n</section>\n"
    )
}
