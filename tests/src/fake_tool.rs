//! Tools that misbehave: a directory in front of `PATH` whose scripts stand in for `iptables-nft-restore` and the
//! others, do something bad at chosen calls, and hand all other calls on to the real tool.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::node::which;
use crate::{Backend, Family, Node};

/// What a script does at a call.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// Prints an error and ends with status 1.
    Fail,
    /// Does not end.
    Hang,
    /// Prints bytes that mean nothing and ends with status 0.
    Garbage,
    /// Prints nothing and ends with status 0.
    Silent,
    /// What iptables-nft prints over tables that it can't show, with status 0.
    Incompatible,
    /// Kills the program that called it, before the real tool runs.
    KillBefore,
    /// Kills the program that called it; the real tool outlives its caller.
    KillDuring,
    /// Kills the program that called it, after the real tool ran.
    KillAfter,
    /// Runs the real tool, then this shell text (with the real tools): a stranger between a read and a write.
    Then(String),
}

/// Calls that wait; made by [`FakeTool::hold`].
pub struct Held {
    directory: PathBuf,
    number: usize,
}

impl Held {
    fn path(&self, what: &str) -> PathBuf {
        self.directory.join(format!("{what}-{}", self.number))
    }

    /// Waits until one does.
    #[track_caller]
    pub fn wait(&self) {
        crate::poll("the tool is called", || self.path("reached").exists().then_some(()));
    }

    /// Lets them go on, and all later ones.
    pub fn release(self) {
        drop(self);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Where the node is gone already, so are those that it held.
        fs::remove_file(self.path("hold")).ok();
    }
}

/// Which calls are in trouble; calls count from 1, over all tools of one [`FakeTool`].
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// Every one.
    Always,
    /// Only this one.
    Call(u32),
    /// The first so many.
    First(u32),
}

/// A directory of scripts in front of a node's `PATH`; taken away with [`FakeTool::remove`].
pub struct FakeTool<'n> {
    node: &'n Node,
    directory: PathBuf,
}

impl<'n> FakeTool<'n> {
    /// An empty one for `node`.
    pub fn new(node: &'n Node) -> Self {
        let directory = node.path("fake");
        fs::create_dir_all(&directory).expect("the node's directory is writable");
        node.set_path_front(Some(directory.clone()));
        Self { node, directory }
    }

    /// The tools of this backend that write (`restore`) or read (`save`), of both families.
    pub fn tools(backend: Backend, action: &str) -> Vec<String> {
        Family::ALL.iter().map(|family| family.tool(backend, action)).collect()
    }

    /// Troubles these tools at these calls. Only calls in the node's own network namespace count: rehearsals in
    /// another one are left alone.
    pub fn trouble(&self, tools: &[String], trouble: &Trouble, when: When) {
        for tool in tools {
            self.write_script(tool, trouble, when, true);
        }
        self.start_counting();
    }

    /// The same, rehearsals included.
    pub fn trouble_everywhere(&self, tools: &[String], trouble: &Trouble, when: When) {
        for tool in tools {
            self.write_script(tool, trouble, when, false);
        }
        self.start_counting();
    }

