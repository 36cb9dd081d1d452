//! The stock tools, alone: what Ruleward is compared with. They run in the calling thread's namespace, timed from before
//! the process starts until it has ended, as the host times its own calls.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use ruleward_tests::{Backend, Family, Netns, which};

/// The stock tool, ready to be run.
fn tool(family: Family, backend: Backend, action: &str) -> Command {
    let mut command = Command::new(which(&family.tool(backend, action)));
    command.env_clear().env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// What `iptables -V` says.
pub fn version() -> String {
    let output = Command::new(which("iptables")).arg("-V").output();
    output.map_or_else(|error| error.to_string(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Why this machine does not have a backend, if so.
pub fn unusable(backend: Backend) -> Option<String> {
    let name = Family::Ipv4.tool(backend, "save");
    let output = Netns::new().run(|| Command::new(&name).args(["-t", "filter"]).output());
    match output {
        Err(error) => Some(format!("{name}: {error}")),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Loads a script with `--noflush`; gives milliseconds.
pub fn restore(backend: Backend, script: &Path) -> f64 {
    try_restore(backend, script).unwrap_or_else(|error| panic!("{error}"))
}

/// The same; an error is what the tool said.
pub fn try_restore(backend: Backend, script: &Path) -> Result<f64, String> {
    let script = File::open(script).map_err(|error| format!("{}: {error}", script.display()))?;
    timed(tool(Family::Ipv4, backend, "restore").arg("--noflush").stdin(script))
}

/// `iptables-save -t filter`, then `ip6tables-save -t filter`; gives milliseconds.
pub fn save_both(backend: Backend) -> f64 {
    let times = Family::ALL.map(|family| timed(tool(family, backend, "save").args(["-t", "filter"])));
    times.into_iter().map(|time| time.unwrap_or_else(|error| panic!("{error}"))).sum()
}

/// Empties all chains of table filter, as another program would.
pub fn flush_all(backend: Backend) {
    tamper(backend, &["-F"]);
}

/// Deletes the rule at this place of a chain; the first one is 1.
pub fn delete(backend: Backend, chain: &str, place: usize) {
    tamper(backend, &["-D", chain, &place.to_string()]);
}

fn tamper(backend: Backend, words: &[&str]) {
    timed(tool(Family::Ipv4, backend, "").arg("-w").args(words)).unwrap_or_else(|error| panic!("{error}"));
}

/// Number of rules in the chains of table filter.
pub fn count(backend: Backend) -> usize {
    let output = tool(Family::Ipv4, backend, "save").args(["-t", "filter"]).output().expect("the tool was just there");
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.starts_with("-A ")).count()
}

/// A file with this script.
pub fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, text).unwrap_or_else(|error| panic!("can't write {}: {error}", file.display()));
    file
}

fn timed(command: &mut Command) -> Result<f64, String> {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let output = command.spawn().and_then(Child::wait_with_output);
    let took = start.elapsed().as_secs_f64() * 1e3;
    let program = command.get_program().display();
    let output = output.map_err(|error| format!("can't run {program}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("{program} ended with {}: {said}", output.status));
    }
    Ok(took)
}
