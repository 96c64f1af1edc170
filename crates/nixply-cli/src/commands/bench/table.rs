//! The report as people read it in a terminal: a table for each number of layers, and one of the pins.

use crate::text;
use nixply_reuse::{ByteKind, Moved, Report, Run};

/// Everything, at most 100 columns wide with the packers that there are.
pub(crate) fn describe(report: &Report) -> String {
    let mut text = heading(report);
    for limit in report.limits() {
        text.push('\n');
        text.push_str(&figures(report, limit));
    }
    if report.pins.len() > 1 {
        for limit in report.limits() {
            text.push('\n');
            text.push_str(&pushes(report, limit));
        }
    }
    text
}

fn heading(report: &Report) -> String {
    let pins = match report.pins.as_slice() {
        [] => "no pin".to_owned(),
        [only] => format!("one pin, {}", only.name),
        [first, .., last] => format!(
            "{} pins, {} to {}",
            report.pins.len(),
            first.name,
            last.name
        ),
    };
    let bytes = match report.bytes {
        ByteKind::Nar => "bytes are NAR sizes".to_owned(),
        ByteKind::Compressed {
            known_paths,
            unknown_paths,
        } => format!(
            "bytes are compressed sizes of {}, NAR sizes of {unknown_paths} that the store lacks",
            text::count(known_paths, "path")
        ),
    };
    let own = if report.names_own_paths {
        ""
    } else {
        "; packers guess what is an image's own"
    };
    let deploys = if report.has_deploys() {
        format!("{} a pin", text::count(report.deploys, "deploy"))
    } else {
        "no deploys".to_owned()
    };
    format!(
        "{}: {pins}\n{}, {deploys}; {bytes}{own}\n",
        report.title,
        text::count(report.images.len(), "image"),
    )
}

fn figures(report: &Report, limit: Option<usize>) -> String {
    let leaves = report.runs.first().map_or_else(Vec::new, |run| {
        let sizes = run.insertions.iter();
        sizes
            .map(|insertion| leaf(insertion.leaf_nar_size_bytes))
            .collect()
    });
    let insertion = format!("again after {}", leaves.join(" / "));
    let header = [
        "packer", "push", "pull", "cross", "deploy", "chain", &insertion, "layers", "ms/plan",
    ];
    let runs = report.runs_of(limit);
    let rows: Vec<Vec<String>> = runs.iter().map(|run| row(run)).collect();
    let unlimited: Vec<&str> = runs
        .iter()
        .filter(|run| limit.is_some() && run.max_layers.is_none())
        .map(|run| run.planner.as_str())
        .collect();
    let unlimited = if unlimited.is_empty() {
        String::new()
    } else {
        format!("No limit of layers: {}.\n", unlimited.join(", "))
    };
    let bound = report.runs.first().map(|run| bound(report, run));
    let bound = bound.unwrap_or_default();
    format!(
        "{} of store paths; bytes moved, as a multiple of one layer per path:\n\n{}\n{unlimited}{bound}",
        at_most(limit),
        text::table(&header, &[1, 2, 3, 4, 5, 6, 7, 8], &rows)
    )
}

fn at_most(limit: Option<usize>) -> String {
    match limit {
        Some(limit) => format!("At most {}", text::count(limit, "layer")),
        None => "Any number of layers".to_owned(),
    }
}

fn row(run: &Run) -> Vec<String> {
    let again: Vec<String> = run
        .insertions
        .iter()
        .map(|insertion| match insertion.again_bytes_an_image() {
            None => "-".to_owned(),
            Some(bytes) => megabytes(bytes),
        })
        .collect();
    let milliseconds = match run.plan_nanos.checked_div(u64::from(run.plans)) {
        None => "-".to_owned(),
        // Hundredths, rounded.
        Some(nanos) => {
            let hundredths = nanos.saturating_add(5000) / 10_000;
            format!("{}.{:02}", hundredths / 100, hundredths % 100)
        }
    };
    vec![
        run.planner.clone(),
        ratio(run.total.push),
        ratio(run.total.pull),
        ratio(run.total.cross),
        ratio(run.total.deploy),
        ratio(run.total.chain),
        format!("{} MB", again.join(" / ")),
        run.most_layers.to_string(),
        milliseconds,
    ]
}

