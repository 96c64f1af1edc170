//! The fleet of the fixtures: weeks of nixos-19.09 and three draws of projects (`fixtures/fleet/SOURCES.md`).

use nixply_reuse::gates::read_gates;
use nixply_reuse::planners::planner;
use nixply_reuse::{Fleet, FleetFile, Images, Moved, NoClock, Run, Settings, replay};
use std::fmt::Write as _;

const FLEET: &[u8] = include_bytes!("../../../../fixtures/fleet/nixos-19.09.json");
const GATES: &[u8] = include_bytes!("../../../../fixtures/fleet/gates.json");

fn fleet(draw: &str) -> Fleet {
    let file = FleetFile::read("nixos-19.09.json", FLEET).unwrap();
    Fleet {
        images: Images::Projects(file.draws[draw].clone()),
        pins: file.pins,
    }
}

/// Name, most layers, level.
type Asked<'a> = (&'a str, usize, Option<u32>);

fn run(fleet: &Fleet, planners: &[Asked<'_>], settings: &Settings) -> Vec<Run> {
    let planners = planners
        .iter()
        .map(|&(name, max_layers, level)| planner(name, max_layers, level).unwrap());
    replay(fleet, planners.collect(), settings, &mut NoClock).unwrap()
}

/// The baselines to the byte: whoever changes the evaluator or a packer that follows another tool sees it here.
#[test]
fn the_baselines_move_what_they_moved() {
    let names = [
        "auto-layer",
        "popularity",
        "nix2container",
        "size",
        "per-path",
    ];
    let planners = names.map(|name| (name, 100, None));
    let mut text = String::new();
    for run in run(&fleet("draw-7"), &planners, &Settings::default()) {
        writeln!(
            text,
            "{}, at most {:?} layers, {} used",
            run.planner, run.max_layers, run.most_layers
        )
        .unwrap();
        let total = run.total;
        let figures: [(&str, Moved); 7] = [
            ("first push", run.first_push),
            ("push", total.push),
            ("pull", total.pull),
            ("cross", total.cross),
            ("deploy", total.deploy),
            ("chain", total.chain),
            ("deploy chain", total.deploy_chain),
        ];
        for (measure, moved) in figures {
            let ratio = moved.ratio().unwrap();
            writeln!(
                text,
                "  {measure:<12} {:>14} of {:>14}  {ratio:.3}",
                moved.bytes, moved.bound_bytes
            )
            .unwrap();
        }
        for insertion in &run.insertions {
            writeln!(
                text,
                "  leaf {:>8} {:>14}",
                insertion.leaf_nar_size_bytes, insertion.again_bytes
            )
            .unwrap();
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn every_gate_holds() {
    let gates = read_gates("gates.json", GATES).unwrap();
    let settings = Settings {
        leaves_nar_size_bytes: Vec::new(),
        ..Settings::default()
    };
    let mut misses = Vec::new();
    let mut checked = 0;
    for draw in ["draw-11", "draw-23", "draw-7"] {
        let of_draw: Vec<_> = gates.iter().filter(|gate| gate.draw == draw).collect();
        let planners: Vec<_> = of_draw
            .iter()
            .map(|gate| (gate.planner.as_str(), gate.max_layers, gate.level))
            .collect();
        let runs = run(&fleet(draw), &planners, &settings);
        for (gate, run) in of_draw.into_iter().zip(&runs) {
            assert_eq!(
                (&gate.planner, Some(gate.max_layers)),
                (&run.planner, run.max_layers)
            );
            checked += 1;
            for miss in gate.misses(run) {
                misses.push(format!(
                    "{} of {draw}, {} layers: {} is {:.4}, expected at most {} thousandths",
                    gate.planner,
                    gate.max_layers,
                    miss.measure,
                    miss.moved.ratio().unwrap(),
                    miss.gate
                ));
            }
        }
    }
    assert_eq!(misses, Vec::<String>::new());
    assert_eq!(
        (gates.len(), checked),
        (11, 11),
        "none is left out because its draw is misspelt"
    );
}

/// The gates can fail: a baseline misses them.
#[test]
fn a_baseline_misses_the_gates() {
    let gates = read_gates("gates.json", GATES).unwrap();
    let settings = Settings {
        leaves_nar_size_bytes: Vec::new(),
        ..Settings::default()
    };
    let mut fleet = fleet("draw-7");
    fleet.pins.truncate(3);
    let runs = run(&fleet, &[("popularity", 100, None)], &settings);
    let solo = gates
        .iter()
        .find(|gate| gate.draw == "draw-7" && gate.planner == "solo");
    let missed: Vec<_> = solo
        .unwrap()
        .misses(&runs[0])
        .iter()
        .map(|miss| miss.measure)
        .collect();
    assert_eq!(missed, ["push", "cross", "deploy"]);
}
