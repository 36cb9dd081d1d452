//! Files that are no policies, and policies for another world: each refusal names what is wrong.

use crate::testkit::{Guest, Kit, WIT, encode, facts};
use crate::{CompileError, FileError, LoadProblem, ShapeError};

/// The message for a policy of the changed contract, whose module is changed alike.
fn message(change: impl Fn(String) -> String, packages: &[&str]) -> String {
    let wit = change(WIT.to_owned());
    let module = change(Guest::default().module());
    let packages: Vec<_> = packages.iter().copied().chain([wit.as_str()]).collect();
    Kit::new().load(&encode(&module, &packages)).unwrap_err().to_string()
}

#[test]
fn another_version_is_named() {
    let message = message(|text| text.replace("0.1.0", "0.2.0"), &[]);
    assert!(
        message.contains("is built for version 0.2.0 of the contract ruleward:policy, and this host serves 0.1.0"),
        "{message}"
    );
}

#[test]
fn a_patch_version_is_another_version_too() {
    let message = message(|text| text.replace("0.1.0", "0.1.7"), &[]);
    assert!(message.contains("is built for version 0.1.7"), "{message}");
}

#[test]
fn wasi_is_refused_by_name_with_the_fix() {
    let wasi =
        "package wasi:cli@0.2.0; interface environment { get: func() -> string; } interface exit { now: func(); }";
    let message = message(
        |text| {
            let text = text
                .replace("import log;", "import log; import wasi:cli/environment@0.2.0; import wasi:cli/exit@0.2.0;");
            text.replace(
                "(memory (",
                r#"(import "wasi:cli/environment@0.2.0" "get" (func (param i32)))
                (import "wasi:cli/exit@0.2.0" "now" (func)) (memory ("#,
            )
        },
        &[wasi],
    );
    assert!(
        message.ends_with(
            "imports wasi:cli/environment@0.2.0, wasi:cli/exit@0.2.0: the host serves no WASI, so that policies are \
             deterministic; `ruleward policy build` answers it with a stub (componentize-py: --stub-wasi, \
             componentize-qjs: stubWasi)"
        ),
        "{message}"
    );
}

#[test]
fn an_interface_that_the_contract_lacks_is_refused() {
    let message = message(
        |text| {
            let text = text.replace("import log;", "import log; import clock;");
            let text = text.replace("interface log {", "interface clock { now: func() -> u64; } interface log {");
            text.replace("(memory (", r#"(import "ruleward:policy/clock@0.1.0" "now" (func (result i64))) (memory ("#)
        },
        &[],
    );
    assert!(
        message.contains("imports ruleward:policy/clock@0.1.0: version 0.1.0 of the contract has no such interface"),
        "{message}"
    );
}

#[test]
fn a_missing_export_is_named_with_what_is_there() {
    let message =
        message(|text| text.replace("export evaluate:", "export assess:").replace("\"evaluate\"", "\"assess\""), &[]);
    assert!(
        message.contains("does not export the function `evaluate` of the world ruleward:policy/policy@0.1.0"),
        "{message}"
    );
    assert!(
        message.ends_with("it exports describe, assess") || message.ends_with("it exports assess, describe"),
        "{message}"
    );
}

#[test]
fn a_wrong_type_names_the_function() {
    let message = message(|text| text.replace("describe: func() -> description", "describe: func() -> string"), &[]);
    assert!(
        message.contains("does not fit the contract ruleward:policy@0.1.0") && message.contains("`describe`"),
        "{message}"
    );
}

#[test]
fn a_wrong_type_inside_the_answer_is_found() {
    let message = message(|text| text.replace("order: s32,", "order: s64,"), &[]);
    assert!(message.contains("`evaluate`") && message.contains("s32"), "{message}");
}

#[test]
fn a_wrong_log_is_found() {
    let message = message(
        |text| {
            let text =
                text.replace("emit: func(level: level, message: string);", "emit: func(level: level, message: u32);");
            text.replace("(func $emit (param i32 i32 i32))", "(func $emit (param i32 i32))")
        },
        &[],
    );
    assert!(message.contains("ruleward:policy/log@0.1.0"), "{message}");
}

#[test]
fn more_exports_do_no_harm() {
    let wit = WIT.replace("export describe:", "export init: func(); export describe:");
    let module = Guest { more: r#"(func (export "init"))"#, ..Guest::default() }.module();
    Kit::new().load(&encode(&module, &[&wit])).unwrap();
}

#[test]
fn types_that_are_not_functions_are_told_apart_from_components() {
    let core = b"\0asm\x01\0\0\0";
    let error = Kit::new().load(core).unwrap_err();
    assert!(matches!(error.problem, LoadProblem::File(FileError::CoreModule)), "{error}");
    let error = Kit::new().load(b"#!/bin/sh").unwrap_err();
    assert!(error.to_string().contains("test.wasm is not WebAssembly: it begins with [23, 21, 2f, 62]"), "{error}");
    let kit = Kit::new();
    let error = kit.load_file(&kit.folder.path().join("none.wasm")).unwrap_err();
    assert!(error.to_string().contains("none.wasm can't be read: No such file"), "{error}");
}

#[test]
fn an_empty_component_lacks_describe() {
    let error = Kit::new().load(b"\0asm\x0d\0\x01\0").unwrap_err();
    let LoadProblem::Shape(ShapeError::MissingExport(_, "describe", exports)) = &error.problem else {
        panic!("{error}")
    };
    assert_eq!(exports, "nothing");
}

#[test]
fn truncation_anywhere_is_an_error() {
    let component = Guest::default().component();
    let kit = Kit::new();
    for end in (0..component.len()).step_by(component.len() / 20) {
        let error = kit.load(&component[..end]).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
    let error = kit.load(&component[..component.len() - 1]).unwrap_err();
    assert!(error.to_string().contains("is truncated: a section that begins at byte"), "{error}");
}

#[test]
fn flipped_bits_never_panic() {
    let component = Guest::default().component();
    let kit = Kit::new();
    for place in (8..component.len()).step_by(component.len() / 40) {
        let mut damaged = component.clone();
        damaged[place] ^= 1 << (place % 8);
        // A flipped bit in a name or a constant may leave a policy that works.
        if let Ok(policy) = kit.load(&damaged) {
            let _ = policy.evaluate(&facts(), &Default::default(), "{}");
        }
    }
}

#[test]
fn an_invalid_body_is_the_components_fault() {
    let mut component = Guest::default().component();
    let at = component.windows(4).position(|window| window == b"\0asm").unwrap();
    let inner = component[at + 4..].windows(4).position(|window| window == b"\0asm").unwrap() + at + 4;
    component[inner + 4] = 9;
    let error = Kit::new().load(&component).unwrap_err();
    assert!(matches!(error.problem, LoadProblem::Compile(CompileError::Invalid(_))), "{error}");
}

#[test]
fn a_description_with_a_wrong_name_is_refused() {
    let body = "(i32.store8 (i32.const 256) (i32.const 84)) i32.const 0";
    let error = Kit::new().load(&Guest { describe: body, ..Guest::default() }.component()).unwrap_err();
    assert!(error.to_string().contains("its description is wrong in `name`: policy name \"Test\""), "{error}");
}

#[test]
fn settings_are_judged_by_the_policys_schema() {
    let schema =
        r#"{"type":"object","properties":{"port":{"type":"integer","maximum":65535}},"additionalProperties":false}"#;
    let policy = Kit::new().load(&Guest { schema, ..Guest::default() }.component()).unwrap();
    policy.check_settings(&serde_json::json!({"port": 80})).unwrap();
    let error = policy.check_settings(&serde_json::json!({"port": 70000, "prot": 1})).unwrap_err().to_string();
    assert!(error.contains("/port: 70000 is greater than the maximum of 65535"), "{error}");
    assert!(
        error.contains("(the settings as a whole): the policy has no setting `prot`; did you mean `port`?"),
        "{error}"
    );
}

#[test]
fn an_unusable_schema_is_refused_at_load() {
    let error = Kit::new().load(&Guest { schema: r#"{"type":"text"}"#, ..Guest::default() }.component()).unwrap_err();
    assert!(error.to_string().contains("the schema of its settings can't be used: at /type"), "{error}");
}