/// What a ratio of 1 stands for.
fn bound(report: &Report, run: &Run) -> String {
    let size = |moved: Moved| decimal(moved.bound_bytes);
    let first = if report.pins.len() > 1 {
        format!(
            "The first pin's push, {} at least, stands apart.\n",
            size(run.first_push)
        )
    } else {
        String::new()
    };
    format!(
        "1.000 is: push {}, pull {}, cross {}, deploy {}.\n{first}",
        size(run.total.push),
        size(run.total.pull),
        size(run.total.cross),
        size(run.total.deploy),
    )
}

/// The registry's growth at each pin.
fn pushes(report: &Report, limit: Option<usize>) -> String {
    let runs = report.runs_of(limit);
    let mut header = vec!["pin"];
    header.extend(runs.iter().map(|run| run.planner.as_str()));
    let prefix = common_prefix(report);
    // Of all tables: figures of different numbers of layers are compared.
    let all = report.runs.iter().flat_map(|run| &run.pins);
    let most = all.map(|figures| figures.push.bytes).max().unwrap_or(0);
    let (unit, unit_bytes) = if most < 10_000_000_000 {
        ("MB", 1_000_000)
    } else {
        ("GB", 1_000_000_000)
    };
    let rows: Vec<Vec<String>> = report
        .pins
        .iter()
        .enumerate()
        .map(|(idx, pin)| {
            let mut row = vec![pin.name[prefix..].to_owned()];
            let pushed = runs.iter().map(|run| run.pins[idx].push.bytes);
            row.extend(pushed.map(|bytes| hundredths(bytes, unit_bytes)));
            row
        })
        .collect();
    let right: Vec<usize> = (1..header.len()).collect();
    format!(
        "{unit} pushed to the registry at each pin, {}:\n\n{}",
        at_most(limit).to_lowercase(),
        text::table(&header, &right, &rows)
    )
}

/// The beginning that the names of all pins share, up to a `-`: it would only widen the table.
fn common_prefix(report: &Report) -> usize {
    let mut names = report.pins.iter().map(|pin| pin.name.as_str());
    let first = names.next().unwrap_or_default();
    let shared = names.fold(first.len(), |shared, name| {
        let same = first.bytes().zip(name.bytes()).take_while(|(a, b)| a == b);
        shared.min(same.count())
    });
    let is_date = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    first[..shared]
        .match_indices('-')
        .map(|(at, _)| at + 1)
        .rfind(|&at| is_date(&first[at..]) && first[at..].len() >= "2019-10-10".len())
        .unwrap_or(0)
}

fn ratio(moved: Moved) -> String {
    moved
        .ratio()
        .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"))
}

/// `40 kB`, `1 MB`.
fn leaf(bytes: u64) -> String {
    if bytes < 1_000_000 {
        format!("{} kB", bytes / 1000)
    } else {
        format!("{} MB", bytes / 1_000_000)
    }
}

/// Bytes in the largest unit that leaves at least 1, with one decimal. In powers of 1000, as the leaves are.
fn decimal(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit = None;
    let mut tenths = u128::from(bytes) * 10;
    for next in UNITS {
        if tenths < 10_000 {
            break;
        }
        tenths = (tenths + 500) / 1000;
        unit = Some(next);
    }
    match unit {
        None => format!("{bytes} B"),
        Some(unit) => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

/// Tenths of a megabyte, rounded.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes.saturating_add(50_000) / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// In a unit, with two decimals, rounded.
fn hundredths(bytes: u64, unit_bytes: u64) -> String {
    let (bytes, unit_bytes) = (u128::from(bytes), u128::from(unit_bytes));
    let hundredths = (bytes * 100 + unit_bytes / 2) / unit_bytes;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
