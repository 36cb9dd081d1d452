//! What systemd is told: ready when the node is right and not before, reloads, the end; and that the watchdog is fed by work
//! that goes on, not by a process that exists.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Family, Node, Systemd, poll};
use rustix::mount::{MountFlags, mount};
use serde_json::json;

use super::{in_sync, node, policies};
use crate::lock::Holder;

trial!("service::systemd::ready_is_a_node_that_is_right", ready_is_a_node_that_is_right());
fn ready_is_a_node_that_is_right() {
    let node = node(Backend::Nft);
    let mut systemd = Systemd::listen(&node);
    let mut wrong = policies();
    wrong["web"]["component"] = json!("./nowhere.wasm");
    node.set("policies", wrong);
    let daemon = Daemon::start(&node);
    daemon.wait_until("wrong", |status| status.checks > 1 && !in_sync(status));
    let not_yet = poll("the status is told", || {
        let heard = systemd.heard().to_vec();
        heard.iter().any(|state| state.starts_with("STATUS=OUT OF SYNC: ")).then_some(heard)
    });
    assert!(!not_yet.iter().any(|state| state.contains("READY=1")), "{not_yet:?}");
    node.set("policies", policies());
    daemon.wait_until("in sync", in_sync);
    systemd.await_line("READY=1");
    systemd.await_line("STATUS=in sync");
    daemon.stop();
    systemd.await_line("STOPPING=1");
}

trial!("service::systemd::reloads_are_told_from_begin_to_end", reloads_are_told_from_begin_to_end());
fn reloads_are_told_from_begin_to_end() {
    let node = node(Backend::Nft);
    let mut systemd = Systemd::listen(&node);
    let daemon = node.daemon();
    systemd.await_line("READY=1");
    systemd.forget();
    daemon.reload(0);
    systemd.await_line("READY=1");
    let heard = systemd.heard().to_vec();
    let begin = heard.iter().position(|state| state.starts_with("RELOADING=1\nMONOTONIC_USEC="));
    let end = heard.iter().position(|state| state == "READY=1");
    assert!(begin.is_some() && begin < end, "{heard:?}");
    // The same by a signal, and when what is there is wrong: the reload is over all the same.
    systemd.forget();
    node.write("ruleward.toml", "nonsense");
    daemon.signal("HUP");
    systemd.await_line("READY=1");
    assert!(systemd.heard().iter().any(|state| state.starts_with("RELOADING=1")));
}

trial!("service::systemd::the_watchdog_is_fed_while_nothing_happens", the_watchdog_is_fed_while_nothing_happens());
fn the_watchdog_is_fed_while_nothing_happens() {
    let node = node(Backend::Nft);
    let mut systemd = Systemd::listen(&node);
    node.set_environment("WATCHDOG_USEC", "1000000");
    let _daemon = node.daemon();
    systemd.await_more("WATCHDOG=1", 8);
    assert!(!systemd.heard().iter().any(|state| state.contains("has not ended")), "{:?}", systemd.heard());
}

trial!(
    "service::systemd::the_watchdog_is_fed_while_the_lock_is_waited_for",
    the_watchdog_is_fed_while_the_lock_is_waited_for()
);
/// A wait that is said to be one, and that has an end of its own.
fn the_watchdog_is_fed_while_the_lock_is_waited_for() {
    let node = node(Backend::Legacy);
    let mut systemd = Systemd::listen(&node);
    // The wait is told of once a second: half of this is longer.
    node.set_environment("WATCHDOG_USEC", "8000000");
    let daemon = node.daemon();
    let other = node.path("run").join("other.lock");
    let tool = Family::Ipv4.tool(Backend::Legacy, "");
    let holder = Holder::new(&node);
    node.command(tool).args(&["-F", "op-in"]).env("XTABLES_LOCKFILE", &other).must();
    daemon.wait_until("waiting for the lock", |status| {
        status.waiting.as_deref().is_some_and(|waiting| waiting.contains("xtables lock"))
    });
    // For longer than a check may be silent.
    systemd.await_more("WATCHDOG=1", 4);
    assert!(!systemd.heard().iter().any(|state| state.contains("has not ended")), "{:?}", systemd.heard());
    assert!(daemon.status().waiting.is_some(), "it does not wait any more");
    drop(holder);
    daemon.wait_until("in sync", |status| in_sync(status) && status.waiting.is_none());
}

trial!(
    "service::systemd::the_watchdog_is_fed_while_a_component_is_compiled",
    the_watchdog_is_fed_while_a_component_is_compiled()
);
/// At the first start there is nothing to keep in force meanwhile: the check waits as long as compiling takes.
fn the_watchdog_is_fed_while_a_component_is_compiled() {
    let node = node(Backend::Nft);
    let bomb = ruleward_corpus::compile_bombs().into_iter().find(|bomb| bomb.name == "many_functions");
    std::fs::write(node.path("bomb.wasm"), bomb.expect("it is in the corpus").component).expect("a file");
    let mut all = policies();
    all["web"]["component"] = json!("./bomb.wasm");
    node.set("policies", all);
    let mut systemd = Systemd::listen(&node);
    node.set_environment("WATCHDOG_USEC", "2000000");
    let daemon = Daemon::start(&node);
    let waits = |waiting: Option<&str>| waiting.is_some_and(|waiting| waiting.contains("for policies to be loaded"));
    daemon.wait_until("waiting for policies", |status| waits(status.waiting.as_deref()));
    // For longer than a check may be silent.
    systemd.await_more("WATCHDOG=1", 6);
    assert!(!systemd.heard().iter().any(|state| state.contains("has not ended")), "{:?}", systemd.heard());
    assert!(waits(daemon.status().waiting.as_deref()), "it does not wait any more");
}

/// A file system that never answers, as a network one may be: whoever looks into it hangs until it is dropped.
struct Hang(File);

impl Hang {
    fn mount(node: &Arc<Node>, name: &str) -> Self {
        let path = node.path(name);
        let device = File::options().read(true).write(true).open("/dev/fuse").expect("root can open /dev/fuse");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let options = CString::new(options).expect("text");
        node.net.run(|| {
            mount("hang", &path, "fuse.hang", MountFlags::empty(), options.as_c_str()).expect("root can mount");
        });
        Self(device)
    }
}

// Not everybody may open /dev/fuse.
trial!(
    root "service::systemd::the_watchdog_is_not_fed_by_a_check_that_hangs",
    the_watchdog_is_not_fed_by_a_check_that_hangs()
);
fn the_watchdog_is_not_fed_by_a_check_that_hangs() {
    let node = node(Backend::Nft);
    // Each check by the clock reads everything.
    node.set("full-comparison-every", json!(1));
    node.set("refresh-interval", json!("500ms"));
    let mut systemd = Systemd::listen(&node);
    node.set_environment("WATCHDOG_USEC", "2000000");
    let daemon = node.daemon();
    systemd.await_line("WATCHDOG=1");
    let rules = node.save_all();
    let hang = Hang::mount(&node, "resources");
    poll("the log tells", || daemon.log().contains("reading facts has not ended").then_some(()));
    // From now on every sign of the loop is a complaint: the loop lives, and the check does not.
    systemd.await_more("STATUS=reading facts has not ended", 3);
    assert!(!systemd.heard().iter().any(|state| state.contains("WATCHDOG=1")), "{:?}", systemd.heard());
    assert_eq!(node.save_all(), rules);
    // The file system is gone: the check ends, and the watchdog is fed again.
    drop(hang.0);
    systemd.await_more("WATCHDOG=1", 2);
    systemd.await_line("STATUS=in sync");
}
