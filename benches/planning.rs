//! Reading closures, packing them, making catalogs and writing plans, from a real size to 300,000 paths.
//!
//! `cargo bench -p nixply-bench --bench planning`, with a filter behind `--` for a part of it: `-- read`, `-- 10000$`.
//! The closures are drawn ([`nixply_testkit::fitted`]), with ten references a path from 10,000 paths on.
//!
//! With `NIXPLY_CLOSURE_GRAPH=FILE`, nixpkgs' `closure-graph.py`, and `python3`, popularity is measured against it in the
//! same run (whole processes of the script against the function here, so look at the large size).

#![expect(
    clippy::print_stderr,
    reason = "criterion cannot say what was left out"
)]

use criterion::{BenchmarkId, Criterion};
use nixply_image::{LayerFormatRecord, OnCollision, PlanOptions, plan_image};
use nixply_layer::{Compression, StoreRoot};
use nixply_oci::{Platform, RuntimeConfig};
use nixply_pack::{Budget, Catalog, PackOptions, Packer, pack};
use nixply_store::{Closure, StorePath, read_closure};
use nixply_testkit::closures::closure;
use nixply_testkit::fitted::{fitted_fleet, fitted_paths, path_info_json};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Paths and references: an image of today, and sizes whose growth shows.
const SIZES: [(usize, usize); 4] = [
    (350, 1_500),
    (10_000, 100_000),
    (100_000, 1_000_000),
    (300_000, 3_000_000),
];

const SEED: u64 = 1;

/// As many layers as the command line allows where nobody says otherwise, one of them for root files.
const BUDGET: Budget = Budget {
    max_layers: 100,
    reserved_layers: 1,
};

/// The packers whose cost could grow faster than the closure.
const PACKERS: [Packer; 4] = [
    Packer::Solo,
    Packer::AutoLayer,
    Packer::Popularity,
    Packer::Nix2container,
];

fn plan_options(packer: Packer) -> PlanOptions {
    PlanOptions {
        packer,
        max_layers: BUDGET.max_layers,
        volatile: Vec::new(),
        catalog: None,
        prior: Vec::new(),
        pipeline: None,
        compression: Compression::default(),
        layer_format: LayerFormatRecord::Nixply,
        platform: Platform::linux("amd64"),
        config: RuntimeConfig::default(),
        layer_tars: Vec::new(),
        nix_database: None,
        base: None,
        root_files: Vec::new(),
        contents: Vec::new(),
        on_collision: OnCollision::Error,
        store: StoreRoot::default(),
        permissions: std::collections::BTreeMap::new(),
        name: None,
        tag: None,
        created: None,
        annotations: BTreeMap::new(),
        tool: None,
    }
}

/// What a run does with a closure, from its bytes to the bytes of the plan.
fn closures(criterion: &mut Criterion) {
    for (n_paths, n_references) in SIZES {
        let paths = fitted_paths(SEED, n_paths, n_references);
        let json = path_info_json(&paths);
        drop(paths);
        let mut group = criterion.benchmark_group("read");
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(5));
        group.bench_with_input(
            BenchmarkId::from_parameter(n_paths),
            &json,
            |bencher, json| {
                bencher.iter_with_large_drop(|| read_closure(json.as_bytes()));
            },
        );
        group.finish();
        let Ok(closure) = read_closure(json.as_bytes()) else {
            eprintln!("the drawn closure of {n_paths} paths cannot be read back");
            continue;
        };
        drop(json);
        for packer in PACKERS {
            let mut group = criterion.benchmark_group(format!("pack {packer}"));
            group
                .sample_size(10)
                .measurement_time(Duration::from_secs(5));
            group.bench_with_input(
                BenchmarkId::from_parameter(n_paths),
                &closure,
                |bencher, closure| {
                    bencher
                        .iter_with_large_drop(|| pack(closure, &PackOptions::new(packer, BUDGET)));
                },
            );
            group.finish();
        }
        write(criterion, n_paths, &closure);
    }
}

