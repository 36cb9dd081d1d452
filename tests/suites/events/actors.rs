//! Who did it: what the kernel tells is told, what it does not tell is unknown, and nobody is ever accused of what
//! another did.

use std::sync::Arc;

use ruleward_tests::fake_tool::{FakeTool, Trouble, When};
use ruleward_tests::trial;
use ruleward_tests::{
    Actor, Backend, Command, Daemon, Family, Incident, Node, Parent, can_be_told, poll, sandbox, until_named,
};

use super::{JUMPS, comes_back, deletion, quiet_node};

struct Scene {
    daemon: Daemon,
    node: Arc<Node>,
    backend: Backend,
}

/// The jump that all actors here delete.
const JUMP: (&str, &str, &str) = JUMPS[1];

impl Scene {
    #[track_caller]
    fn new(backend: Backend) -> Self {
        let (node, daemon) = quiet_node(backend, &[]);
        Self { daemon, node, backend }
    }

    /// Waits for the end of a repair after `damage`: the incident, and what `damage` returned.
    #[track_caller]
    fn incident<T>(&self, family: Family, damage: impl FnOnce() -> T) -> (Incident, T) {
        let (before, incidents) = (self.node.save(family, JUMP.0), self.daemon.status().mark());
        let result = damage();
        comes_back(&self.node, family, JUMP.0, &before);
        (self.daemon.incident_after(&incidents, "rule-deleted", family, JUMP.0, JUMP.1), result)
    }

    /// Runs `command`, which deletes our jump after it was given `input`; checks who is named.
    #[track_caller]
    fn names<'a>(&self, family: Family, command: impl Fn() -> Command<'a>, input: &str, name: &str, word: &str) {
        self.accuses(name, word, || {
            let (incident, pid) = self.incident(family, || {
                let mut running = command().start();
                running.write(input);
                let pid = running.pid();
                running.finish();
                pid
            });
            if let Some(told) = incident.actor().pid.filter(|_| sandbox::sees_real_pids()) {
                assert_eq!(told, pid, "{incident:#?}");
            }
            incident
        });
    }

    /// Does damage that `name` did; checks who is named, and that nothing wrong is said. The incident, if that can be told.
    #[track_caller]
    fn accuses(&self, name: &str, word: &str, damage: impl Fn() -> Incident) -> Option<Incident> {
        let damage = || {
            let incident = damage();
            never_wrong(incident.actor(), word);
            incident
        };
        if !can_be_told(self.backend) {
            let incident = damage();
            assert_eq!(*incident.actor(), nobody(), "{incident:#?}");
            return None;
        }
        let incident = until_named(self.backend, damage);
        assert_eq!(incident.actor().name, name, "{incident:#?}");
        assert!(!sandbox::sees_real_pids() || incident.actor().pid.is_some(), "{incident:#?}");
        Some(incident)
    }

    fn tool(&self, family: Family, action: &str) -> Command<'_> {
        self.node.command(family.tool(self.backend, action))
    }

    /// `-t TABLE -D HOOK ...` as a shell takes it.
    #[track_caller]
    fn shell_words(&self, family: Family) -> String {
        format!("-w -t {} {}", JUMP.0, deletion(&self.node, family, JUMP))
    }
}

/// Of whom nothing is known.
fn nobody() -> Actor {
    Actor { name: "unknown".to_owned(), pid: None, executable: None, command_line: None, cgroup: None, parent: None }
}

/// A process that has ended leaves no command line, and on legacy no name; a command line that is given must be the actor's.
#[track_caller]
fn never_wrong(actor: &Actor, word: &str) {
    if let Some(words) = &actor.command_line {
        assert!(words.contains(word), "this is somebody else's command line: {actor:#?}");
    }
    if !actor.is_named() {
        assert_eq!(*actor, Actor { pid: actor.pid, ..nobody() }, "of somebody without a name more is known");
    }
}

/// The name that the kernel keeps: 15 bytes.
fn kernel_name(name: &str) -> String {
    name.chars().take(15).collect()
}

trial!(for backend in Backend::ALL, "events::{backend}::actors::iptables", iptables(backend));
fn iptables(backend: Backend) {
    let scene = Scene::new(backend);
    for family in Family::ALL {
        // A shell splits the words, and is replaced by iptables.
        let line = format!("exec {} {}", family.tool(backend, ""), scene.shell_words(family));
        let command = || scene.node.command("sh").args(&["-c", &line]);
        scene.names(family, command, "", &kernel_name(&family.tool(backend, "")), "-D POSTROUTING");
    }
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::actors::iptables_restore",
    iptables_restore(backend)
);
fn iptables_restore(backend: Backend) {
    let scene = Scene::new(backend);
    for family in Family::ALL {
        let input = format!("*{}\n{}\nCOMMIT\n", JUMP.0, deletion(&scene.node, family, JUMP));
        let name = kernel_name(&family.tool(backend, "restore"));
        let command = || scene.tool(family, "restore").args(&["--noflush", "-w"]);
        scene.names(family, command, &input, &name, "restore");
    }
}

