//! The journal on real files: cut at every byte, rotated, followed, on a disk that is full or read-only.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use ruleward_core::actor::Actor;
use rustix::mount::{MountFlags, mount, mount_remount};

use super::file::JournalFile;
use super::follow::Follower;
use super::queue::{Queue, Waiting, weight};
use super::read::{Loaded, ReadError, last_id, load};
use super::*;
use crate::{CLOSE_TIME, Settings, StateWriter};
use ruleward_report::{ActorReport, Incident};

const SIZE: u64 = 64 << 10;

fn incident(id: u64, detail: &str) -> Incident {
    Incident {
        id,
        at: format!("1970-01-01T00:00:{:02}.000Z", id % 60),
        last_at: "1970-01-01T00:01:00.000Z".to_owned(),
        family: None,
        table: None,
        chain: "s".to_owned(),
        kind: ruleward_core::drift::Kind::SetChanged,
        detail: detail.to_owned(),
        added: vec!["1.2.3.4".to_owned()],
        removed: Vec::new(),
        repaired: true,
        how: "netlink".to_owned(),
        took_ms: 1.5,
        latency_ms: Some(0.25),
        latency_ms_max: Some(0.25),
        events: 1,
        times: 1,
        actors: vec![ActorReport::once(Actor { name: "a\nb\u{1b}".to_owned(), ..Actor::default() }, "then")],
        more_actors: 0,
        latest: Vec::new(),
    }
}

fn line(incident: &Incident) -> Vec<u8> {
    let mut line = serde_json::to_vec(incident).unwrap();
    line.push(b'\n');
    line
}

/// A folder as the daemon makes it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    folder
}

fn ids(loaded: &Loaded) -> Vec<u64> {
    loaded.incidents.iter().map(|incident| incident.id).collect()
}

/// A journal that tells what it notes.
fn started(directory: &Path) -> (StateWriter, mpsc::Receiver<Option<String>>) {
    let (sender, notes) = mpsc::channel();
    let note = move |_, note| drop(sender.send(note));
    (StateWriter::start(directory, Settings { journal: Some(SIZE), history: None }, note), notes)
}

