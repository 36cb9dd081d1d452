//! Puts a test program into a mount namespace of its own, with an empty `/run`, so that the machine's xtables lock is
//! never touched. Works for root and, through a user namespace, for anyone; fails where neither can be had.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use libtest_mimic::Arguments;

const INSIDE: &str = "RULEWARD_TEST_INSIDE";

/// Runs the program again inside; `None` where it is inside already, or only lists its tests.
pub fn enter(arguments: &Arguments) -> Option<ExitCode> {
    if arguments.list {
        return None;
    }
    if std::env::var_os(INSIDE).is_some() {
        rustix::mount::mount("none", "/run", "tmpfs", rustix::mount::MountFlags::empty(), None)
            .expect("an empty /run can't be mounted in a mount namespace of our own");
        return None;
    }
    let user: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let program = std::env::current_exe().expect("this program's path");
    let mut command = Command::new("unshare");
    command.args(user).arg("--mount").arg(program).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    let error = command.exec();
    eprintln!("these tests need `unshare` (Debian package `util-linux`) and namespaces: {error}");
    Some(ExitCode::FAILURE)
}
