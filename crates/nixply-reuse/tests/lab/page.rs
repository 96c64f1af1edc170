//! The page: whole in itself, the same for the same report, and safe to open.

use crate::support::{Grouped, fleet, pin};
use nixply_reuse::planners::planner;
use nixply_reuse::{ByteKind, Fleet, NoClock, Report, Settings, page, replay};

/// Two images over three weeks, of names that mean something to HTML.
fn small() -> Fleet {
    let pins = ["2020-01-01", "2020-01-08", "2020-01-15"]
        .iter()
        .enumerate()
        .map(|(week, name)| {
            let app = format!("app-{week}");
            let tool = format!("tool-{}", week / 2);
            pin(
                name,
                &[
                    ("libc", 30_000_000, &[]),
                    (&app, 400_000, &["libc"]),
                    (&tool, 90_000, &["libc"]),
                ],
                &[("<b>app & co", &[&app]), ("tool", &[&tool])],
            )
        });
    fleet(pins.collect())
}

fn report(limits: &[usize]) -> Report {
    let fleet = small();
    let settings = Settings::default();
    let mut planners = Vec::new();
    for &limit in limits {
        planners.push(Box::new(Grouped::new(|_| 0)) as Box<_>);
        planners.extend(
            ["solo", "auto-layer", "per-path"].map(|name| planner(name, limit, None).unwrap()),
        );
    }
    let runs = replay(&fleet, planners, &settings, &mut NoClock).unwrap();
    Report::new(
        "<script>alert('x')</script>",
        &fleet,
        &settings,
        ByteKind::Nar,
        runs,
    )
}

/// Tags in order, a `/` before those that close.
fn tags(html: &str) -> Vec<String> {
    let inner = html
        .split('<')
        .skip(1)
        .map(|part| part.split('>').next().unwrap());
    inner
        .filter(|tag| !tag.starts_with('!') && !tag.ends_with('/'))
        .map(|tag| tag.split(' ').next().unwrap().to_owned())
        .collect()
}

#[test]
fn it_fetches_nothing_and_runs_nothing() {
    let html = page(&report(&[2, 100]));
    for word in [
        "<script", "<link", "<img", "<iframe", "src=", "@import", "url(", "//", "onload", "http",
    ] {
        assert!(!html.contains(word), "{word}");
    }
}

#[test]
fn names_of_others_stay_text() {
    let html = page(&report(&[100]));
    assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"));
    assert!(html.contains("&lt;b&gt;app &amp; co"));
    assert!(!html.contains("<b>app"));
}

#[test]
fn every_tag_is_closed() {
    let html = page(&report(&[2, 100]));
    let mut open = Vec::new();
    for tag in tags(&html) {
        match tag.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop().as_deref(), Some(closed)),
            None if tag == "meta" => {}
            None => open.push(tag),
        }
    }
    assert_eq!(open, Vec::<String>::new());
}

#[test]
fn every_chart_says_what_it_shows() {
    let html = page(&report(&[2, 100]));
    let charts: Vec<&str> = html.split("<svg ").skip(1).collect();
    // A sweep; for each limit three or four bars, two measures of four planners, and layers of those that wasted bytes.
    assert!(charts.len() > 20, "{}", charts.len());
    for chart in charts {
        let head = chart.split('\n').next().unwrap();
        assert!(head.starts_with("role=\"img\" viewBox=\"0 0 "), "{head}");
        assert!(
            head.contains("aria-label=\"") && !head.contains("aria-label=\"\""),
            "{head}"
        );
        assert!(
            head.contains("<desc>") && !head.contains("<desc></desc>"),
            "{head}"
        );
    }
}

#[test]
fn figures_stand_in_tables_and_follow_the_report() {
    let report = report(&[100]);
    let html = page(&report);
    let push = report.runs[0].total.push.ratio().unwrap();
    assert!(push > 20.0, "{push}");
    assert!(html.contains(&format!(
        "<tr><th scope=\"row\">grouped</th><td class=\"g4\">{push:.1}</td>"
    )));
    assert!(html.contains("prefers-color-scheme: dark"));
    assert_eq!(html, page(&report), "equal reports give equal pages");
}

#[test]
fn a_fleet_of_one_pin_has_no_weeks() {
    let mut fleet = small();
    fleet.pins.truncate(1);
    let settings = Settings::default();
    let runs = replay(
        &fleet,
        vec![planner("solo", 100, None).unwrap()],
        &settings,
        &mut NoClock,
    )
    .unwrap();
    let html = page(&Report::new("one", &fleet, &settings, ByteKind::Nar, runs));
    assert!(html.contains("one pin, 2020-01-01"));
    assert!(!html.contains("From pin to pin") && !html.contains("Which layers moved"));
}

#[test]
fn a_chart_and_the_table_have_one_ratio() {
    let report = report(&[100]);
    let html = page(&report);
    for run in report.runs.iter().filter(|run| run.planner != "grouped") {
        let push = run.total.push.ratio().unwrap();
        let chart = format!("<h4>{} <span>{push:.3}× · ", run.planner);
        assert!(html.contains(&chart), "{chart}");
        let row = format!("<tr><th scope=\"row\">{}</th><td class=", run.planner);
        let cells = html.split(&row).nth(1).unwrap();
        assert!(cells[..40].contains(&format!(">{push:.3}<")), "{cells}");
    }
    assert!(!html.contains("iB"), "one system of units");
    assert!(html.contains("<th scope=\"col\">pull</th>") && !html.contains("col\">update"));
}
