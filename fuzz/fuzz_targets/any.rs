//! Every target of `mmn-fuzz` under libFuzzer: `MMN_FUZZ_TARGET` names the one to run.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("MMN_FUZZ_TARGET").expect("MMN_FUZZ_TARGET names a target of mmn-fuzz");
    let target = mmn_fuzz::TARGETS.iter().find(|(known, _)| *known == name);
    target.unwrap_or_else(|| panic!("{name} is no target")).1
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET(bytes));
