//! Compiles components in a child process. Compiling takes memory and time that a hostile component chooses, so the
//! child has limits of its own; whatever happens to it, the daemon goes on and says why there is no policy.
//!
//! The child is this same executable (`ruleward compile IN OUT`), so that its engine is the daemon's.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::num::NonZero;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use ruleward_core::quantity::format_rough_size;
use rustix::process::{Resource, Rlimit, Signal};
use thiserror::Error;

use super::artefact::Trusted;
use super::engine;
use super::guest::one_line;
use ruleward_files::child::OwnChild;
use ruleward_files::private_dir;

/// Largest file that the child writes, bytes.
const CHILD_OUTPUT: u64 = 1 << 30;
/// Bytes of the child's complaints that are read.
const LONGEST_COMPLAINT: usize = 2000;

/// Threads that compile. More would take address space for themselves, which is what the component is allowed.
const MOST_THREADS: usize = 4;
/// Bytes of stack of each: as many as the main thread has.
const STACK: usize = 8 << 20;

/// Exit status of a child that found the component invalid (`EX_DATAERR`).
const INVALID: u8 = 65;
/// Exit status of a child that could not read or write (`EX_IOERR`).
const NO_IO: u8 = 74;
/// Exit status of a child that got no more memory (`EX_OSERR`).
const NO_MEMORY: u8 = 71;

/// What the child may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Address space, bytes.
    pub memory: u64,
    /// Processor time, whole seconds.
    pub seconds: u64,
}

impl Default for CompileLimits {
    /// Five times what the largest component needs that is known (a whole JavaScript engine).
    fn default() -> Self {
        Self { memory: 2 << 30, seconds: 60 }
    }
}

/// How to start the compiling child.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments; memory, seconds, and the paths of input and output are added.
    pub arguments: Vec<OsString>,
    /// What it may use.
    pub limits: CompileLimits,
    /// How long it may take, wall time.
    pub timeout: Duration,
}

impl Default for Compiler {
    /// The running executable, even if its file has been replaced meanwhile.
    fn default() -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
            arguments: vec![OsString::from("compile")],
            limits: CompileLimits::default(),
            timeout: Duration::from_secs(CompileLimits::default().seconds),
        }
    }
}

/// Why a component was not compiled.
#[derive(Debug, Error)]
pub enum CompileError {
    /// It breaks the rules of WebAssembly.
    #[error("is not a valid component: {0}")]
    Invalid(String),
    /// Reading, writing or starting failed.
    #[error("could not be compiled: {0}")]
    Io(String),
    /// It took too long.
    #[error("could not be compiled within {} s, which is `compile-time`; make it smaller, or raise that", .0.as_secs_f64())]
    TimedOut(Duration),
    /// It used too much.
    #[error(
        "could not be compiled within {0} s of processor time, which is `compile-time`; make it smaller, or raise that"
    )]
    TooMuchTime(u64),
    /// It used too much.
    #[error("could not be compiled within {} of memory, which is `compile-memory`; make it smaller, or raise that", format_rough_size(*.0))]
    TooMuchMemory(u64),
    /// It is nested without end.
    #[error("could not be compiled: it is nested too deeply for the compiler's stack")]
    TooDeep,
    /// The result is enormous.
    #[error(
        "could not be compiled: the compiled code is larger than {}; make it smaller",
        format_rough_size(CHILD_OUTPUT)
    )]
    TooLarge,
    /// Somebody else did.
    #[error("could not be compiled: the compiler was killed, most often because the machine is short of memory")]
    Killed,
    /// Anything else.
    #[error("could not be compiled: the compiler ended with {status}: {complaint}")]
    Failed {
        /// How.
        status: ExitStatus,
        /// What it said.
        complaint: String,
    },
}

impl Compiler {
    /// Compiles `bytes`, with `work` as the place for files; what is left there is the caller's to remove. Answers the
    /// compiled code, and where in `work` it is.
    ///
    /// # Errors
    /// [`CompileError`]; the child is gone in any case.
    pub fn compile(&self, bytes: &[u8], work: &Path) -> Result<(Trusted, PathBuf), CompileError> {
        let io = |error: io::Error| CompileError::Io(format!("{}: {error}", work.display()));
        let (input, output, complaints) = (work.join("in.wasm"), work.join("out.cwasm"), work.join("complaints"));
        let create = |path| File::options().write(true).create_new(true).mode(0o600).open(path);
        create(&input).and_then(|mut file| file.write_all(bytes)).map_err(io)?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .args([self.limits.memory, self.limits.seconds].map(|limit| limit.to_string()))
            .args([&input, &output])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(create(&complaints).map_err(io)?)
            .spawn()
            .map_err(|e| CompileError::Io(format!("can't start {}: {e}", self.program.display())))?;
        let status = OwnChild(child).wait(self.timeout).map_err(io)?.ok_or(CompileError::TimedOut(self.timeout))?;
        if !status.success() {
            return Err(failure(status, read_complaint(&complaints), self.limits));
        }
        // The child that has just ended was ours and wrote this file in a folder that only we can write to.
        let file = private_dir::open_own(&output).map_err(io)?;
        Ok((Trusted::promise(file), output))
    }
}

