//! For the tests of this folder: an engine in a temporary folder, components made from a core module in text and a
//! contract in WIT, facts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ruleward_core::contribution::Families;
use ruleward_core::facts::{Facts, System, Version};
use ruleward_core::grants::Grants;
use ruleward_core::names::{Backend, PolicyName};
use tempfile::TempDir;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::compile::{self, Compiler};
use super::{
    Cause, EvaluateError, Evaluation, Fault, Limits, LoadError, LoadedPolicy, PolicyEngine, PolicyEngineOptions,
};

/// The contract.
pub const WIT: &str = include_str!("../../../../wit/policy.wit");

/// Where [`compiling_child_entry_point`] is found.
const ENTRY_POINT: &str = "policies::testkit::compiling_child_entry_point";

/// This test executable as the compiler.
pub fn compiler() -> Compiler {
    let arguments = ["--exact", ENTRY_POINT, "--nocapture", "--test-threads=1", "--"];
    Compiler { arguments: arguments.map(Into::into).to_vec(), ..Compiler::default() }
}

/// What the test executable does when it is started as [`compiler`]; otherwise nothing.
#[test]
fn compiling_child_entry_point() {
    let arguments: Vec<_> = std::env::args_os().skip_while(|argument| argument != "--").skip(1).collect();
    let [input, output] = arguments.as_slice() else { return };
    let code = match compile::child_main(input.as_ref(), output.as_ref()) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            i32::from(error.exit_code())
        }
    };
    std::process::exit(code);
}

/// An engine whose state lives in a temporary folder.
pub struct Kit {
    pub folder: TempDir,
    pub engine: PolicyEngine,
    pub limits: Limits,
}

impl Kit {
    pub fn new() -> Self {
        Self::with_compiler(compiler())
    }

    pub fn with_compiler(compiler: Compiler) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = PolicyEngineOptions { state_directory: folder.path().join("state"), compiler };
        let engine = PolicyEngine::new(options).unwrap();
        // A busy machine must not be taken for a slow policy.
        let limits = Limits { time: Duration::from_secs(600), ..Limits::default() };
        Self { folder, engine, limits }
    }

    pub fn cache(&self) -> PathBuf {
        self.folder.path().join("state/cache")
    }

    /// The only entry of the cache.
    pub fn entry(&self) -> PathBuf {
        let entries: Vec<_> = std::fs::read_dir(self.cache()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries[0].clone()
    }

    /// Writes the bytes to a file and loads it as the policy `test`.
    pub fn load(&self, bytes: &[u8]) -> Result<LoadedPolicy, LoadError> {
        let path = self.folder.path().join("test.wasm");
        std::fs::write(&path, bytes).unwrap();
        self.load_file(&path)
    }

    pub fn load_file(&self, path: &Path) -> Result<LoadedPolicy, LoadError> {
        self.engine.load(&PolicyName::new("test").unwrap(), path, &self.limits)
    }

    /// Loads a policy with this body of `evaluate` and asks it.
    pub fn evaluate(&self, body: &str) -> Result<Evaluation, Box<EvaluateError>> {
        let policy = self.load(&Guest { evaluate: body, ..Guest::default() }.component()).unwrap();
        policy.evaluate(&facts(), &Grants::default(), "{}")
    }

    /// The fault of a policy with this body of `evaluate`.
    pub fn fault(&self, body: &str) -> Fault {
        match self.evaluate(body).unwrap_err().cause {
            Cause::Fault(fault) => fault,
            other => panic!("{other:?}"),
        }
    }
}

/// A policy in WebAssembly text.
pub struct Guest<'a> {
    /// Body of `describe`: leaves a pointer; 0 is the description that the guest holds.
    pub describe: &'a str,
    /// Body of `evaluate`: leaves a pointer; 128 is an empty contribution.
    pub evaluate: &'a str,
    /// The settings' schema, without quotes of its own escaped.
    pub schema: &'a str,
    /// More definitions.
    pub more: &'a str,
}

impl Default for Guest<'_> {
    fn default() -> Self {
        Self { describe: "i32.const 0", evaluate: "i32.const 128", schema: "{}", more: "" }
    }
}

impl Guest<'_> {
    /// The core module. Memory: the description at 0, an answer at 128, text from 256, the schema from 1024, and what
    /// the host passes from 65536 (never freed; each call has a fresh instance).
    pub fn module(&self) -> String {
        let word = |number: usize| format!("\\{:02x}\\{:02x}\\00\\00", number & 255, number >> 8);
        let text = |at: usize, length: usize| word(at) + &word(length);
        let description = [text(256, 4), text(260, 3), text(256, 4), text(1024, self.schema.len())].concat();
        let schema: String = self.schema.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        format!(
            r#"(module
                (import "ruleward:policy/log@0.1.0" "emit" (func $emit (param i32 i32 i32)))
                (memory (export "memory") 8)
                (global $next (mut i32) (i32.const 65536))
                (data (i32.const 0) "{description}")
                (data (i32.const 256) "test1.0")
                (data (i32.const 1024) "{schema}")
                {more}
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
                    global.get $next
                    (global.set $next (i32.add (global.get $next) (local.get 3))))
                (func (export "describe") (result i32) {describe})
                (func (export "evaluate") (param i32) (result i32) {evaluate}))"#,
            more = self.more,
            describe = self.describe,
            evaluate = self.evaluate,
        )
    }

    pub fn component(&self) -> Vec<u8> {
        encode(&self.module(), &[WIT])
    }
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
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

/// Facts of a small node.
pub fn facts() -> Facts {
    Facts {
        node_name: "node".to_owned(),
        system: System {
            kernel: Version(6, 12, 0),
            iptables: Version(1, 8, 9),
            backend: Backend::Nft,
            families: Families::BOTH,
        },
        interfaces: Vec::new(),
        documents: Vec::new(),
    }
}
