//! The files of `examples/lab`: each is a plan, and `world.toml` is what the generator makes of its table.
//!
//! `MMN_LAB_WRITE=1 cargo test -p mmn-lab --test examples` writes it anew.

use std::fs;
use std::path::PathBuf;

use mmn_lab::generate::generate;
use mmn_lab::plan::{NodeKind, Plan};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/lab")
}

#[test]
fn every_example_is_a_plan() {
    let mut seen = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.extension().is_some_and(|kind| kind == "toml") && !name.contains(".table.") {
            let plan = Plan::parse(&name, &fs::read_to_string(&path).unwrap());
            assert!(plan.is_ok_and(|plan| !plan.vps.is_empty()), "{name}");
            seen += 1;
        }
    }
    assert!(seen >= 6, "{seen} plans");
}

#[test]
fn the_world_is_what_its_table_makes() {
    let table = fs::read_to_string(folder().join("world.table.toml")).unwrap();
    let world = generate("world.table.toml", &table).unwrap();
    if std::env::var_os("MMN_LAB_WRITE").is_some() {
        fs::write(folder().join("world.toml"), &world).unwrap();
    }
    let checked_in = fs::read_to_string(folder().join("world.toml")).unwrap();
    assert!(world == checked_in, "world.toml is not what world.table.toml makes: generate it anew");
    let plan = Plan::parse("world.toml", &world).unwrap();
    assert_eq!(plan.vps.len(), 24);
    let targets = plan.hosts.iter().filter(|host| !host.prefixes.is_empty()).count();
    assert_eq!(targets, 200);
    let mut continents: Vec<_> = plan
        .nodes
        .iter()
        .filter(|node| matches!(node.kind, NodeKind::Vp(_)))
        .filter_map(|node| plan.cities[node.city?].continent.clone())
        .collect();
    continents.sort();
    continents.dedup();
    assert_eq!(continents.len(), 6);
}

#[test]
fn tables_are_checked() {
    let table = fs::read_to_string(folder().join("world.table.toml")).unwrap();
    let wrong = table.replace("between = [\"lon\", \"nyc\"]", "between = [\"lon\", \"atlantis\"]");
    assert_eq!(generate("t", &wrong).unwrap_err().to_string(), "unknown city \"atlantis\"");
    assert!(generate("t", &table.replace("stretch", "strech")).is_err());
}
