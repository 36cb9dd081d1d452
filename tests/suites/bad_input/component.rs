//! Files that are no policy.

use ruleward_tests::trial;
use std::fs;

use ruleward_tests::{Backend, policy_file};
use serde_json::json;

use super::{assert_refused, good_node, good_policy};

/// Name, bytes, and what the refusal must say besides the file.
pub type Case = (&'static str, fn() -> Vec<u8>, &'static [&'static str]);

pub const CASES: &[Case] = &[
    ("empty", Vec::new, &["component"]),
    ("text", || b"#!/bin/sh\necho hello\n".to_vec(), &["component"]),
    ("core_module", || b"\0asm\x01\0\0\0".to_vec(), &["component"]),
    ("component_without_exports", || b"\0asm\x0d\0\x01\0".to_vec(), &["describe"]),
    ("truncated", || good_component().into_iter().take(5000).collect(), &["component"]),
    (
        "one_byte_short",
        || {
            let mut bytes = good_component();
            bytes.pop();
            bytes
        },
        &["component"],
    ),
    ("damaged", damaged, &["component"]),
    ("forbidden_import", forbidden_import, &["wasi:filesystem/types@0.2.0"]),
];

fn good_component() -> Vec<u8> {
    fs::read(policy_file("static-rules.wasm")).expect("a built policy is readable")
}

fn damaged() -> Vec<u8> {
    let mut bytes = good_component();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    bytes
}

/// `(component (import "wasi:filesystem/types@0.2.0" (instance)))`, byte by byte.
fn forbidden_import() -> Vec<u8> {
    let name = b"wasi:filesystem/types@0.2.0";
    let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
    // Type section: one instance type without declarations.
    bytes.extend([7, 3, 1, 0x42, 0]);
    // Import section: one import by plain name, an instance of type 0.
    let length = u8::try_from(name.len()).expect("a short name");
    bytes.extend([10, length + 5, 1, 0, length]);
    bytes.extend(name);
    bytes.extend([5, 0]);
    bytes
}

trial!(for case @ (name, ..) in CASES, "bad_input::component::{name}", refused(case));
pub fn refused((_, bytes, says): &Case) {
    let node = good_node(Backend::Nft);
    fs::write(node.path("bad.wasm"), bytes()).expect("the node's directory is writable");
    let mut bad = good_policy();
    bad["component"] = json!("./bad.wasm");
    bad["grants"] = json!({ "tables": ["nat"], "chains": ["bad-*"] });
    node.set("policies", json!({ "good": good_policy(), "bad": bad }));
    assert_refused(&node, &[&["bad.wasm"], *says].concat());
    fs::remove_file(node.path("bad.wasm")).expect("it is there");
    assert_refused(&node, &["bad.wasm"]);
}
