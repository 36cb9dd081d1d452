//! Each way in which a file comes to hold something else is noticed, without anybody asking; and where files are not
//! watched, somebody asks.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use ruleward_tests::trial;
use ruleward_tests::{Backend, Node, poll};
use serde_json::json;

use super::{comes_into_force, digest, in_force, node, policy, variant};

/// Puts `bytes` into the file, which exists.
type Way = fn(&Path, &[u8]);

const WAYS: [(&str, Way); 6] = [
    ("renamed_over", renamed_over),
    ("written_in_place", written_in_place),
    ("written_in_pieces", written_in_pieces),
    ("backed_up_by_an_editor", backed_up_by_an_editor),
    ("deleted_and_created", deleted_and_created),
    ("swapped_like_a_config_map", swapped_like_a_config_map),
];

fn renamed_over(file: &Path, bytes: &[u8]) {
    let new = file.with_extension("new");
    fs::write(&new, bytes).expect("writable");
    fs::rename(new, file).expect("the same folder");
}

fn written_in_place(file: &Path, bytes: &[u8]) {
    fs::write(file, bytes).expect("writable");
}

/// Slowly enough that the daemon sees many of the pieces.
fn written_in_pieces(file: &Path, bytes: &[u8]) {
    let mut open = OpenOptions::new().write(true).truncate(true).open(file).expect("writable");
    for piece in bytes.chunks(bytes.len().div_ceil(8)) {
        open.write_all(piece).expect("writable");
        open.sync_all().expect("writable");
        std::thread::sleep(std::time::Duration::from_millis(80));
    }
}

/// As vim does with `backupcopy=no`.
fn backed_up_by_an_editor(file: &Path, bytes: &[u8]) {
    let backup = file.with_extension("backup~");
    fs::rename(file, &backup).expect("the same folder");
    File::create(file).and_then(|mut open| open.write_all(bytes)).expect("writable");
    fs::remove_file(backup).expect("it is there");
}

fn deleted_and_created(file: &Path, bytes: &[u8]) {
    fs::remove_file(file).expect("it is there");
    fs::write(file, bytes).expect("writable");
}

/// `FILE -> ..data/FILE`, `..data -> ..N`: the first time the file becomes a link, then `..data` leads elsewhere.
fn swapped_like_a_config_map(file: &Path, bytes: &[u8]) {
    let (folder, name) = (file.parent().expect("it has one"), file.file_name().expect("it has one"));
    let data = folder.join("..data");
    let number = fs::read_link(&data).ok().and_then(|link| link.to_str()?.trim_start_matches("..v").parse().ok());
    let number: u32 = number.map_or(1, |number: u32| number + 1);
    let version = folder.join(format!("..v{number}"));
    fs::create_dir(&version).expect("a free name");
    fs::write(version.join(name), bytes).expect("writable");
    let (new_data, new_file) = (folder.join("..data_tmp"), folder.join("..file_tmp"));
    symlink(version.file_name().expect("it has one"), &new_data).expect("a free name");
    fs::rename(new_data, &data).expect("the same folder");
    if number == 1 {
        symlink(Path::new("..data").join(name), &new_file).expect("a free name");
        fs::rename(new_file, file).expect("the same folder");
    }
}

trial!(for (name, way) in WAYS, "reload::files::component_{name}", component(way));
fn component(way: Way) {
    let (node, daemon) = node(Backend::Nft);
    for number in 1..4 {
        way(&node.path("op.wasm"), &variant(number));
        in_force(&daemon, "web", &digest(&node, "op.wasm"));
    }
    comes_into_force(&node, "op", 80);
}

trial!(for (name, way) in WAYS, "reload::files::configuration_{name}", configuration(way));
fn configuration(way: Way) {
    let (node, _daemon) = node(Backend::Nft);
    let text = fs::read_to_string(node.path("ruleward.toml")).expect("it is there");
    for port in [81, 82, 83] {
        way(&node.path("ruleward.toml"), text.replace("--dport 80", &format!("--dport {port}")).as_bytes());
        comes_into_force(&node, "op", port);
    }
}

trial!(for (name, way) in WAYS, "reload::files::resources_{name}", resources(way));
fn resources(way: Way) {
    let node = Node::new(Backend::Nft);
    let pool = |number: u32| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: pool}}\n\
             spec: {{cidr: 10.{number}.0.0/16, natOutgoing: true}}\n"
        )
    };
    node.resources(&pool(0));
    node.configure(json!({ "watch": "auto", "policies": { "calico": ruleward_tests::policies::calico("3.32.1") } }));
    let _daemon = node.daemon();
    for number in 1..4 {
        way(&node.path("resources/all.yaml"), pool(number).as_bytes());
        let member = format!("10.{number}.0.0/16");
        poll(&format!("{member} is in a set"), || node.sets().contains(&member).then_some(()));
    }
}

