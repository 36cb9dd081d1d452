//! Runs one tool to its end: the only place of the daemon that starts `iptables` or `ipset`.
//!
//! What always holds: the whole input lies in a sealed memory file before the tool starts. A daemon that is killed
//! at any moment therefore never leaves a half-fed tool behind that commits half a script: the tool reads all of
//! it or was never started. No pipe carries input, so input and output can't block each other. The tool sees a
//! small, fixed environment, runs in a process group of its own, and is always reaped; at its time limit the whole
//! group is killed.
//!
//! Any exit status is a result here; what it means is for the caller. Errors are about not getting that far.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ruleward_core::bytes;
use ruleward_files::child::OwnChild;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use rustix::io::Errno;

use super::confine;
use super::own_processes;
pub use super::tool_error::ToolError;
use super::tool_path::{find, search_path};

/// Most bytes that a tool may print. More is an error: a table that large is not what the host could have written.
pub const LONGEST_OUTPUT: usize = 256 << 20;
/// Bytes of error output that are kept; the rest is read and thrown away.
pub const LONGEST_ERROR_OUTPUT: usize = 64 << 10;
/// How often a caller hears that a tool still runs.
const WAIT_NOTICE: Duration = Duration::from_secs(1);

/// One run of one tool.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// Name of the program, looked up in `PATH` and the system's directories; with a `/`, a path.
    pub program: &'a str,
    /// The Debian package that has it, for the error when it is missing.
    pub package: &'static str,
    /// Its arguments.
    pub arguments: &'a [&'a str],
    /// Its whole input.
    pub stdin: &'a [u8],
    /// Environment variables beside `PATH` and `LC_ALL=C`.
    pub environment: &'a [(&'a str, &'a OsStr)],
    /// Longest time it may take.
    pub timeout: Duration,
    /// A descriptor that it gets under the same number.
    pub descriptor: Option<BorrowedFd<'a>>,
    /// It reads words that a policy chose, or shows them: it may reach netfilter and nothing else.
    pub confined: bool,
}

/// How a tool ended that ran to its end.
#[derive(Debug)]
pub struct Finished {
    /// Exit status.
    pub status: i32,
    /// What it printed, in the text of [`bytes`].
    pub stdout: String,
    /// What it printed as errors, at most [`LONGEST_ERROR_OUTPUT`] bytes; bytes that are not UTF-8 replaced.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Finished {
    /// What it printed, if it reported success.
    ///
    /// # Errors
    /// [`ToolError::Failed`] with its status and error output.
    pub fn success(self, program: &str) -> Result<String, ToolError> {
        if self.status == 0 {
            return Ok(self.stdout);
        }
        Err(ToolError::Failed { program: program.to_owned(), status: self.status, stderr: self.stderr })
    }
}

