//! For the tests of this folder: an engine in a temporary folder, facts.

use std::path::{Path, PathBuf};

use ruleward_core::contribution::Families;
use ruleward_core::facts::{Facts, System, Version};
use ruleward_core::grants::Grants;
use ruleward_core::names::{Backend, PolicyName};
use tempfile::TempDir;

pub use ruleward_corpus::{Guest, WIT, encode};

use super::compile::{self, CompileLimits, Compiler};
use super::{
    Cause, EvaluateError, Evaluation, Exceeded, Fault, Limit, Limits, LoadError, LoadedPolicy, PolicyEngine,
    PolicyEngineOptions,
};

/// The test that calls [`compiling_child`] in each test executable.
const ENTRY_POINT: &str = "compiling_child_entry_point";

/// This test executable as the compiler.
pub fn compiler() -> Compiler {
    let arguments = ["--exact", ENTRY_POINT, "--nocapture", "--test-threads=1", "--"];
    Compiler { arguments: arguments.map(Into::into).to_vec(), ..Compiler::default() }
}

/// What the test executable does when it is started as [`compiler`]; otherwise nothing.
pub fn compiling_child() {
    let arguments: Vec<_> = std::env::args_os().skip_while(|argument| argument != "--").skip(1).collect();
    let [memory, seconds, input, output] = arguments.as_slice() else { return };
    let number = |text: &std::ffi::OsString| text.to_str().unwrap().parse().unwrap();
    let limits = CompileLimits { memory: number(memory), seconds: number(seconds) };
    let code = match compile::child_main(limits, input.as_ref(), output.as_ref()) {
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

impl Default for Kit {
    fn default() -> Self {
        Self::with_compiler(compiler())
    }
}

impl Kit {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_compiler(compiler: Compiler) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = PolicyEngineOptions { compiler, ..PolicyEngineOptions::new(folder.path().join("state")) };
        let engine = PolicyEngine::new(options).unwrap();
        // A busy machine must not be taken for a slow policy.
        let limits = Limits::default().with(Limit::Time, 600_000_000);
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

    /// The limit that a policy with this body of `evaluate` exceeds.
    pub fn exceeded(&self, body: &str) -> Exceeded {
        match self.fault(body) {
            Fault::Exceeded(over) => over,
            other => panic!("{other:?}"),
        }
    }

    /// The fault of a policy with this body of `evaluate`.
    pub fn fault(&self, body: &str) -> Fault {
        match self.evaluate(body).unwrap_err().cause {
            Cause::Fault(fault) => fault,
            other => panic!("{other:?}"),
        }
    }
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
        resources: Vec::new(),
        nft_tables: Vec::new(),
    }
}
