//! Who a process is, as far as `/proc` tells: name, file, words, control group, and the processes that started it.
//!
//! Runs before a repair, so it reads a few small files once and no more. A process may end at any moment, and its id may be
//! given to another: everything is read through one open directory, which a later process with that id does not share, and
//! where the kernel named the process before, nothing is claimed of one with another name. What can't be read is left
//! out. All of it is the process's own word: whoever shows it escapes it.

use std::fmt::Write;
use std::os::fd::OwnedFd;

use ruleward_core::actor::{Actor, KEPT_PARENTS, Parent};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// Characters of a command line or of a control group's path.
const LONGEST: usize = 1_000;
/// Enough bytes for [`LONGEST`] characters, whatever they are, and for all lines of `cgroup` on a version 1 system.
const FILE: usize = 4 << 10;

/// What is known of the process with the id `pid` in our `/proc`; `kernel_name` is what the kernel called it when it did
/// what we heard of.
pub fn identify(pid: u32, kernel_name: Option<&str>) -> Actor {
    let named = |name: &str| Actor { name: cut(name), pid: (pid != 0).then_some(pid), ..Actor::unknown() };
    let claimed = kernel_name.map_or_else(|| named(&Actor::unknown().name), named);
    let Some(process) = (pid != 0).then(|| directory(pid)).flatten() else { return claimed };
    let mut buffer = [0; FILE];
    let Some((name, parent)) = read(&process, "stat", &mut buffer).and_then(stat) else { return claimed };
    if kernel_name.is_some_and(|kernel_name| kernel_name != name) {
        return claimed;
    }
    let command_line = read(&process, "cmdline", &mut buffer).and_then(command_line);
    let cgroup = read(&process, "cgroup", &mut buffer).and_then(cgroup);
    let executable = executable(&process);
    let parent = parent.and_then(|pid| parents(pid, KEPT_PARENTS, &mut buffer));
    Actor { executable, command_line, cgroup, parent, ..named(&name) }
}

/// A process that started another, and the ones that started it, `most` in all.
fn parents(pid: u32, most: usize, buffer: &mut [u8; FILE]) -> Option<Box<Parent>> {
    let process = directory(pid)?;
    let (name, above) = read(&process, "stat", buffer).and_then(stat)?;
    let command_line = read(&process, "cmdline", buffer).and_then(command_line);
    let parent = above.filter(|_| most > 1).and_then(|pid| parents(pid, most - 1, buffer));
    Some(Box::new(Parent { name: cut(&name), pid, command_line, parent }))
}

/// The file that a process runs. A file that was replaced since is not told from the one before.
fn executable(process: &OwnedFd) -> Option<String> {
    let path = rustix::fs::readlinkat(process, "exe", Vec::with_capacity(128)).ok()?;
    let path = path.to_string_lossy();
    Some(cut(path.strip_suffix(" (deleted)").unwrap_or(&path)))
}