trial!("events::nft::actors::nft", nft());
fn nft() {
    let scene = Scene::new(Backend::Nft);
    for (family, word) in [(Family::Ipv4, "ip"), (Family::Ipv6, "ip6")] {
        let list = scene.node.command("nft").args(&["-a", "list", "chain", word, JUMP.0, JUMP.1]).must();
        let line = list.lines().find(|line| line.contains(JUMP.2)).unwrap_or_else(|| panic!("no jump:\n{list}"));
        let handle = line.rsplit(' ').next().unwrap_or_default();
        let words = ["delete", "rule", word, JUMP.0, JUMP.1, "handle", handle];
        scene.names(family, || scene.node.command("nft").args(&words), "", "nft", "delete rule");
    }
}

trial!("events::nft::actors::raw_netlink", raw_netlink());
fn raw_netlink() {
    let scene = Scene::new(Backend::Nft);
    for family in Family::ALL {
        let command = || scene.node.raw(&["delete-needle", &family.to_string(), JUMP.0, JUMP.1, JUMP.2]);
        scene.names(family, command, "", "raw_stranger", "delete-needle");
    }
}

trial!("events::legacy::actors::setsockopt_past_the_lock", setsockopt_past_the_lock());
/// No event, no lock: only looking finds it, and nobody can tell who it was, even if others took the lock meanwhile.
fn setsockopt_past_the_lock() {
    let scene = Scene::new(Backend::Legacy);
    for family in Family::ALL {
        // Behind the stranger's rule that came first.
        let words = ["legacy-delete", &family.to_string(), JUMP.0, JUMP.1, "2"];
        let (incident, _) = scene.incident(family, || scene.node.raw(&words).must());
        assert_eq!(*incident.actor(), nobody(), "{incident:#?}");
    }
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::actors::through_a_shell",
    through_a_shell(backend)
);
/// The shell waits for its end, so that its child has a parent for as long as anyone looks. A child that has ended
/// before the daemon looks leaves only its name, or less, so there are several tries; none may tell anything wrong.
fn through_a_shell(backend: Backend) {
    let scene = Scene::new(backend);
    let family = Family::Ipv4;
    let name = kernel_name(&family.tool(backend, ""));
    let mut parents = 0;
    for _ in 0..8 {
        let line = format!("{} {}; echo done; read end; true", family.tool(backend, ""), scene.shell_words(family));
        let told = scene.accuses(&name, "-D POSTROUTING", || {
            let (incident, running) = scene.incident(family, || {
                let mut running = scene.node.command("sh").args(&["-c", &line]).start();
                running.says("done");
                running
            });
            let shell = running.pid();
            running.finish();
            if let Some(parent) = &incident.actor().parent {
                assert_eq!(parent.name, "sh", "{incident:#?}");
                assert!(!sandbox::sees_real_pids() || parent.pid == shell, "{incident:#?}");
            }
            incident
        });
        let Some(incident) = told else { return };
        parents += usize::from(incident.actor().parent.is_some());
    }
    assert!(parents > 0, "in no try was the shell named that started it");
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::actors::two_scripts_are_two_actors",
    two_scripts_are_two_actors(backend)
);
/// Both run `iptables`, one through a further shell. Whoever has ended stays in `/proc` until the script asks for it, so the
/// scripts are there to be found, and on a machine that is busy it may take several tries.
fn two_scripts_are_two_actors(backend: Backend) {
    let scene = Scene::new(backend);
    let (node, family) = (&scene.node, Family::Ipv4);
    let iptables = format!("{} {}", family.tool(backend, ""), scene.shell_words(family));
    node.write("first.sh", &format!("{iptables} &\nread end\nwait\n"));
    node.write("second.sh", &format!("sh -c '{} & read end; wait'\n", iptables.replace('\'', "\"")));
    let scripts = ["first.sh", "second.sh"];
    let strike = |script: &str| {
        let (incident, running) =
            scene.incident(family, || node.command("sh").args(&[node.path(script).as_os_str()]).start());
        running.finish();
        incident
    };
    if !can_be_told(backend) {
        scripts.iter().for_each(|script| drop(strike(script)));
        return;
    }
    let has = |incident: &Incident, script: &str| {
        let from = |mut parent: Option<&Parent>| {
            while let Some(one) = parent {
                if one.command_line.as_ref().is_some_and(|words| words.contains(script)) {
                    return true;
                }
                parent = one.parent.as_deref();
            }
            false
        };
        incident.actors.iter().any(|one| one.times >= 1 && from(one.actor.parent.as_deref()))
    };
    let told = (0..8).find_map(|_| {
        let [_, last] = scripts.map(strike);
        scripts.iter().all(|script| has(&last, script)).then_some(last)
    });
    let incident = told.expect("in no try were both scripts named in one incident");
    let counted: u64 = incident.actors.iter().map(|one| one.times).sum();
    assert!(counted == incident.times && incident.more_actors == 0, "{incident:#?}");
    for command in ["status", "incidents"] {
        poll(&format!("`ruleward {command}` names both scripts"), || {
            let text = node.ruleward(&[command]).must();
            scripts.iter().all(|script| text.contains(script)).then_some(())
        });
    }
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::actors::in_another_pid_namespace",
    in_another_pid_namespace(backend)
);
/// There it is process 1. That number is somebody else here.
fn in_another_pid_namespace(backend: Backend) {
    let scene = Scene::new(backend);
    let family = Family::Ipv4;
    let line = format!("exec {} {}", family.tool(backend, ""), scene.shell_words(family));
    let words = ["--pid", "--fork", "--mount-proc", "sh", "-c", &line];
    scene.accuses(&kernel_name(&family.tool(backend, "")), "-D POSTROUTING", || {
        let (incident, _) = scene.incident(family, || scene.node.command("unshare").args(&words).must());
        assert_ne!(incident.actor().pid, Some(1), "process 1 of this machine did not do it: {incident:#?}");
        incident
    });
}

