//! The loop with checks that do what the test says, in time that does not pass by itself.

use std::sync::mpsc as std_mpsc;

use super::*;
use crate::serve::client;
use ruleward_report::{Checks, Intent, Outcome};

/// What the fake check does next.
type Script = Box<dyn FnMut(Reason) -> Arc<Report> + Send>;

struct Fake(Script);

impl Checks for Fake {
    fn check(&mut self, intent: Intent, reason: Reason) -> Arc<Report> {
        assert_eq!(intent, Intent::Write);
        (self.0)(reason)
    }

    fn cleanup(&mut self) -> Report {
        Report::default()
    }
}

fn clean() -> Arc<Report> {
    Arc::new(Report { outcome: Outcome::Unchanged, in_sync: true, ..Report::default() })
}

fn wrote() -> Arc<Report> {
    Arc::new(Report { outcome: Outcome::Changed, in_sync: true, ..Report::default() })
}

const REFRESH: Duration = Duration::from_secs(90);

/// A daemon whose checks are `script`; each opening takes the next one from `scripts`.
fn daemon(scripts: Vec<Script>) -> (Daemon, StatusStore, mpsc::Sender<Ask>) {
    daemon_with(scripts, ReloadHandle::none())
}

fn daemon_with(scripts: Vec<Script>, reload: ReloadHandle) -> (Daemon, StatusStore, mpsc::Sender<Ask>) {
    let mut scripts = scripts.into_iter();
    let open: Open = Box::new(move || match scripts.next() {
        Some(script) => Ok(Box::new(Fake(script))),
        None => Err(Box::new(Report::failure(ErrorClass::Temporary, "nothing more to open"))),
    });
    let store = StatusStore::new("node", REFRESH);
    let (sender, asks) = mpsc::channel(ASKS);
    let worker = Worker::start(open, store.clone()).unwrap();
    let clock = Clock::Runtime(tokio::time::Instant::now());
    (Daemon::new(REFRESH, store.clone(), worker, asks, reload, clock), store, sender)
}

#[tokio::test(start_paused = true)]
async fn drift_is_repaired_at_the_refresh_and_looked_at_again_soon() {
    let start = tokio::time::Instant::now();
    let handle = tokio::runtime::Handle::current();
    let (seen, times) = std_mpsc::channel();
    let (stop, stopper) = std_mpsc::channel::<mpsc::Sender<Ask>>();
    let mut count = 0;
    // No timer but the loop's own may run here: it is off during a check, so the clock stands still meanwhile.
    let (daemon, store, asks) = daemon(vec![Box::new(move |reason| {
        let _inside = handle.enter(); // for the paused clock
        seen.send((reason, start.elapsed().as_secs())).unwrap();
        count += 1;
        if count == 4 {
            stopper.recv().unwrap().blocking_send(Ask::Stop).unwrap();
        }
        if count == 2 { wrote() } else { clean() }
    })]);
    stop.send(asks.clone()).unwrap();
    daemon.run().await.unwrap();
    let times: Vec<_> = times.try_iter().collect();
    let expected = [(Reason::Start, 0), (Reason::Refresh, 90), (Reason::Recheck, 91), (Reason::Recheck, 93)];
    assert_eq!(times, expected);
    assert!(store.stopping());
}

#[tokio::test]
async fn those_who_ask_during_a_check_share_the_next_one() {
    let (release, gate) = std_mpsc::channel::<()>();
    let (began, mut begins) = mpsc::unbounded_channel();
    let (daemon, store, asks) = daemon(vec![Box::new(move |reason| {
        began.send(reason).unwrap();
        gate.recv().unwrap();
        clean()
    })]);
    let running = tokio::spawn(daemon.run());
    assert_eq!(begins.recv().await, Some(Reason::Start));
    let mut answers = Vec::new();
    for _ in 0..3 {
        let (sender, receiver) = oneshot::channel();
        asks.send(Ask::Check(Some(sender))).await.unwrap();
        answers.push(receiver);
    }
    while asks.capacity() < ASKS {
        tokio::task::yield_now().await; // until the loop has taken them
    }
    release.send(()).unwrap();
    assert_eq!(begins.recv().await, Some(Reason::Asked));
    assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()), "the first check began before they asked");
    release.send(()).unwrap();
    for answer in answers {
        assert!(answer.await.unwrap().in_sync);
    }
    assert_eq!(store.status().checks, 2);
    asks.send(Ask::Stop).await.unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failed_check_and_everything_is_opened_anew() {
    let (daemon, store, asks) = daemon(vec![Box::new(|_| panic!("a fault")), Box::new(|_| clean())]);
    let running = tokio::spawn(daemon.run());
    while store.status().checks < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let status = store.status();
    assert_eq!((status.checks_failed, status.report.in_sync), (1, true));
    asks.send(Ask::Stop).await.unwrap();
    running.await.unwrap().unwrap();
}