fn directory(pid: u32) -> Option<OwnedFd> {
    let mut path = String::with_capacity(16);
    write!(path, "/proc/{pid}").ok()?;
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// The beginning of a file.
fn read<'a>(process: &OwnedFd, name: &str, buffer: &'a mut [u8; FILE]) -> Option<&'a [u8]> {
    let file = rustix::fs::openat(process, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    loop {
        match rustix::io::read(&file, &mut buffer[..]) {
            Ok(length) => return buffer.get(..length),
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// Name and parent from `4711 (ip (tab) les) S 4242 ...`.
fn stat(line: &[u8]) -> Option<(String, Option<u32>)> {
    let (open, close) = (line.iter().position(|byte| *byte == b'(')?, line.iter().rposition(|byte| *byte == b')')?);
    let name = String::from_utf8_lossy(line.get(open + 1..close)?).into_owned();
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
    let parent = rest.split_ascii_whitespace().nth(1)?.parse().ok();
    Some((name, parent.filter(|pid| *pid != 0)))
}

fn command_line(words: &[u8]) -> Option<String> {
    let end = words.iter().rposition(|byte| *byte != 0)? + 1;
    let words = String::from_utf8_lossy(words.get(..end)?);
    Some(cut(&words.replace('\0', " ")))
}

/// The path in the hierarchy of version 2 (`0::/path`), or else the longest of version 1 (`4:memory:/path`).
fn cgroup(lines: &[u8]) -> Option<String> {
    let lines = String::from_utf8_lossy(lines);
    let paths = || lines.lines().filter_map(|line| line.splitn(3, ':').nth(2)).filter(|path| path.starts_with("/"));
    let second = lines.lines().find_map(|line| line.strip_prefix("0::"));
    let path = second.filter(|path| path.len() > 1).or_else(|| paths().max_by_key(|path| path.len()))?;
    (path.len() > 1).then(|| cut(path))
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write as _};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A `cat` with these words that has begun to work; it ends with its standard input.
    fn cat(arg0: &str, word: &str) -> Child {
        let mut command = Command::new("cat");
        command.arg0(arg0).args(["-", word]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        child
    }

    #[test]
    fn a_child_is_named_with_its_words_and_its_parent() {
        let mut child = cat("cat", "a b");
        let actor = identify(child.id(), None);
        assert_eq!((actor.name.as_str(), actor.pid), ("cat", Some(child.id())));
        assert_eq!(actor.command_line.as_deref(), Some("cat - a b"));
        assert!(
            actor.executable.as_ref().is_some_and(|file| file.ends_with("/cat") || file.ends_with("box")),
            "{actor}"
        );
        let parent = actor.parent.clone().unwrap();
        assert_eq!(parent.pid, std::process::id());
        assert!(!parent.name.is_empty() && !parent.name.ends_with('\n'), "{parent:?}");
        assert!(parent.command_line.is_some(), "{parent:?}");
        let above: Vec<&Parent> = actor.parents().collect();
        assert!((2..=KEPT_PARENTS).contains(&above.len()), "who started this test, and no endless line: {above:#?}");
        assert_eq!(identify(child.id(), Some("cat")), actor);
        child.wait().unwrap();
        let gone = identify(child.id(), Some("cat"));
        assert_eq!(gone.to_string(), format!("cat (pid {})", child.id()));
    }

    #[test]
    fn nothing_is_claimed_of_a_process_with_another_name() {
        let actor = identify(std::process::id(), Some("iptables"));
        assert_eq!(actor, Actor { name: "iptables".into(), pid: Some(std::process::id()), ..Actor::unknown() });
        assert_eq!(identify(0, None), Actor::unknown());
        assert_eq!(identify(0, Some("nft")).to_string(), "nft");
        assert_eq!(identify(u32::MAX, None).to_string(), format!("unknown (pid {})", u32::MAX));
    }

    #[test]
    fn hostile_words_are_made_text_and_cut() {
        let mut child = cat(&"\u{10ffff}".repeat(5_000), "y");
        let words = identify(child.id(), None).command_line.unwrap();
        child.wait().unwrap();
        assert_eq!(words.chars().count(), LONGEST);
        assert_eq!(command_line(b"\xff\0\0x\0\0"), Some("\u{fffd}  x".to_owned()));
        assert_eq!(command_line(b"\0\0"), None);
        assert_eq!(command_line(b""), None);
    }

    #[test]
    fn a_name_may_hold_anything() {
        assert_eq!(stat(b"7 (a) R 1 (b) S 42 7"), Some(("a) R 1 (b".to_owned(), Some(42))));
        assert_eq!(stat(b"1 (init) S 0 1 1"), Some(("init".to_owned(), None)));
        assert_eq!(stat(b"1 )init( S"), None);
        assert_eq!(stat(b""), None);
    }

    #[test]
    fn control_groups_of_both_versions() {
        assert_eq!(cgroup(b"0::/system.slice/x.service\n").as_deref(), Some("/system.slice/x.service"));
        assert_eq!(cgroup(b"9:name=systemd:/a\n4:memory:/docker/4f:1\n0::/\n").as_deref(), Some("/docker/4f:1"));
        assert_eq!(cgroup(b"9:name=systemd:/longer/than\n0::/b\n").as_deref(), Some("/b"));
        assert_eq!(cgroup(b"0::/\n"), None);
        assert_eq!(cgroup(b"nonsense"), None);
    }
}