trial!(
    for backend in Backend::ALL,
    "events::{backend}::actors::without_sys_admin",
    without_sys_admin(backend)
);
/// nf_tables tells everybody; fanotify only CAP_SYS_ADMIN.
fn without_sys_admin(backend: Backend) {
    let node = Node::new(backend);
    node.configure(serde_json::json!({ "refresh-interval": "1h", "watch": "auto", "policies": super::policy() }));
    node.without_sys_admin();
    // It has to learn its text by writing once, so it may look again by itself; the name is what is tested here.
    let scene = Scene { daemon: node.daemon(), node, backend };
    let family = Family::Ipv4;
    let line = format!("{} {}", family.tool(backend, ""), scene.shell_words(family));
    let (incident, _) = scene.incident(family, || scene.node.command("sh").args(&["-c", &line]).must());
    let expected = if backend == Backend::Nft { family.tool(backend, "") } else { "unknown".to_owned() };
    assert_eq!(incident.actor().name, kernel_name(&expected), "{incident:#?}");
    never_wrong(incident.actor(), "-D POSTROUTING");
}

trial!("events::nft::actors::found_before_its_news", found_before_its_news());
/// Somebody deletes the jump while the daemon reads, table by table: it is seen to be missing before anybody says so. Once
/// in a check that was asked for, once where something else was heard.
fn found_before_its_news() {
    let (backend, family) = (Backend::Nft, Family::Ipv4);
    let node = Node::new(backend);
    node.configure(serde_json::json!({ "refresh-interval": "1h", "watch": "auto", "policies": super::policy() }));
    node.without_sys_admin(); // so it reads with iptables-save
    let fake = FakeTool::new(&node);
    let troubled = |trouble, call| fake.trouble(&FakeTool::tools(backend, "save"), &trouble, When::Call(call));
    troubled(Trouble::Fail, u32::MAX);
    let scene = Scene { daemon: node.daemon(), node: Arc::clone(&node), backend };
    let line = format!("{} {}", family.tool(backend, ""), scene.shell_words(family));
    let asked: fn(&Scene) = |scene| drop(scene.daemon.refresh());
    let heard: fn(&Scene) = |scene| scene.node.stranger(Family::Ipv4).append("filter", "INPUT", "-j RETURN");
    for begin in [asked, heard] {
        let (incident, ()) = scene.incident(family, || {
            troubled(Trouble::Then(line.clone()), 1);
            begin(&scene);
        });
        assert_eq!(incident.actor().name, kernel_name(&family.tool(backend, "")), "{incident:#?}");
        never_wrong(incident.actor(), "-D POSTROUTING");
    }
    fake.remove();
}