/// Layer keys and the plan's JSON; the packer is the cheapest.
fn write(criterion: &mut Criterion, n_paths: usize, closure: &Closure) {
    let mut group = criterion.benchmark_group("plan and write");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    group.bench_function(BenchmarkId::from_parameter(n_paths), |bencher| {
        bencher.iter_with_large_drop(|| {
            plan_image(Some(closure), plan_options(Packer::Size)).map(|plan| plan.to_json())
        });
    });
    group.finish();
}

/// A catalog of 100 package sets over 20,000 paths, its proposal of a level, and an image of five sets packed by it.
fn catalogs(criterion: &mut Criterion) {
    let fleet = fitted_fleet(SEED, 20_000, 140_000, 100);
    let mut group = criterion.benchmark_group("catalog of 100 sets over 20000 paths");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    group.bench_function("level given", |bencher| {
        bencher.iter_with_large_drop(|| Catalog::new(&fleet.closure, &fleet.sets, 4));
    });
    group.bench_function("level proposed", |bencher| {
        bencher.iter(|| Catalog::propose_level(&fleet.closure, &fleet.sets, BUDGET.available()));
    });
    let roots: Vec<StorePath> = fleet.sets.values().take(5).flatten().cloned().collect();
    if let (Ok(image), Ok(catalog)) = (
        fleet.closure.restrict(&roots),
        Catalog::new(&fleet.closure, &fleet.sets, 4),
    ) {
        let options = PackOptions {
            catalog: Some(&catalog),
            ..PackOptions::new(Packer::Fleet, BUDGET)
        };
        group.bench_function(format!("pack fleet {}", image.paths().len()), |bencher| {
            bencher.iter_with_large_drop(|| pack(&image, &options));
        });
    }
    group.finish();
}

/// Popularity here and by nixpkgs' script.
fn against_the_script(criterion: &mut Criterion) {
    let Some(script) = std::env::var_os("NIXPLY_CLOSURE_GRAPH") else {
        eprintln!(
            "NIXPLY_CLOSURE_GRAPH is not set: popularity is not measured against nixpkgs' script"
        );
        return;
    };
    let Ok(folder) = tempfile::tempdir() else {
        eprintln!("no temporary folder for the script's input");
        return;
    };
    for (n_paths, n_references) in [(350, 1_500), (2_000, 10_000)] {
        let paths = fitted_paths(SEED, n_paths, n_references);
        let text = |position: usize| format!("/nix/store/{}", paths[position].base_name);
        let records: Vec<serde_json::Value> = (0..n_paths)
            .map(|path| {
                let references = paths[path].references.iter().copied().map(text);
                let references: Vec<String> = references.collect();
                serde_json::json!({"path": text(path), "references": references})
            })
            .collect();
        let input = folder.path().join(format!("{n_paths}.json"));
        let json = serde_json::json!({"graph": records}).to_string();
        if let Err(error) = std::fs::write(&input, json) {
            eprintln!("the script's input cannot be written: {error}");
            return;
        }
        let closure = closure(&paths);
        let mut group = criterion.benchmark_group(format!("popularity of {n_paths} paths"));
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(5));
        group.bench_function("nixply", |bencher| {
            let options = PackOptions::new(Packer::Popularity, BUDGET);
            bencher.iter_with_large_drop(|| pack(&closure, &options));
        });
        group.bench_function("closure-graph.py", |bencher| {
            bencher.iter(|| {
                let status = Command::new("python3")
                    .arg(&script)
                    .arg(&input)
                    .arg("graph")
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status();
                assert!(
                    black_box(status).is_ok_and(|status| status.success()),
                    "python3 and the script have to work"
                );
            });
        });
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    closures(&mut criterion);
    catalogs(&mut criterion);
    against_the_script(&mut criterion);
    criterion.final_summary();
}