/// It is counted, and those who asked have it; what it took the first time is not counted again.
#[tokio::test]
async fn the_same_report_again_is_a_check_as_well() {
    let mut report = Arc::unwrap_or_clone(clean());
    report.timings_ms.total = 1.0;
    let report = Arc::new(report);
    let (daemon, store, asks) = daemon(vec![Box::new(move |_| Arc::clone(&report))]);
    let running = tokio::spawn(daemon.run());
    for _ in 0..3 {
        let (sender, receiver) = oneshot::channel();
        asks.send(Ask::Check(Some(sender))).await.unwrap();
        assert!(receiver.await.unwrap().in_sync);
    }
    let status = store.status();
    assert_eq!((status.checks, status.checks_failed), (4, 0));
    let metrics = crate::metrics::render(&store, crate::metrics::Format::Text);
    let shows = |series: &str| assert!(metrics.contains(series), "{series} is not in\n{metrics}");
    shows("ruleward_checks_total{outcome=\"unchanged\"} 4\n");
    shows("ruleward_check_phase_seconds_count{phase=\"total\"} 1\n");
    asks.send(Ask::Stop).await.unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_first_check_without_permission_ends_the_daemon() {
    let report = Arc::new(Report::failure(ErrorClass::Permission, "not root"));
    let (daemon, _, _asks) = daemon(vec![Box::new(move |_| Arc::clone(&report))]);
    assert_eq!(daemon.run().await.unwrap_err().exit_code(Intent::Write), 77);
}

#[tokio::test]
async fn a_second_stop_does_not_wait_for_the_check() {
    let (_release, gate) = std_mpsc::channel::<()>();
    let (daemon, _, asks) = daemon(vec![Box::new(move |_| {
        let _ = gate.recv();
        clean()
    })]);
    asks.send(Ask::Stop).await.unwrap();
    asks.send(Ask::Stop).await.unwrap();
    daemon.run().await.unwrap();
}

#[test]
fn status_answers_while_a_check_hangs_and_silent_clients_do_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let store = StatusStore::new("node", REFRESH);
    let (began, begins) = std_mpsc::channel();
    let (release, gate) = std_mpsc::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let shown = store.clone();
    let open: Open = Box::new(move || {
        let (began, gate, shown) = (began.clone(), Arc::clone(&gate), shown.clone());
        Ok(Box::new(Fake(Box::new(move |_| {
            shown.waiting(crate::metrics::WaitFor::Lock, Some("for the xtables lock".to_owned()));
            began.send(()).unwrap();
            let _ = gate.lock().unwrap().recv();
            wrote()
        }))))
    });
    std::thread::scope(|scope| {
        let daemon = scope.spawn(|| {
            // Signals would end the whole test process: the loop is stopped by hand.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (sender, asks) = mpsc::channel(ASKS);
                let status = Socket::listen(&path.join(STATUS_SOCKET), Access::of_mode(0o660)).unwrap();
                let control = Socket::listen(&path.join(CONTROL_SOCKET), Access::of_mode(0o600)).unwrap();
                tokio::spawn(status::serve(status, store.clone()));
                tokio::spawn(control::serve(control, sender.clone()));
                let (worker, clock) = (Worker::start(open, store.clone()).unwrap(), Clock::start().unwrap());
                let daemon = Daemon::new(REFRESH, store.clone(), worker, asks, ReloadHandle::none(), clock);
                let running = tokio::spawn(daemon.run());
                while store.status().checks < 2 {
                    tokio::task::yield_now().await;
                }
                sender.send(Ask::Stop).await.unwrap();
                running.await.unwrap().unwrap();
            });
        });
        begins.recv().unwrap();
        let silent: Vec<_> = (0..5)
            .map(|_| std::os::unix::net::UnixStream::connect(directory.path().join(CONTROL_SOCKET)).unwrap())
            .collect();
        let status = client::status(directory.path()).unwrap();
        assert_eq!(status.waiting.as_deref(), Some("for the xtables lock"));
        assert_eq!((status.report.outcome, status.checks), (Outcome::Pending, 0));
        let refresh = scope.spawn(|| client::ask::<Report>(directory.path(), &control::Request::Refresh {}, || {}));
        release.send(()).unwrap();
        begins.recv().unwrap();
        release.send(()).unwrap();
        // Stopping may come before the answer; a report or a refusal, never silence.
        match refresh.join().unwrap() {
            Ok(report) => assert_eq!(report.outcome, Outcome::Changed),
            Err(error) => assert!(matches!(error.exit_code(), 75 | 69), "{error}"),
        }
        drop((silent, release));
        daemon.join().unwrap();
    });
    assert!(matches!(client::status(directory.path()), Err(client::ClientError::NoDaemon(_))));
}

#[tokio::test(start_paused = true)]
async fn a_look_that_does_not_end_keeps_nobody_from_a_check() {
    let (daemon, store, asks) = daemon_with(vec![Box::new(|_| clean())], ReloadHandle::that_hangs());
    let loop_ends = tokio::spawn(daemon.run());
    let (answer, answered) = oneshot::channel();
    asks.send(Ask::Reload(Some(answer))).await.unwrap();
    // One that loads components goes on, and is waited for.
    tokio::time::sleep(10 * LONGEST_LOOK).await;
    store.watcher_heartbeat().begins(Instant::now().checked_sub(2 * LONGEST_LOOK).unwrap(), "looking", false);
    let report = answered.await.unwrap();
    assert!(report.in_sync && report.class == ErrorClass::Temporary, "{report:?}");
    assert!(report.problems.iter().any(|problem| problem.starts_with("files have not been read for 20 s: looking")));
    asks.send(Ask::Stop).await.unwrap();
    loop_ends.await.unwrap().unwrap();
}
