//! The mistakes that authors make most often with a component, and the remedy that the host names. (Those in rules are in
//! `plugins/testing/tests/refusals.rs`.)

use super::super::testkit::{Guest, Kit, WIT, encode};

fn refusal(bytes: &[u8]) -> String {
    Kit::new().load(bytes).unwrap_err().to_string()
}

#[test]
fn a_plain_module() {
    let message = refusal(b"\0asm\x01\0\0\0");
    assert!(
        message.ends_with(
            "is a core WebAssembly module, not a component; make it one: `ruleward policy build MODULE.wasm`"
        ),
        "{message}"
    );
}

#[test]
fn a_missing_export() {
    let wit = WIT.replace("export evaluate:", "export assess:");
    let module = Guest::default().module().replace("\"evaluate\"", "\"assess\"");
    let message = refusal(&encode(&module, &[&wit]));
    assert!(
        message.contains("does not export the function `evaluate`") && message.contains("it exports "),
        "{message}"
    );
}

#[test]
fn another_version_of_the_contract() {
    let wit = WIT.replace("package ruleward:policy@0.1.0", "package ruleward:policy@0.9.0");
    let module = Guest::default().module().replace("policy/log@0.1.0", "policy/log@0.9.0");
    let message = refusal(&encode(&module, &[&wit]));
    assert!(
        message.ends_with(
            "is built for version 0.9.0 of the contract ruleward:policy, and this host serves 0.1.0; rebuild the policy, or \
             update the host"
        ),
        "{message}"
    );
}

#[test]
fn an_unknown_setting() {
    let schema = r#"{"type":"object","properties":{"ports":{},"log-prefix":{}},"additionalProperties":false}"#;
    let policy = Kit::new().load(&Guest { schema, ..Guest::default() }.component()).unwrap();
    let told = |settings| policy.check_settings(&settings).unwrap_err().to_string();
    let message = told(serde_json::json!({ "log_prefix": "x" }));
    assert!(message.ends_with("the policy has no setting `log_prefix`; did you mean `log-prefix`?"), "{message}");
    let message = told(serde_json::json!({ "colour": 1 }));
    assert!(message.ends_with("the policy has no setting `colour`; it knows log-prefix, ports"), "{message}");
}

#[test]
fn a_panic() {
    let body = "(call $emit (i32.const 3) (i32.const 256) (i32.const 4)) unreachable";
    let error = Kit::new().evaluate(body).unwrap_err();
    assert!(error.to_string().contains("panicked") && error.to_string().contains("log lines"), "{error}");
    assert_eq!(error.log.lines[0].message, "test");
}

#[test]
fn an_endless_loop() {
    let message = Kit::new().evaluate("(loop br 0) unreachable").unwrap_err().to_string();
    assert!(message.contains("raise its limit `fuel` (1000000000) if it is not an endless loop"), "{message}");
}