fn read_complaint(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST_COMPLAINT as u64).read_to_end(&mut bytes));
    match read {
        Ok(_) => one_line(String::from_utf8_lossy(&bytes).trim(), LONGEST_COMPLAINT),
        Err(error) => format!("(what it said can't be read: {error})"),
    }
}

fn failure(status: ExitStatus, complaint: String, limits: CompileLimits) -> CompileError {
    let code = |code: u8| status.code() == Some(i32::from(code));
    let by = |which: Signal| status.signal() == Some(which.as_raw());
    let says = |words: &str| complaint.contains(words);
    // Rust's own words when it gives up: for a failed allocation, and for the end of its stack.
    if code(NO_MEMORY) || by(Signal::ABORT) && says("memory allocation of") {
        CompileError::TooMuchMemory(limits.memory)
    } else if by(Signal::ABORT) && says("has overflowed its stack") || by(Signal::SEGV) {
        CompileError::TooDeep
    } else if by(Signal::XCPU) {
        CompileError::TooMuchTime(limits.seconds)
    } else if by(Signal::XFSZ) {
        CompileError::TooLarge
    } else if by(Signal::KILL) {
        CompileError::Killed
    } else if code(INVALID) {
        CompileError::Invalid(complaint)
    } else if code(NO_IO) {
        CompileError::Io(complaint)
    } else {
        CompileError::Failed { status, complaint }
    }
}

/// Why the child did not compile.
#[derive(Debug, Error)]
pub enum ChildError {
    /// The component's fault.
    #[error("{0}")]
    Invalid(String),
    /// The system's.
    #[error("{0}")]
    Io(String),
    /// The limit of memory.
    #[error("{0}")]
    NoMemory(String),
}

impl ChildError {
    /// The exit status that tells the parent which.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Invalid(_) => INVALID,
            Self::Io(_) => NO_IO,
            Self::NoMemory(_) => NO_MEMORY,
        }
    }
}

/// What the child does: limits itself, then compiles the file `input` to the file `output`.
///
/// # Errors
/// [`ChildError`]: print it to the standard error output and exit with [`ChildError::exit_code`].
pub fn child_main(limits: CompileLimits, input: &Path, output: &Path) -> Result<(), ChildError> {
    let io = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| ChildError::Io(format!("{path}: {error}"))
    };
    limit_self(limits).map_err(|e| ChildError::Io(format!("can't limit the compiler: {e}")))?;
    let bytes = fs::read(input).map_err(io(input))?;
    let engine = engine::compiling(in_parallel()).map_err(|e| ChildError::Io(format!("{e:#}")))?;
    let code = engine.precompile_component(&bytes).map_err(|error| {
        let text = format!("{error:#}");
        let system = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        let no_memory = system == Some(rustix::io::Errno::NOMEM.raw_os_error()) || error.is::<wasmtime::OutOfMemory>();
        if no_memory { ChildError::NoMemory(text) } else { ChildError::Invalid(text) }
    })?;
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(output).map_err(io(output))?;
    file.write_all(&code).and_then(|()| file.sync_all()).map_err(io(output))
}

/// Whether functions are compiled on several threads. Where the system has none to give, one does it all.
fn in_parallel() -> bool {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK);
    threads > 1 && pool.build_global().is_ok()
}

fn limit_self(limits: CompileLimits) -> io::Result<()> {
    // A compiler whose daemon is gone works for nobody.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::thread::set_no_new_privs(true)?;
    for (resource, most) in [
        (Resource::As, limits.memory),
        (Resource::Cpu, limits.seconds),
        (Resource::Fsize, CHILD_OUTPUT),
        (Resource::Core, 0),
    ] {
        let ceiling = rustix::process::getrlimit(resource).maximum;
        let most = Some(ceiling.map_or(most, |ceiling| ceiling.min(most)));
        // Above the limit of processor time that warns, the one that kills.
        let maximum =
            if resource == Resource::Cpu { most.map(|most| most + 1).min(ceiling.or(Some(u64::MAX))) } else { most };
        rustix::process::setrlimit(resource, Rlimit { current: most, maximum })?;
    }
    Ok(())
}
