//! Who takes the xtables lock: noticed, named where that is permitted, bounded in a flood.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ruleward_core::actor::UNKNOWN;
use ruleward_kernel::legacy::{LockActivity, LockWatch, LockWatchMethod};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use super::{shell, shell_with};

struct Lock {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

fn lock() -> Lock {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    Lock { _directory: directory, path }
}

/// Takes until `enough` was seen, adding up; fails after a long while.
fn wait(watch: &mut LockWatch, enough: impl Fn(&LockActivity) -> bool) -> LockActivity {
    let started = Instant::now();
    let mut sum = LockActivity::default();
    while !enough(&sum) {
        assert!(started.elapsed() < Duration::from_secs(20), "only this was seen: {sum:?}");
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        poll(&mut [PollFd::from_borrowed_fd(watch.fd(), PollFlags::IN)], Some(&second)).unwrap();
        let more = watch.take();
        sum.writers.extend(more.writers);
        sum.closed |= more.closed;
        sum.overflowed |= more.overflowed;
    }
    sum
}

/// Whether this process may ask who opens a file: only in the first user namespace.
fn may_know_who() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

/// One at a time: two watching threads have the same urgency, and a daemon has one.
static URGENT: Mutex<()> = Mutex::new(());

pub fn writers_are_named() {
    let _alone = URGENT.lock().unwrap_or_else(PoisonError::into_inner);
    let lock = lock();
    let mut watch = LockWatch::open(&lock.path).unwrap();
    assert!(lock.path.exists());
    if !may_know_who() {
        assert_eq!(watch.method(), LockWatchMethod::Inotify);
        assert!(watch.refusal().unwrap().contains("CAP_SYS_ADMIN"));
        return;
    }
    assert_eq!((watch.method(), watch.refusal()), (LockWatchMethod::Fanotify, None));
    // On a machine that is short of processors a writer may be gone before it is looked at: then less is told of it, or
    // nothing, but never anything wrong.
    let mut named = 0;
    for round in 0..50 {
        let mark = format!("{round}");
        let through_shell = round % 2 == 1;
        let mut command = if through_shell {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("iptables-legacy -A INPUT -m mark --mark {mark}; true")]);
            shell
        } else {
            let mut direct = Command::new("iptables-legacy");
            direct.args(["-A", "INPUT", "-m", "mark", "--mark", &mark]);
            direct
        };
        assert!(command.env("XTABLES_LOCKFILE", &lock.path).status().unwrap().success());
        let activity = wait(&mut watch, |sum| sum.closed && !sum.writers.is_empty());
        assert!(!activity.overflowed);
        let [actor] = &*activity.writers else { panic!("round {round}: {activity:?}") };
        assert!(actor.pid.is_some(), "round {round}: {actor}");
        if !actor.is_known() || actor.name == UNKNOWN {
            continue;
        }
        assert_eq!(actor.name, "iptables-legacy", "round {round}: {actor}");
        let Some(words) = &actor.command_line else { continue };
        assert_eq!(*words, format!("iptables-legacy -A INPUT -m mark --mark {mark}"));
        if let Some(parent) = &actor.parent {
            assert_eq!(parent.name == "sh", through_shell, "{actor}");
        }
        named += 1;
    }
    assert!(named >= 40, "only {named} of 50 writers were named");
    std::fs::File::open(&lock.path).unwrap();
    shell_with("iptables-legacy -F", Some(&lock.path));
    let activity = wait(&mut watch, |sum| sum.closed);
    assert_eq!(activity.writers.len(), 1, "our own opening was not left out: {activity:?}");
}

pub fn inotify_notices() {
    let lock = lock();
    let mut watch = LockWatch::open_with(&lock.path, LockWatchMethod::Inotify).unwrap();
    assert_eq!(watch.method(), LockWatchMethod::Inotify);
    assert!(watch.refusal().is_some());
    assert_eq!(watch.take(), LockActivity::default(), "watching is news to the watcher");
    for _ in 0..5 {
        shell_with("iptables-legacy -A INPUT -j DROP", Some(&lock.path));
        let activity = wait(&mut watch, |sum| sum.closed);
        assert_eq!(activity, LockActivity { closed: true, ..LockActivity::default() });
    }
}

pub fn replaced_lock() {
    for method in [LockWatchMethod::Fanotify, LockWatchMethod::Inotify] {
        let lock = lock();
        let mut watch = LockWatch::open_with(&lock.path, method).unwrap();
        let works = |watch: &mut LockWatch| {
            watch.take();
            shell_with("iptables-legacy -A INPUT -j DROP", Some(&lock.path));
            let sum = wait(watch, |sum| {
                sum.closed && !(sum.writers.is_empty() && may_know_who() && method == LockWatchMethod::Fanotify)
            });
            assert!(!sum.overflowed);
        };
        works(&mut watch);
        std::fs::remove_file(&lock.path).unwrap();
        // Noticed without being asked, and created anew.
        wait(&mut watch, |sum| sum.overflowed && sum.closed);
        assert!(lock.path.exists());
        works(&mut watch);
        let new = lock.path.with_extension("new");
        std::fs::write(&new, "").unwrap();
        std::fs::rename(&new, &lock.path).unwrap();
        wait(&mut watch, |sum| sum.overflowed && sum.closed);
        works(&mut watch);
        assert!(!watch.rearm().unwrap(), "it is the same file");
        // A mount over its folder is no news; asking finds it.
        let folder = lock.path.parent().unwrap();
        rustix::mount::mount("none", folder, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
        assert!(watch.rearm().unwrap());
        assert!(watch.take().overflowed);
        works(&mut watch);
        rustix::mount::unmount(folder, rustix::mount::UnmountFlags::DETACH).unwrap();
        // The end of a file system is news, so that the watch may have found the old file by itself.
        watch.rearm().unwrap();
        wait(&mut watch, |sum| sum.overflowed && sum.closed);
        works(&mut watch);
    }
}

pub fn flood() {
    let _alone = URGENT.lock().unwrap_or_else(PoisonError::into_inner);
    let lock = lock();
    let mut watch = LockWatch::open(&lock.path).unwrap();
    let path = lock.path.display();
    shell(&format!("for i in $(seq 300); do sh -c ': <{path}'; done; for i in $(seq 20000); do : <{path}; done"));
    let activity = wait(&mut watch, |sum| sum.closed && (sum.overflowed || !may_know_who()));
    assert!(activity.writers.len() <= 128, "{}", activity.writers.len());
}

pub fn no_lock_file() {
    let lock = lock();
    std::os::unix::fs::symlink("/nowhere", &lock.path).unwrap();
    assert!(LockWatch::open(&lock.path).unwrap_err().to_string().contains("no ordinary file"));
    let nowhere = lock.path.with_file_name("no").join("lock");
    assert!(LockWatch::open(&nowhere).unwrap_err().to_string().contains("XTABLES_LOCKFILE"));
}