/// Looks until it is there; a minute at most.
fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn ids_go_on_after_a_restart_and_the_last_state_counts() {
    let folder = folder();
    for run in 0..3 {
        let (state, notes) = started(folder.path());
        let id = state.last_incident() + 1;
        assert_eq!(id, run + 1);
        for times in 1..=10_000 {
            state.record_incident(&Incident { times, ..incident(id, "x") });
        }
        state.close(CLOSE_TIME);
        assert_eq!(notes.try_iter().count(), 0);
    }
    let loaded = load(folder.path()).unwrap();
    assert_eq!(ids(&loaded), [1, 2, 3]);
    assert!(loaded.incidents.iter().all(|incident| incident.times == 10_000), "the final count is there");
    let lines = fs::read_to_string(folder.path().join(CURRENT)).unwrap().lines().count();
    assert!(lines <= 3 * 8, "{lines} lines of three incidents, at most one a second each");
    assert_eq!(fs::metadata(folder.path().join(CURRENT)).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_line_is_written_without_waiting_for_the_end() {
    let folder = folder();
    let (state, _notes) = started(folder.path());
    state.record_incident(&incident(1, "x"));
    poll("the line", || (ids(&load(folder.path()).ok()?) == [1]).then_some(()));
    state.record_incident(&Incident { times: 2, ..incident(1, "x") });
    poll("the repeat, after its pause", || (load(folder.path()).ok()?.incidents[0].times == 2).then_some(()));
    state.close(CLOSE_TIME);
}

#[test]
fn a_crash_at_any_byte_costs_the_cut_line_and_no_other() {
    let folder = folder();
    let file = folder.path().join(CURRENT);
    let (first, second) = (line(&incident(1, "a\nb")), line(&incident(2, "ü\u{202e}")));
    for cut in 0..=second.len() {
        fs::write(&file, [&first[..], &second[..cut]].concat()).unwrap();
        let whole = cut + 1 >= second.len();
        let before = load(folder.path()).unwrap();
        assert_eq!((ids(&before).len(), before.damaged), (1 + usize::from(whole), 0), "cut after {cut} bytes");
        assert_eq!(last_id(folder.path()), 1 + u64::from(whole));
        JournalFile::open(folder.path(), SIZE).unwrap().append(&[line(&incident(3, "c"))]).unwrap();
        let after = load(folder.path()).unwrap();
        let expected = if whole { vec![1, 2, 3] } else { vec![1, 3] };
        let damaged = u64::from(cut > 0 && !whole);
        assert_eq!((ids(&after), after.damaged), (expected, damaged), "cut after {cut} bytes");
    }
}

#[test]
fn damaged_lines_are_left_out_and_counted() {
    let folder = folder();
    let lines: [&[u8]; 7] = [
        &line(&incident(1, "a")),
        b"{\"id\":9}\n",
        b"\xff\xfe\0\n",
        b"\n",
        b"[[[[[\n",
        &line(&incident(2, "b")),
        &line(&Incident { times: 5, ..incident(1, "a") }),
    ];
    fs::write(folder.path().join(CURRENT), lines.concat()).unwrap();
    let loaded = load(folder.path()).unwrap();
    assert_eq!((ids(&loaded), loaded.damaged), (vec![2, 1], 3));
    assert_eq!(loaded.incidents[1].times, 5);
    assert_eq!(loaded.incidents[1].actors[0].actor.name, "a\nb\u{1b}");
}

#[test]
fn two_incidents_with_one_id_are_told_apart_by_their_time() {
    let folder = folder();
    let other = Incident { at: "1999-01-01T00:00:00.000Z".to_owned(), ..incident(1, "other") };
    fs::write(folder.path().join(CURRENT), [line(&incident(1, "one")), line(&other)].concat()).unwrap();
    assert_eq!(ids(&load(folder.path()).unwrap()), [1, 1]);
}

#[test]
fn two_files_of_the_size_are_the_bound_and_the_newest_are_in_them() {
    let folder = folder();
    let (state, _notes) = started(folder.path());
    let long = "y".repeat(500);
    for id in 1..=1000 {
        state.record_incident(&incident(id, &long));
        if id % 100 == 0 {
            poll("all written", || state.inbox().journal.waiting.is_empty().then_some(()));
        }
    }
    // Too long for the file: kept without its rules.
    let huge = Incident { added: vec!["z".repeat(10_000); 100], ..incident(1001, &long) };
    state.record_incident(&huge);
    state.close(CLOSE_TIME);
    for name in [CURRENT, PREVIOUS] {
        let length = fs::metadata(folder.path().join(name)).unwrap().len();
        assert!(length <= SIZE, "{name} has {length} bytes");
    }
    let loaded = load(folder.path()).unwrap();
    let ids = ids(&loaded);
    assert!(ids.len() > 60 && ids.windows(2).all(|two| two[1] == two[0] + 1), "{ids:?}");
    assert_eq!((ids.last(), loaded.damaged), (Some(&1001), 0));
    assert!(loaded.incidents.last().unwrap().detail.ends_with("rules left out)"));
    assert_eq!(last_id(folder.path()), 1001);
}

#[test]
fn what_waits_for_the_disk_is_bounded_and_the_oldest_go() {
    let mut queue = Queue::default();
    let big = Incident { added: vec!["x".repeat(10_000); 100], ..incident(1, "x") };
    let incident = Arc::new(big);
    for id in 1..=100 {
        for _ in 0..2 {
            let waiting = Waiting { incident: Arc::clone(&incident), due: Instant::now(), bytes: weight(&incident) };
            queue.put(id, waiting);
        }
        assert!(queue.bytes <= MOST_BYTES);
    }
    assert_eq!(queue.lost, 100 - queue.waiting.len() as u64);
    assert!(queue.waiting.contains_key(&100) && !queue.waiting.contains_key(&1));
    assert_eq!(queue.bytes, queue.waiting.len() * weight(&incident));
}

#[test]
fn files_and_folders_of_others_are_refused_and_incidents_wait() {
    let folder = folder();
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "mine").unwrap();
    symlink(&elsewhere, folder.path().join(CURRENT)).unwrap();
    let (state, notes) = started(folder.path());
    let id = state.last_incident() + 1;
    state.record_incident(&incident(id, "x"));
    let note = notes.recv().unwrap().expect("a problem");
    assert!(note.contains("incidents.jsonl is a symbolic link; remove it"), "{note}");
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
    assert!(matches!(load(folder.path()), Err(ReadError::Io { .. })));
    fs::remove_file(folder.path().join(CURRENT)).unwrap();
    poll("the incident, once the link is gone", || (ids(&load(folder.path()).ok()?) == [id]).then_some(()));
    poll("the note goes", || notes.try_iter().last()?.is_none().then_some(()));
    state.close(CLOSE_TIME);

    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = JournalFile::open(folder.path(), SIZE).unwrap_err().to_string();
    assert!(error.contains("can be written by others"), "{error}");
}

#[test]
fn a_file_that_is_removed_or_moved_meanwhile_is_made_anew() {
    let folder = folder();
    let mut file = JournalFile::open(folder.path(), SIZE).unwrap();
    file.append(&[line(&incident(1, "x"))]).unwrap();
    fs::remove_file(folder.path().join(CURRENT)).unwrap();
    file.append(&[line(&incident(2, "x"))]).unwrap();
    fs::rename(folder.path().join(CURRENT), folder.path().join("kept")).unwrap();
    file.append(&[line(&incident(3, "x"))]).unwrap();
    assert_eq!(ids(&load(folder.path()).unwrap()), [3]);
}

#[test]
fn a_missing_journal_says_what_to_do() {
    let folder = folder();
    for directory in [folder.path().to_owned(), folder.path().join("nowhere")] {
        for error in [load(&directory).unwrap_err(), Follower::open(&directory).unwrap_err()] {
            assert_eq!(error.exit_code(), 69);
            let text = error.to_string();
            let path = directory.join(CURRENT);
            assert!(text.starts_with(&format!("{} does not exist: no daemon has run", path.display())), "{text}");
        }
    }
    let denied = ReadError::new(folder.path(), std::io::ErrorKind::PermissionDenied.into());
    assert!(denied.exit_code() == 77 && denied.to_string().ends_with("permission denied; run the command as root"));
    drop(JournalFile::open(folder.path(), SIZE).unwrap());
    assert_eq!(load(folder.path()).unwrap(), Loaded::default());
}

#[test]
fn a_follower_misses_nothing_across_rotations() {
    let folder = folder();
    let mut file = JournalFile::open(folder.path(), SIZE).unwrap();
    let long = "y".repeat(750);
    let next = |file: &mut JournalFile, id| file.append(&[line(&incident(id, &long))]).unwrap();
    next(&mut file, 1);
    let (mut follower, loaded) = Follower::open(folder.path()).unwrap();
    assert_eq!(ids(&loaded), [1]);
    assert_eq!(follower.next().unwrap(), Loaded::default());
    let (mut written, mut read) = (1, 1);
    // One line holds about 1.4 KB: the last steps rotate once and twice between two looks.
    for step in [1, 2, 30, 40, 60, 90, 1, 80] {
        for _ in 0..step {
            written += 1;
            next(&mut file, written);
        }
        for id in ids(&follower.next().unwrap()) {
            read += 1;
            assert_eq!(id, read);
        }
        assert_eq!(read, written, "after {step} more");
    }
    // A line that is not yet complete waits for its end.
    let last = line(&incident(written + 1, "z"));
    let mut raw = fs::File::options().append(true).open(folder.path().join(CURRENT)).unwrap();
    std::io::Write::write_all(&mut raw, &last[..20]).unwrap();
    assert_eq!(follower.next().unwrap(), Loaded::default());
    std::io::Write::write_all(&mut raw, &last[20..]).unwrap();
    assert_eq!(ids(&follower.next().unwrap()), [written + 1]);
}

#[test]
fn a_follower_sleeps_until_there_is_something_or_its_reader_is_gone() {
    let folder = folder();
    let mut file = JournalFile::open(folder.path(), SIZE).unwrap();
    let (mut follower, _) = Follower::open(folder.path()).unwrap();
    let (reader, output) = std::io::pipe().unwrap();
    let (report, reports) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while follower.wait(output.as_fd()).unwrap() {
                for id in ids(&follower.next().unwrap()) {
                    report.send(id).unwrap();
                }
            }
        });
        for id in 1..=200 {
            file.append(&[line(&incident(id, &"y".repeat(1000)))]).unwrap();
            assert_eq!(reports.recv_timeout(Duration::from_secs(60)), Ok(id));
        }
        drop(reader);
        assert!(reports.recv().is_err(), "it ends when nobody reads");
    });
}

