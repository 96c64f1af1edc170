//! `nixply bench reuse` on fleets of a few paths.

use crate::support::Sandbox;
use std::fmt::Write as _;

const LIBC: &str = "3333333333333333333333333333333c-libc-2.36";
const PYTHON: &str = "4444444444444444444444444444444d-python3-3.11";
const REDIS: &str = "5555555555555555555555555555555f-redis-7.2";

/// A record as the fleet's folder has it.
fn record(name: &str, size: u64, references: &[&str]) -> String {
    let references: Vec<String> = references
        .iter()
        .map(|name| format!("\"/nix/store/{name}\""))
        .collect();
    format!(
        "{{\"path\": \"/nix/store/{name}\", \"narSize\": {size}, \"references\": [{}]}}",
        references.join(", ")
    )
}

/// Three weeks: `django` is rebuilt in the second, `libc` and all that uses it in the third.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("fleet")).unwrap();
    let weeks = [
        ("2026-01-05", "a", LIBC, PYTHON),
        ("2026-01-12", "b", LIBC, PYTHON),
        (
            "2026-01-19",
            "c",
            "6666666666666666666666666666666g-libc-2.37",
            "7777777777777777777777777777777h-python3-3.11",
        ),
    ];
    for (week, digit, libc, python) in weeks {
        let django = format!("{}-django-5.0", digit.repeat(32));
        let records = [
            record(libc, 30_000_000, &[]),
            record(python, 90_000_000, &[libc]),
            record(&django, 9_000_000, &[python, libc]),
            record(REDIS, 12_000_000, &[]),
        ];
        sandbox.write(
            &format!("fleet/{week}.json"),
            &format!("[{}]", records.join(",\n")),
        );
        sandbox.write(
            &format!("fleet/{week}.images.json"),
            &format!("{{\"web\": [\"/nix/store/{django}\"], \"cache\": [\"/nix/store/{REDIS}\"]}}"),
        );
    }
    sandbox.write(
        "fleet/projects.json",
        r#"{"pair": {"shop": {"sets": ["web", "cache"], "app_nar_size_bytes": 5000000},
                     "blog": {"sets": ["web"], "app_nar_size_bytes": 2000000}}}"#,
    );
    sandbox
}

/// Times differ from run to run.
fn without_times(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let last = line.rsplit(' ').next().unwrap_or_default();
        let is_time = line.contains(" MB ") && last.parse::<f64>().is_ok();
        let end = line.len() - if is_time { last.len() } else { 0 };
        let time = if is_time { "[MS]" } else { "" };
        let _ = writeln!(lines, "{}{time}", &line[..end]);
    }
    lines
}

#[test]
fn it_explains_itself() {
    insta::assert_snapshot!(sandbox().show(&["bench", "reuse", "--help"]));
}

#[test]
fn a_folder_as_a_table() {
    let sandbox = sandbox();
    let text = sandbox.show(&[
        "bench",
        "reuse",
        "fleet",
        "--max-layers",
        "4,2",
        "--packer",
        "solo,fleet,auto-layer,popularity",
    ]);
    insta::assert_snapshot!(without_times(&text));
}

#[test]
fn images_as_they_are() {
    let sandbox = sandbox();
    let arguments = [
        "bench",
        "reuse",
        "fleet",
        "--draw",
        "none",
        "--pin",
        "2026-01-1",
        "--packer",
        "size,per-path",
        "--guess-volatile",
    ];
    insta::assert_snapshot!(without_times(&sandbox.show(&arguments)));
}

#[test]
fn a_saved_fleet_gives_the_same_figures() {
    let sandbox = sandbox();
    let json = |input: &str, more: &[&str]| {
        let arguments = [&["bench", "reuse", input, "--json", "-"], more].concat();
        let text = sandbox.stdout(&arguments);
        let mut report: serde_json::Value = serde_json::from_str(&text).unwrap();
        report["title"].take();
        for run in report["runs"].as_array_mut().unwrap() {
            run["plan_nanos"].take();
            run["catalog_nanos"].take();
        }
        report
    };
    let from_folder = json("fleet", &["--save", "fleet.json"]);
    assert_eq!(from_folder["schema"], "nixply.reuse/1");
    assert_eq!(from_folder["runs"].as_array().unwrap().len(), 9);
    assert_eq!(json("fleet.json", &[]), from_folder);
    let drawn = json("fleet.json", &["--draw", "3", "--projects", "5"]);
    assert_eq!(drawn["images"].as_array().unwrap().len(), 5);
    assert_eq!(json("fleet", &["--draw", "3", "--projects", "5"]), drawn);
}

#[test]
fn a_page_beside_the_table() {
    let sandbox = sandbox();
    let text = sandbox.stdout(&[
        "bench",
        "reuse",
        "fleet",
        "--html",
        "reuse.html",
        "--json",
        "reuse.json",
    ]);
    assert!(
        text.starts_with("fleet, pair: 3 pins, 2026-01-05 to 2026-01-19\n"),
        "{text}"
    );
    let html = std::fs::read_to_string(sandbox.path("reuse.html")).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.contains("<h1>What a fleet moves</h1>"));
    let json = std::fs::read_to_string(sandbox.path("reuse.json")).unwrap();
    assert!(json.contains("\"schema\": \"nixply.reuse/1\""));
}

#[test]
fn closure_files_are_images() {
    let sandbox = sandbox();
    sandbox.write("images.txt", "# what we ship\nclosure.json\n\n");
    let text = sandbox.show(&[
        "bench",
        "reuse",
        "--list",
        "images.txt",
        "--packer",
        "solo",
        "--compressed=zstd:3",
        "--physical-store",
        "store",
    ]);
    insta::assert_snapshot!(without_times(&text));
}

