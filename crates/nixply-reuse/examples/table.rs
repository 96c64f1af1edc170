//! Prints a row a planner: `table DIR DRAW MAX_LAYERS [PREFIX…]`.
#![expect(clippy::print_stdout, reason = "an example prints")]

use nixply_reuse::{Fleet, Images, Moved, Pin, Settings, Watch, planners, read_draws, replay};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [dir, draw, max_layers, prefixes @ ..] = words.as_slice() else {
        return Err("usage: table DIR DRAW MAX_LAYERS [PREFIX…]".into());
    };
    let default = [
        "nixos-19.09-2019-10".to_owned(),
        "nixos-19.09-2019-11".to_owned(),
    ];
    let prefixes = if prefixes.is_empty() {
        &default[..]
    } else {
        prefixes
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(pin) = name.strip_suffix(".images.json")
            && prefixes
                .iter()
                .any(|prefix| pin.starts_with(prefix.as_str()))
        {
            names.push(pin.to_owned());
        }
    }
    names.sort();
    let mut pins = Vec::new();
    for name in names {
        let closure = std::fs::read(format!("{dir}/{name}.json"))?;
        let sets = std::fs::read(format!("{dir}/{name}.images.json"))?;
        pins.push(Pin::read(&name, &closure, &sets)?);
    }
    let projects = std::fs::read(format!("{dir}/projects.json"))?;
    let mut draws = read_draws("projects.json", &projects)?;
    let projects = draws.remove(draw).ok_or("no such draw")?;
    if let Ok(file) = std::env::var("SAVE") {
        let draws = read_draws(
            "projects.json",
            &std::fs::read(format!("{dir}/projects.json"))?,
        )?;
        std::fs::write(
            file,
            nixply_reuse::FleetFile {
                pins: pins.clone(),
                draws,
            }
            .to_json()?,
        )?;
    }
    let fleet = Fleet {
        pins,
        images: Images::Projects(projects),
    };
    println!("{} pins, {draw}, K={max_layers}", fleet.pins.len());
    println!(
        "{:<14} {:>7} {:>7} {:>7} {:>8} {:>7} {:>8} {:>7}  {:>18} {:>6} {:>7}",
        "planner",
        "push",
        "pull",
        "cross",
        "deploy",
        "chain",
        "depchain",
        "first",
        "insertion MB",
        "layers",
        "ms"
    );
    let ratio = |moved: Moved| moved.ratio().unwrap_or(f64::NAN);
    let max_layers = max_layers.parse()?;
    let planners = planners::names()
        .filter_map(|name| planners::planner(name, max_layers, None))
        .collect();
    for run in replay(
        &fleet,
        planners,
        &Settings::default(),
        &mut Clock(Instant::now()),
    )? {
        let t = run.total;
        let insertion: Vec<String> = run
            .insertions
            .iter()
            .filter_map(|one| one.again_bytes_an_image())
            .map(|b| format!("{}.{}", b / 1_000_000, b / 100_000 % 10))
            .collect();
        println!(
            "{:<14} {:>7.3} {:>7.3} {:>7.3} {:>8.3} {:>7.3} {:>8.3} {:>7.3}  {:>18} {:>6} {:>7.3}",
            run.planner,
            ratio(t.push),
            ratio(t.pull),
            ratio(t.cross),
            ratio(t.deploy),
            ratio(t.chain),
            ratio(t.deploy_chain),
            ratio(run.first_push),
            insertion.join(" / "),
            run.most_layers,
            run.plan_nanos as f64 / f64::from(run.plans) / 1e6,
        );
    }
    Ok(())
}

struct Clock(Instant);

impl Watch for Clock {
    fn now_nanos(&mut self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