impl Invocation<'_> {
    /// Runs the tool in the calling thread's namespaces and waits for it. About once a second `on_wait` hears how
    /// long that has taken so far.
    ///
    /// # Errors
    /// Those [`ToolError`]s that are about running a program, not about what it said.
    pub fn run(&self, on_wait: &mut dyn FnMut(Duration)) -> Result<Finished, ToolError> {
        let mut stdout = Vec::new();
        let finished = self.run_into(on_wait, &mut |output| stdout.extend_from_slice(output))?;
        Ok(Finished { stdout: bytes::decode(stdout), ..finished })
    }

    /// The same, with what it prints handed to `take` as it comes.
    ///
    /// # Errors
    /// The same.
    pub fn run_into(
        &self,
        on_wait: &mut dyn FnMut(Duration),
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<Finished, ToolError> {
        let started = Instant::now();
        let search = search_path();
        let path = find(self.program, self.package, &search)?;
        let stdin = sealed(self.stdin).map_err(self.system("preparing its input"))?;
        let mut command = Command::new(&path);
        command
            .args(self.arguments)
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", search)
            .envs(self.environment.iter().copied())
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(descriptor) = self.descriptor {
            confine::hand_over(&mut command, descriptor);
        }
        if self.confined {
            confine::confine(&mut command, &path);
        }
        let child = command.spawn().map_err(self.system("starting it"))?;
        own_processes::note(child.id());
        let mut running = OwnChild(child);
        let mut stderr = Vec::new();
        let end = self.watch(&mut running, started, take, &mut stderr, on_wait);
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        let program = || self.program.to_owned();
        match end.map_err(self.system("reading its output"))? {
            End::Exited => {}
            End::TimedOut => return Err(ToolError::TimedOut { program: program(), limit: self.timeout, stderr }),
            End::TooLarge => return Err(ToolError::OutputTooLarge { program: program(), limit: LONGEST_OUTPUT }),
        }
        let status = running.0.wait().map_err(self.system("waiting for it"))?;
        let Some(status) = status.code() else {
            return Err(ToolError::Killed { program: program(), signal: status.signal().unwrap_or(0), stderr });
        };
        Ok(Finished { status, stdout: String::new(), stderr, took: started.elapsed() })
    }

    /// Reads both outputs until the tool has ended. What a tool printed before its end lies in the pipes by then,
    /// so a descendant that keeps them open is not waited for.
    fn watch(
        &self,
        running: &mut OwnChild,
        started: Instant,
        take: &mut dyn FnMut(&[u8]),
        stderr: &mut Vec<u8>,
        on_wait: &mut dyn FnMut(Duration),
    ) -> io::Result<End> {
        let process = running.handle()?;
        let mut output = Stream::new(running.0.stdout.take().map(OwnedFd::from), LONGEST_OUTPUT)?;
        let mut errors = Stream::new(running.0.stderr.take().map(OwnedFd::from), LONGEST_ERROR_OUTPUT)?;
        let mut next_notice = WAIT_NOTICE;
        loop {
            let elapsed = started.elapsed();
            if elapsed >= self.timeout {
                return Ok(End::TimedOut);
            }
            if elapsed >= next_notice {
                on_wait(elapsed);
                next_notice = elapsed + WAIT_NOTICE;
            }
            let pause = (self.timeout - elapsed).min(next_notice.saturating_sub(elapsed));
            let ended = await_any(&process, &output, &errors, pause)?;
            output.drain(take)?;
            errors.drain(&mut |more| stderr.extend_from_slice(more))?;
            if output.overflowed {
                return Ok(End::TooLarge);
            }
            if ended {
                return Ok(End::Exited);
            }
        }
    }

    fn system<E: Into<io::Error>>(&self, what: &'static str) -> impl FnOnce(E) -> ToolError {
        let program = self.program.to_owned();
        move |error| ToolError::System { program, what, source: error.into() }
    }
}

/// How watching a tool ended.
enum End {
    Exited,
    TimedOut,
    TooLarge,
}

/// The read end of a pipe, with a limit for what is taken of it.
struct Stream {
    pipe: Option<OwnedFd>,
    buffer: Vec<u8>,
    /// So many bytes more are taken.
    room: usize,
    overflowed: bool,
}

impl Stream {
    fn new(pipe: Option<OwnedFd>, limit: usize) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            let flags = rustix::fs::fcntl_getfl(pipe)?;
            rustix::fs::fcntl_setfl(pipe, flags | OFlags::NONBLOCK)?;
            // A larger pipe means fewer switches between us and the tool; the default serves as well.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, 1 << 20);
        }
        Ok(Self { pipe, buffer: Vec::new(), room: limit, overflowed: false })
    }

    /// Hands on what lies in the pipe. Forgets the pipe at its end, and what exceeds the limit.
    fn drain(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        while let Some(pipe) = &self.pipe {
            self.buffer.clear();
            self.buffer.reserve(128 << 10);
            match rustix::io::read(pipe, rustix::buffer::spare_capacity(&mut self.buffer)) {
                Ok(0) => self.pipe = None,
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
            self.overflowed |= self.buffer.len() > self.room;
            self.buffer.truncate(self.room);
            self.room -= self.buffer.len();
            take(&self.buffer);
        }
        Ok(())
    }
}