#[test]
fn paths_that_the_store_lacks_are_counted() {
    let sandbox = sandbox();
    let text = sandbox.stdout(&[
        "bench",
        "reuse",
        "fleet",
        "--packer",
        "solo",
        "--compressed",
        "--physical-store",
        "store",
    ]);
    assert!(
        text.contains("bytes are compressed sizes of 1 path, NAR sizes of 7 that the store lacks"),
        "{text}"
    );
}

#[test]
fn wrong_fleets_and_words() {
    let sandbox = sandbox();
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.write(
        "fleet-2.json",
        "{\"schema\": \"nixply.fleet/2\", \"paths\": [], \"pins\": []}",
    );
    sandbox.write("nothing.txt", "# nothing\n");
    for folder in ["no-sets", "no-closure", "mixed"] {
        std::fs::create_dir(sandbox.path(folder)).unwrap();
    }
    let copy = |from: &str, to: &str| {
        std::fs::copy(sandbox.path(from), sandbox.path(to)).unwrap();
    };
    copy("fleet/2026-01-05.json", "no-sets/2026-01-05.json");
    copy(
        "fleet/2026-01-05.images.json",
        "no-closure/2026-01-05.images.json",
    );
    for file in ["2026-01-05.json", "2026-01-05.images.json", "projects.json"] {
        copy(&format!("fleet/{file}"), &format!("mixed/a-{file}"));
    }
    copy("fleet/2026-01-05.json", "mixed/b-2026-01-05.json");
    copy("fleet/projects.json", "mixed/projects.json");
    sandbox.write(
        "mixed/b-2026-01-05.images.json",
        &format!("{{\"other\": [\"/nix/store/{REDIS}\"]}}"),
    );
    let mut text = String::new();
    for words in [
        &["empty"][..],
        &["fleet", "--draw", "trio"],
        &["fleet", "--draw", "-1"],
        &["fleet", "--pin", "2027"],
        &["fleet", "--packer", "solo,auto"],
        &["fleet-2.json"],
        &["closure.json", "--rev", "main"],
        &["--list", "nothing.txt"],
        &["fleet", "--max-layers", "0"],
        &["fleet", "--projects", "4"],
        &["fleet", "--draw", "none", "--projects", "4"],
        &["fleet", "--draw", "3", "--projects", "0"],
        &["fleet", "--level", "99"],
        &["fleet", "--json", "-", "--html", "-"],
        &["closure.json", "closure.json"],
        &["closure.json", "fleet"],
        &["fleet", "--list", "nothing.txt"],
        &["no-sets"],
        &["no-closure"],
        &["mixed"],
    ] {
        text.push_str(&sandbox.show(&[&["bench", "reuse"], words].concat()));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_first_draw_is_the_one_of_the_least_number() {
    let sandbox = sandbox();
    let draw = |name: &str, bytes: u64| {
        format!(r#""{name}": {{"shop": {{"sets": ["web"], "app_nar_size_bytes": {bytes}}}}}"#)
    };
    sandbox.write(
        "fleet/projects.json",
        &format!("{{{}, {}}}", draw("draw-11", 1), draw("draw-7", 2)),
    );
    let text = sandbox.stdout(&["bench", "reuse", "fleet", "--packer", "solo"]);
    assert!(
        text.starts_with("fleet, draw-7 (the first of 2 draws): 3 pins, "),
        "{text}"
    );
    let named = [
        "bench", "reuse", "fleet", "--packer", "solo", "--draw", "draw-11",
    ];
    let text = sandbox.stdout(&named);
    assert!(text.starts_with("fleet, draw-11: 3 pins, "), "{text}");
}

#[test]
fn a_packer_without_a_limit_stands_alone() {
    let sandbox = sandbox();
    let arguments = [
        "bench",
        "reuse",
        "fleet",
        "--packer",
        "per-path",
        "--max-layers",
        "2",
    ];
    insta::assert_snapshot!(without_times(&sandbox.show(&arguments)));
    let html = sandbox.stdout(&[&arguments[..], &["--html", "-"]].concat());
    assert!(html.contains("<h2 id=\"kall\">Without a limit of layers</h2>"));
}

#[test]
fn standard_output_takes_one_document() {
    let sandbox = sandbox();
    let stdout = |arguments: &[&str]| {
        let short = ["bench", "reuse", "fleet", "--packer", "solo"];
        sandbox.stdout(&[&short, arguments].concat())
    };
    assert!(stdout(&["--html", "-"]).starts_with("<!doctype html>"));
    let json = stdout(&["--json", "-", "--html", "page.html"]);
    assert!(
        json.starts_with("{\n  \"schema\": \"nixply.reuse/1\""),
        "{json}"
    );
    assert!(sandbox.path("page.html").is_file() && !sandbox.path("-").exists());
    assert!(stdout(&["--save", "-"]).starts_with("{\"schema\":\"nixply.fleet/1\""));
}

#[test]
fn several_roots_have_no_deploys() {
    let sandbox = sandbox();
    sandbox.write(
        "two.json",
        &format!(
            "[{}, {}]",
            hashed(&record(LIBC, 30_000_000, &[])),
            hashed(&record(REDIS, 12_000_000, &[]))
        ),
    );
    let text = sandbox.stdout(&["bench", "reuse", "two.json", "--packer", "solo"]);
    assert!(
        text.contains("\n1 image, no deploys; bytes are NAR sizes\n"),
        "{text}"
    );
}

/// The record with the NAR hash that a closure file needs.
fn hashed(record: &str) -> String {
    let hash = format!("\"narHash\": \"sha256-{}=\", ", "A".repeat(43));
    record.replacen('{', &format!("{{{hash}"), 1)
}
