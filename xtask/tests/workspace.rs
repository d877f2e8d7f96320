//! The two checks, as tests: what `cargo test` finds, CI needs no step of its own for.

use std::process::Command;

fn xtask(arguments: &[&str]) -> std::io::Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).args(arguments).output()?;
    assert!(output.status.success(), "\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn the_contract_is_up_to_date() -> std::io::Result<()> {
    xtask(&["contract", "--check"])
}

#[test]
fn the_house_rules_hold() -> std::io::Result<()> {
    xtask(&["check"])
}