/// Waits until there is output or the process has ended, at most `pause`. True: it has ended.
fn await_any(process: &OwnedFd, output: &Stream, errors: &Stream, pause: Duration) -> io::Result<bool> {
    let pipes = [&output.pipe, &errors.pipe].into_iter().flatten();
    let mut watched = vec![PollFd::new(process, PollFlags::IN)];
    watched.extend(pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
    let pause = Timespec::try_from(pause).map_err(|_| Errno::INVAL)?;
    match poll(&mut watched, Some(&pause)) {
        Ok(_) | Err(Errno::INTR) => Ok(!watched[0].revents().is_empty()),
        Err(error) => Err(error.into()),
    }
}

/// A memory file with `content`, read from its beginning, that nobody can change any more.
fn sealed(content: &[u8]) -> io::Result<Stdio> {
    if content.is_empty() {
        return Ok(Stdio::null());
    }
    let file = rustix::fs::memfd_create("ruleward-input", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = content;
    while !rest.is_empty() {
        match rustix::io::write(&file, rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    rustix::fs::fcntl_add_seals(
        file.as_fd(),
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(Stdio::from(File::from(file)))
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, Signal};

    use super::*;

    fn shell<'a>(arguments: &'a [&'a str], stdin: &'a [u8]) -> Invocation<'a> {
        let timeout = Duration::from_secs(60);
        Invocation {
            program: "sh",
            package: "dash",
            arguments,
            stdin,
            environment: &[],
            timeout,
            descriptor: None,
            confined: false,
        }
    }

    fn run(script: &str) -> Result<Finished, ToolError> {
        shell(&["-c", script], b"").run(&mut |_| {})
    }

    #[test]
    fn large_input_and_output_do_not_block_each_other() {
        let input = vec![b'x'; 20 << 20];
        let finished = shell(&["-c", "cat; echo done >&2"], &input).run(&mut |_| {}).unwrap();
        assert_eq!((finished.status, finished.stdout.len(), finished.stderr.as_str()), (0, 20 << 20, "done\n"));
    }

    #[test]
    fn status_and_error_output_come_back() {
        let error = run("echo one >&2; echo two >&2; exit 3").unwrap().success("sh").unwrap_err();
        assert_eq!(error.to_string(), "sh failed with status 3: one / two");
    }

    #[test]
    fn error_output_is_cut_and_does_not_block() {
        let finished = run("head -c 3000000 /dev/zero >&2; echo end").unwrap();
        assert_eq!((finished.stdout.as_str(), finished.stderr.len()), ("end\n", LONGEST_ERROR_OUTPUT));
    }

    #[test]
    fn the_environment_is_fixed() {
        let mut invocation = shell(&["-c", "env"], b"");
        let extra = [("XTABLES_LOCKFILE", OsStr::new("/x"))];
        invocation.environment = &extra;
        let output = invocation.run(&mut |_| {}).unwrap().stdout;
        let mut names: Vec<&str> = output.lines().filter_map(|line| line.split('=').next()).collect();
        names.retain(|name| !matches!(*name, "PWD" | "OLDPWD" | "SHLVL" | "_"));
        names.sort_unstable();
        assert_eq!(names, ["LC_ALL", "PATH", "XTABLES_LOCKFILE"]);
    }

    #[test]
    fn a_tool_that_hangs_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids");
        let script = format!("sleep 600 & echo $! $$ > {}; wait", pids.display());
        let arguments = ["-c", &script];
        let invocation = Invocation { timeout: Duration::from_secs(3), ..shell(&arguments, b"") };
        let error = invocation.run(&mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "sh was killed after 3 s without coming to an end");
        let pids = std::fs::read_to_string(pids).unwrap();
        assert_eq!(pids.split_whitespace().count(), 2);
        for pid in pids.split_whitespace() {
            let deadline = Instant::now() + Duration::from_secs(20);
            while is_alive(pid) {
                assert!(Instant::now() < deadline, "process {pid} is still there");
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn a_tool_that_takes_long_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let heard = directory.path().join("heard");
        let script = format!("until [ -e {} ]; do sleep 0.01; done; echo end", heard.display());
        let finished = shell(&["-c", &script], b"").run(&mut |_| std::fs::write(&heard, "").unwrap()).unwrap();
        assert_eq!(finished.stdout, "end\n");
    }

    /// Present and not a zombie (whose reaping is its new parent's business).
    fn is_alive(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }

    #[test]
    fn a_descendant_with_our_pipe_is_not_waited_for() {
        let finished = run("sleep 600 & echo $!").unwrap();
        let pid = finished.stdout.trim().parse().ok().and_then(Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }

    #[test]
    fn a_signal_is_named() {
        assert_eq!(run("kill -9 $$").unwrap_err().to_string(), "sh was ended by signal 9");
    }

    #[test]
    fn what_is_not_utf8_is_read_all_the_same() {
        let finished = run("printf 'ab\\377'").unwrap();
        assert_eq!(bytes::encode(&finished.stdout).as_ref(), b"ab\xff");
    }

    #[test]
    fn a_missing_tool_names_its_package() {
        let invocation = Invocation { program: "iptables-nowhere", package: "iptables", ..shell(&[], b"") };
        let error = invocation.run(&mut |_| {}).unwrap_err().to_string();
        let package = "install the Debian package `iptables` (apt-get install iptables)";
        assert_eq!(error, format!("iptables-nowhere is not installed; {package}"));
    }
}