    /// Holds the calls of `tool` whose input begins so. What was held before stays held, and no
    /// other call is from now on. `rehearsals`: those in other network namespaces, in place of
    /// those in the node's own.
    pub fn hold(&self, tool: &str, input: &str, rehearsals: bool) -> Held {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let held = Held { directory: self.directory.clone(), number };
        fs::write(held.path("hold"), "").expect("the node's directory is writable");
        let (real, namespace) = (which(tool), self.node.net.identity());
        let (real, hold, reached) = (real.display(), held.path("hold"), held.path("reached"));
        let (hold, reached) = (hold.display(), reached.display());
        let here = if rehearsals { "!=" } else { "=" };
        // The input is a file of its own: who opens it anew reads from its beginning.
        self.place_script(
            tool,
            &format!(
                "#!/bin/sh\n\
                 PATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
                 if [ \"$(readlink /proc/self/ns/net)\" {here} '{namespace}' ]; then\n\
                 case \"$(head -c 200 < /proc/self/fd/0)\" in\n\
                 '{input}'*) : > '{reached}'; while [ -e '{hold}' ]; do sleep 0.02; done ;;\n\
                 esac\nfi\n\
                 exec {real} \"$@\"\n"
            ),
        );
        held
    }

    /// How many calls there were.
    pub fn calls(&self) -> u32 {
        fs::read_to_string(self.directory.join("count")).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// The command lines of the calls, one a line.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// The real tools answer again; daemons that run already notice it too.
    pub fn remove(self) {
        self.node.set_path_front(None);
        // A script that outlived its caller may still be writing there.
        crate::poll("the fake tools are gone", || fs::remove_dir_all(&self.directory).ok());
    }

    /// Under the scripts' own lock: one that counts right now would write its number over this one.
    fn start_counting(&self) {
        let lock = File::create(self.directory.join("lock")).expect("the node's directory is writable");
        lock.lock().expect("nobody holds it for long");
        fs::write(self.directory.join("count"), "0").expect("the node's directory is writable");
    }

    fn write_script(&self, tool: &str, trouble: &Trouble, when: When, here_only: bool) {
        let namespace = self.node.net.identity();
        self.place_script(tool, &script(&self.directory, &which(tool), &namespace, trouble, when, here_only));
    }

    fn place_script(&self, tool: &str, text: &str) {
        // A daemon may run the one that is there at this moment.
        let (path, fresh) = (self.directory.join(tool), self.directory.join("fresh"));
        fs::write(&fresh, text)
            .and_then(|()| fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)))
            .and_then(|()| fs::rename(&fresh, &path))
            .expect("the node's directory is writable");
    }
}

fn script(directory: &Path, real: &Path, namespace: &str, trouble: &Trouble, when: When, here_only: bool) -> String {
    let (directory, real) = (directory.display(), real.display());
    let condition = match when {
        When::Always => "true".to_owned(),
        When::Call(call) => format!("[ $count -eq {call} ]"),
        When::First(calls) => format!("[ $count -le {calls} ]"),
    };
    let action = match trouble {
        Trouble::Fail => "cat > /dev/null; echo 'fake: the kernel says no' >&2; exit 1".to_owned(),
        Trouble::Hang => "exec sleep 1000".to_owned(),
        Trouble::Silent => "exit 0".to_owned(),
        Trouble::Garbage => r"printf '\377\376*nat\n:garbage\000 -A -A\n'; exit 0".to_owned(),
        Trouble::Incompatible => "echo \"# Table \\`nat' is incompatible, use 'nft' tool.\"; exit 0".to_owned(),
        Trouble::KillBefore => "kill -9 $PPID; exit 1".to_owned(),
        Trouble::KillDuring => "kill -9 $PPID".to_owned(),
        Trouble::KillAfter => format!("{real} \"$@\"; kill -9 $PPID; exit 1"),
        Trouble::Then(text) => format!("{real} \"$@\"; status=$?\n{text}\nexit $status"),
    };
    let here = if here_only {
        format!("[ \"$(readlink /proc/self/ns/net)\" = '{namespace}' ] || exec {real} \"$@\"\n")
    } else {
        String::new()
    };
    // `--version` says nothing about the kernel: it neither counts nor fails.
    format!(
        "#!/bin/sh\n\
         PATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
         case \"$*\" in *--version*|-V) exec {real} \"$@\" ;; esac\n\
         {here}\
         exec 9>'{directory}/lock'; flock 9\n\
         count=$(($(cat '{directory}/count') + 1)); echo $count > '{directory}/count'\n\
         echo \"$count $0 $*\" >> '{directory}/log'\n\
         exec 9>&-\n\
         if {condition}; then\n{action}\nfi\n\
         exec {real} \"$@\"\n"
    )
}
