//! Components for another world: of another version, with imports that nobody serves, without exports, of other types.

use super::{Case, Fate, Guest, WIT, encode};

pub fn cases() -> Vec<Case> {
    let refused = Fate::NotLoaded;
    vec![
        case(
            "newer_contract",
            |text| text.replace("0.1.0", "0.2.0"),
            &[],
            refused(&[
                "is built for version 0.2.0 of the contract ruleward:policy, and this host serves 0.1.0",
                "rebuild the policy, or update the host",
            ]),
        ),
        case("patched_contract", |text| text.replace("0.1.0", "0.1.7"), &[], refused(&["is built for version 0.1.7"])),
        case(
            "wasi",
            with_wasi,
            &[WASI],
            refused(&[
                "imports wasi:cli/environment@0.2.0, wasi:cli/exit@0.2.0: the host serves no WASI",
                "`ruleward policy build` answers it with a stub",
            ]),
        ),
        case(
            "unknown_import",
            |text| with_import(&text, "evil:corp/phone@1.0.0", "home"),
            &[EVIL],
            refused(&["imports evil:corp/phone@1.0.0: a policy can import nothing but ruleward:policy/types@0.1.0"]),
        ),
        case(
            "unknown_interface_of_the_contract",
            with_clock,
            &[],
            refused(&["imports ruleward:policy/clock@0.1.0: version 0.1.0 of the contract has no such interface"]),
        ),
        case(
            "wasi_and_unknown_imports",
            |text| with_import(&with_wasi(text), "evil:corp/phone@1.0.0", "home"),
            &[WASI, EVIL],
            refused(&[
                "wasi:cli/environment@0.2.0, wasi:cli/exit@0.2.0: the host serves no WASI",
                "; and evil:corp/phone@1.0.0: a policy can import nothing but",
            ]),
        ),
        case(
            "no_describe",
            |text| renamed(&text, "describe", "depict"),
            &[],
            refused(&["does not export the function `describe` of the world ruleward:policy/policy@0.1.0"]),
        ),
        case(
            "no_evaluate",
            |text| renamed(&text, "evaluate", "assess"),
            &[],
            refused(&["does not export the function `evaluate`", "assess"]),
        ),
        case(
            "describe_of_another_type",
            |text| text.replace("describe: func() -> description", "describe: func() -> string"),
            &[],
            refused(&["does not fit the contract ruleward:policy@0.1.0", "`describe`"]),
        ),
        case(
            "evaluate_of_another_type",
            |text| text.replace("order: s32,", "order: s64,"),
            &[],
            refused(&["does not fit the contract", "`evaluate`"]),
        ),
        case(
            "log_of_another_type",
            |text| {
                text.replace("emit: func(level: level, message: string);", "emit: func(level: level, message: u32);")
                    .replace("(func $emit (param i32 i32 i32))", "(func $emit (param i32 i32))")
            },
            &[],
            refused(&["does not fit the contract", "ruleward:policy/log@0.1.0"]),
        ),
        case(
            "more_exports",
            |text| {
                text.replace("export describe:", "export init: func(); export describe:")
                    .replace("(memory (export", r#"(func (export "init")) (memory (export"#)
            },
            &[],
            Fate::Harmless(&[]),
        ),
    ]
}

const WASI: &str =
    "package wasi:cli@0.2.0; interface environment { get: func() -> string; } interface exit { now: func(); }";
const EVIL: &str = "package evil:corp@1.0.0; interface phone { home: func(); }";

/// A policy whose contract and module are changed alike.
fn case(name: &'static str, change: fn(String) -> String, packages: &[&str], fate: Fate) -> Case {
    let (wit, module) = (change(WIT.to_owned()), change(Guest::default().module()));
    let packages: Vec<_> = packages.iter().copied().chain([wit.as_str()]).collect();
    Case::bytes(name, encode(&module, &packages), fate)
}

fn renamed(text: &str, old: &str, new: &str) -> String {
    text.replace(&format!("export {old}:"), &format!("export {new}:"))
        .replace(&format!("\"{old}\""), &format!("\"{new}\""))
}

fn with_import(text: &str, interface: &str, function: &str) -> String {
    text.replace("import log;", &format!("import log; import {interface};"))
        .replace("(memory (export", &format!(r#"(import "{interface}" "{function}" (func)) (memory (export"#))
}

fn with_wasi(text: String) -> String {
    with_import(&text, "wasi:cli/exit@0.2.0", "now")
        .replace("import log;", "import log; import wasi:cli/environment@0.2.0;")
        .replace("(memory (export", r#"(import "wasi:cli/environment@0.2.0" "get" (func (param i32))) (memory (export"#)
}

fn with_clock(text: String) -> String {
    text.replace("import log;", "import log; import clock;")
        .replace("interface log {", "interface clock { now: func() -> u64; } interface log {")
        .replace(
            "(memory (export",
            r#"(import "ruleward:policy/clock@0.1.0" "now" (func (result i64))) (memory (export"#,
        )
}
