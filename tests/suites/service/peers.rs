//! Who may look, and who may change anything: by the mode and group of the sockets, and by what the kernel says of the peer.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;

use ruleward_tests::trial;
use ruleward_tests::{Backend, Daemon, Node, Output};
use rustix::process::Uid;
use rustix::thread::set_thread_uid;
use serde_json::json;

use super::{in_sync, node};

const SOCKETS: [&str; 3] = ["status.sock", "control.sock", "http.sock"];

/// The program, run by another user with these groups.
fn as_user(node: &Node, groups: &str, words: &[&str]) -> Output {
    let groups = format!("--groups={groups}");
    let config = node.path("ruleward.toml").display().to_string();
    let mut line = vec!["--reuid=4711", "--regid=65534", groups.as_str()];
    let program = ruleward_tests::binary().display().to_string();
    line.extend([program.as_str(), "--config", config.as_str()]);
    line.extend(words);
    node.command("setpriv").args(&line).output()
}

trial!(
    root "service::peers::members_of_the_group_may_look_and_change_nothing",
    members_of_the_group_may_look_and_change_nothing()
);
fn members_of_the_group_may_look_and_change_nothing() {
    let node = node(Backend::Nft);
    node.set("socket-group", json!("4242"));
    // The folder of a test is for its owner only.
    let folder = node.path("run").parent().expect("it has one").to_owned();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let daemon = node.daemon();
    let member = |words: &[&str]| as_user(&node, "4242", words);
    let looked = member(&["status"]);
    assert_eq!(looked.code, Some(0), "{looked:?}");
    assert_eq!(member(&["log"]).stdout, "debug\n");
    let before = daemon.status().checks;
    for words in [&["refresh"][..], &["reload"], &["log", "error"]] {
        let output = member(words);
        assert_eq!(output.code, Some(77), "{words:?}: {output:?}");
        assert!(output.stderr.contains("user 4711") && output.stderr.contains("may only read"), "{output:?}");
    }
    assert_eq!(member(&["log"]).stdout, "debug\n");
    assert_eq!(daemon.status().checks, before, "a check was made for somebody who may only look");
    assert!(daemon.log().contains("user 4711"), "the log does not tell who asked:\n{}", daemon.log());
    let stranger = as_user(&node, "4243", &["status"]);
    assert_eq!(stranger.code, Some(77), "{stranger:?}");
}

// An ordinary user's namespace has one user.
trial!(root "service::peers::root_is_served_however_many_look", root_is_served_however_many_look());
/// Whoever may only look can take away the places of others who look, and not root's.
fn root_is_served_however_many_look() {
    let node = node(Backend::Nft);
    node.set("socket-mode", json!("0666"));
    let folder = node.path("run").parent().expect("it has one").to_owned();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let daemon = node.daemon();
    let held: Vec<UnixStream> = node.net.run(|| {
        set_thread_uid(Uid::from_raw(4711)).expect("root can become anybody");
        (0..32).map(|_| UnixStream::connect(node.path("run/control.sock")).expect("everybody may")).collect()
    });
    let busy = as_user(&node, "4242", &["log"]);
    assert_eq!(busy.code, Some(75), "there is a place left: {busy:?}");
    daemon.refresh().assert_unchanged();
    drop(held);
}

fn modes(node: &Node) -> [u32; 3] {
    SOCKETS.map(|name| {
        let socket = node.path("run").join(name);
        ruleward_tests::poll("the socket is there", || std::fs::metadata(&socket).ok()).mode() & 0o777
    })
}

trial!("service::peers::the_mode_is_what_is_configured", the_mode_is_what_is_configured());
fn the_mode_is_what_is_configured() {
    let node = node(Backend::Nft);
    let daemon = node.daemon();
    assert_eq!(modes(&node), [0o660; 3]);
    daemon.stop();
    node.set("socket-mode", json!("0600"));
    let daemon = node.daemon();
    assert_eq!(modes(&node), [0o600; 3]);
    // It waits for a restart, and that is said.
    node.set("socket-mode", json!("0666"));
    daemon.wait_until("told", |status| status.report.notes.iter().any(|note| note.contains("socket-mode")));
    assert_eq!(modes(&node), [0o600; 3]);
}

trial!(
    "service::peers::a_group_that_is_not_there_leaves_the_sockets_to_root",
    a_group_that_is_not_there_leaves_the_sockets_to_root()
);
fn a_group_that_is_not_there_leaves_the_sockets_to_root() {
    let node = node(Backend::Nft);
    node.set("socket-group", json!("no-such-group"));
    let daemon = Daemon::start(&node);
    let status = daemon.wait_until("in sync", in_sync);
    assert!(status.report.notes.iter().any(|note| note.contains("groupadd --system no-such-group")), "{status:?}");
    assert_eq!(modes(&node), [0o600; 3]);
}

trial!("service::peers::wrong_modes_are_refused", wrong_modes_are_refused());
fn wrong_modes_are_refused() {
    let node = node(Backend::Nft);
    for mode in ["0777", "0400", "660x", "", "1660"] {
        node.set("socket-mode", json!(mode));
        let output = node.ruleward(&["check"]).output();
        assert_eq!(output.code, Some(78), "{mode:?}: {output:?}");
        assert!(output.stderr.contains("socket-mode"), "{output:?}");
    }
}
