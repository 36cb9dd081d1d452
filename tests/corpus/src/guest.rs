//! A policy in WebAssembly text, and the way from text to a component.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SizeAlign, WorldItem};

/// The contract.
pub const WIT: &str = include_str!("../../../wit/policy.wit");

/// A policy in WebAssembly text.
pub struct Guest<'a> {
    /// Body of `describe`: leaves a pointer; 0 is the description that the guest holds.
    pub describe: &'a str,
    /// Body of `evaluate`, whose parameter points to facts and settings: leaves a pointer; 128 is an empty contribution.
    pub evaluate: &'a str,
    /// Body of `cabi_realloc`, if it is not the usual one, which takes what follows and frees nothing.
    pub realloc: &'a str,
    /// The settings' schema, without quotes of its own escaped.
    pub schema: &'a str,
    /// More definitions.
    pub more: &'a str,
    /// Pages of memory.
    pub pages: u64,
}

impl Default for Guest<'_> {
    fn default() -> Self {
        Self { describe: "i32.const 0", evaluate: "i32.const 128", realloc: REALLOC, schema: "{}", more: "", pages: 8 }
    }
}

/// Takes the next bytes and never gives any back: each call has a fresh instance.
pub const REALLOC: &str = "(global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    global.get $next
    (global.set $next (i32.add (global.get $next) (local.get 3)))";

impl Guest<'_> {
    /// The core module. Memory: the description at 0, an answer at 128, text from 256, the schema from 1024, answers of
    /// [`crate::layout`] from 32768, and what the host passes from 65536.
    pub fn module(&self) -> String {
        let word = |number: usize| {
            let [a, b, ..] = number.to_le_bytes();
            format!("\\{a:02x}\\{b:02x}\\00\\00")
        };
        let text = |at: usize, length: usize| word(at) + &word(length);
        let description = [text(256, 4), text(260, 3), text(256, 4), text(1024, self.schema.len())].concat();
        let schema: String = self.schema.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let Self { describe, evaluate, realloc, more, pages, .. } = self;
        format!(
            r#"(module
                (import "ruleward:policy/log@0.1.0" "emit" (func $emit (param i32 i32 i32)))
                (memory (export "memory") {pages})
                (global $next (mut i32) (i32.const 65536))
                (data (i32.const 0) "{description}")
                (data (i32.const 256) "test1.0")
                (data (i32.const 1024) "{schema}")
                {more}
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
                (func (export "describe") (result i32) {describe})
                (func (export "evaluate") (param i32) (result i32) {evaluate}))"#,
        )
    }

    /// The component.
    pub fn component(&self) -> Vec<u8> {
        encode(&self.module(), &[WIT])
    }
}

/// Where the settings' address is in what the parameter of `evaluate` points to; their length follows.
pub fn settings_offset() -> usize {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("policy.wit", WIT).unwrap();
    let world = resolve.select_world(&[package], Some("policy")).unwrap();
    let mut functions = resolve.worlds[world].exports.values().filter_map(|item| match item {
        WorldItem::Function(function) => Some(function),
        _ => None,
    });
    let evaluate = functions.find(|function| function.name == "evaluate").unwrap();
    let mut sizes = SizeAlign::default();
    sizes.fill(&resolve);
    let offsets = sizes.field_offsets(evaluate.params.iter().map(|parameter| &parameter.ty));
    offsets[1].0.size_wasm32()
}

/// A component from a core module in text, for the world `policy` of the last of these packages.
pub fn encode(module: &str, packages: &[&str]) -> Vec<u8> {
    let mut module = wat::parse_str(module).unwrap();
    let mut resolve = Resolve::default();
    let packages: Vec<_> = packages
        .iter()
        .enumerate()
        .map(|(index, text)| resolve.push_str(format!("{index}.wit"), text).unwrap())
        .collect();
    let world = resolve.select_world(&packages[packages.len() - 1..], Some("policy")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}