/// Runs this one test again in a mount namespace of its own; true in there.
fn inside(test: &str) -> bool {
    const INSIDE: &str = "RULEWARD_TEST_INSIDE_MOUNTS";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let user: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let mut command = Command::new("unshare");
    command.args(user).arg("--mount").arg(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("journal::tests::{test}"), "--nocapture"]).env(INSIDE, "1");
    let output = command.output().expect("`unshare` (Debian package `util-linux`) and namespaces are needed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// A disk of this many bytes in the test's own namespace.
fn small_disk(bytes: u64) -> PathBuf {
    let place = tempfile::tempdir().unwrap().keep();
    let options = std::ffi::CString::new(format!("size={bytes},mode=0700")).unwrap();
    mount("none", &place, "tmpfs", MountFlags::empty(), Some(options.as_c_str())).unwrap();
    place
}

#[test]
fn a_full_disk_is_noted_once_and_everything_is_written_when_there_is_room() {
    if !inside("a_full_disk_is_noted_once_and_everything_is_written_when_there_is_room") {
        return;
    }
    let disk = small_disk(SIZE);
    let ballast = disk.join("ballast");
    let (state, notes) = started(&disk);
    state.record_incident(&incident(1, "before"));
    poll("the first", || (ids(&load(&disk).ok()?) == [1]).then_some(()));
    let mut filler = fs::File::options().create(true).append(true).mode(0o600).open(&ballast).unwrap();
    while std::io::Write::write(&mut filler, &[0; 512]).is_ok() {}
    for id in 2..=40 {
        state.record_incident(&incident(id, &"x".repeat(300))); // more than the page that the file has
    }
    let note = notes.recv().unwrap().expect("a problem");
    assert!(note.starts_with("incidents can't be written since "), "{note}");
    assert!(note.contains("No space left"), "{note}");
    assert!(load(&disk).unwrap().damaged == 0, "what was half written is taken back");
    fs::remove_file(&ballast).unwrap();
    drop(filler);
    poll("all of them", || (ids(&load(&disk).ok()?) == (1..=40).collect::<Vec<_>>()).then_some(()));
    poll("the note goes", || notes.try_iter().last()?.is_none().then_some(()));
    state.close(CLOSE_TIME);
}

#[test]
fn a_disk_that_is_read_only_neither_stops_the_daemon_nor_its_end() {
    if !inside("a_disk_that_is_read_only_neither_stops_the_daemon_nor_its_end") {
        return;
    }
    let disk = small_disk(1 << 20);
    mount_remount(&disk, MountFlags::RDONLY, "").unwrap();
    let (state, notes) = started(&disk);
    assert!(notes.recv().unwrap().is_some_and(|note| note.contains("Read-only")));
    state.record_incident(&incident(state.last_incident() + 1, "x"));
    mount_remount(&disk, MountFlags::empty(), "").unwrap();
    poll("the incident", || (ids(&load(&disk).ok()?) == [1]).then_some(()));
    state.close(CLOSE_TIME);
}

#[test]
fn a_stop_does_not_wait_for_a_disk_that_fails() {
    let folder = folder();
    fs::create_dir(folder.path().join(CURRENT)).unwrap();
    let (state, notes) = started(folder.path());
    assert!(notes.recv().unwrap().is_some());
    state.record_incident(&incident(1, "x"));
    let start = Instant::now();
    state.close(CLOSE_TIME);
    assert!(start.elapsed() < CLOSE_TIME, "it took {:?}", start.elapsed());
    let mut text = String::new();
    assert!(fs::File::open(folder.path().join(CURRENT)).unwrap().read_to_string(&mut text).is_err(), "still a folder");
}