trial!("reload::files::a_file_in_conf_d_comes_and_goes", a_file_in_conf_d_comes_and_goes());
fn a_file_in_conf_d_comes_and_goes() {
    let (node, daemon) = node(Backend::Nft);
    let before = node.save_all();
    fs::create_dir(node.path("conf.d")).expect("a free name");
    fs::write(node.path("db.wasm"), variant(9)).expect("writable");
    let more =
        toml::to_string(&json!({ "policies": { "db": policy("db", 5432) } })).expect("JSON without null is TOML");
    node.write("conf.d/db.toml", &more);
    comes_into_force(&node, "db", 5432);
    node.write("conf.d/db.toml", &more.replace("5432", "5433"));
    comes_into_force(&node, "db", 5433);
    fs::remove_file(node.path("conf.d/db.toml")).expect("it is there");
    poll("all of it is gone", || (node.save_all() == before).then_some(()));
    assert!(daemon.status().report.in_sync);
}

trial!("reload::files::a_folder_comes_later", a_folder_comes_later());
fn a_folder_comes_later() {
    let (node, daemon) = node(Backend::Nft);
    let mut later = policy("op", 80);
    later["component"] = json!("./later/folder/op.wasm");
    node.set("policies", json!({ "web": later }));
    super::is_refused(&daemon, "web", &["later/folder/op.wasm", "No such file"]);
    fs::create_dir_all(node.path("later/folder")).expect("a free name");
    fs::write(node.path("later/folder/op.wasm"), variant(1)).expect("writable");
    in_force(&daemon, "web", &digest(&node, "later/folder/op.wasm"));
}

trial!("reload::files::sighup_reloads", sighup_reloads());
fn sighup_reloads() {
    let (node, daemon) = unwatched();
    node.set("policies", json!({ "web": policy("op", 81) }));
    daemon.signal("HUP");
    comes_into_force(&node, "op", 81);
}

trial!("reload::files::reload_answers_what_was_taken", reload_answers_what_was_taken());
fn reload_answers_what_was_taken() {
    let (node, daemon) = unwatched();
    daemon.reload(0).assert_unchanged();
    node.set("policies", json!({ "web": policy("op", 81) }));
    fs::write(node.path("op.wasm"), variant(1)).expect("writable");
    let report = daemon.reload(0);
    assert_eq!(report.outcome, "changed");
    assert_eq!(report.policy("web").digest.as_deref(), Some(&*digest(&node, "op.wasm")));
    comes_into_force(&node, "op", 81);
    fs::write(node.path("op.wasm"), "nothing of use").expect("writable");
    let report = daemon.reload(78);
    let candidate = report.policy("web").candidate.as_ref().expect("it is not taken");
    assert_eq!(candidate.state, "refused");
    assert!(candidate.reason.as_deref().is_some_and(|reason| reason.contains("op.wasm")), "{candidate:?}");
    node.set("nonsense", json!(true));
    let report = daemon.reload(78);
    assert!(report.problems.iter().any(|problem| problem.contains("unknown key `nonsense`")), "{report:#?}");
    assert!(report.in_sync, "{report:#?}");
    comes_into_force(&node, "op", 81);
}

trial!("reload::files::without_a_watch_a_refresh_looks", without_a_watch_a_refresh_looks());
fn without_a_watch_a_refresh_looks() {
    let (node, daemon) = unwatched();
    node.set("policies", json!({ "web": policy("op", 81) }));
    assert_eq!(daemon.refresh().outcome, "changed");
    comes_into_force(&node, "op", 81);
    fs::write(node.path("op.wasm"), variant(1)).expect("writable");
    let report = daemon.refresh();
    assert_eq!(report.policy("web").digest.as_deref(), Some(&*digest(&node, "op.wasm")));
}

trial!("reload::files::without_a_watch_the_clock_looks", without_a_watch_the_clock_looks());
/// Nobody tells of the change, and nobody asks for a check.
fn without_a_watch_the_clock_looks() {
    let (node, _daemon) = unwatched();
    node.set("refresh-interval", json!("300ms"));
    assert_eq!(node.ruleward(&["reload"]).output().code, Some(0));
    node.set("policies", json!({ "web": policy("op", 81) }));
    comes_into_force(&node, "op", 81);
}

fn unwatched() -> (std::sync::Arc<Node>, ruleward_tests::Daemon) {
    let node = Node::new(Backend::Nft);
    fs::write(node.path("op.wasm"), variant(0)).expect("writable");
    node.configure(json!({ "policies": { "web": policy("op", 80) } }));
    let daemon = node.daemon();
    (node, daemon)
}
