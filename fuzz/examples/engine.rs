//! The engine: calls one target with inputs that it changes wherever that leads to code that was not run before.
#![no_main]

use std::sync::LazyLock;

use ruleward_fuzz::{TARGET_VARIABLE, Target, target};

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var(TARGET_VARIABLE).unwrap_or_default();
    target(&name).unwrap_or_else(|| panic!("{TARGET_VARIABLE} names no target: {name:?}"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
