//! Simulated time: programs that write in steps, and when we would come between.

use proptest::prelude::*;

use super::*;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn settling() -> Settling {
    Settling::new(Bounds::default())
}

#[test]
fn one_rule_is_repaired_when_its_process_ends() {
    let mut settling = settling();
    settling.changed(ms(10), Writer::Ends(7), Extent::Single);
    assert_eq!(settling.verdict(ms(10)), Verdict::Wait(ms(260)));
    settling.ended(ms(11), 8);
    assert_eq!(settling.verdict(ms(11)), Verdict::Wait(ms(260)), "another process");
    settling.ended(ms(11), 7);
    assert_eq!(settling.verdict(ms(11)), Verdict::Begin);
    settling.clear();
    settling.changed(ms(20), Writer::Ended, Extent::Single);
    assert_eq!(settling.verdict(ms(20)), Verdict::Begin);
}

#[test]
fn a_tool_that_never_ends_is_waited_for_no_longer_than_the_bound() {
    let mut settling = settling();
    settling.changed(ms(0), Writer::Ends(7), Extent::Single);
    assert_eq!(settling.verdict(ms(249)), Verdict::Wait(ms(250)));
    assert_eq!(settling.verdict(ms(250)), Verdict::Begin);
}

#[test]
fn a_program_that_stays_is_done_when_it_pauses() {
    let mut settling = settling();
    for now in (0..200).step_by(10) {
        settling.changed(ms(now), Writer::Stays, Extent::Single);
        assert_eq!(settling.verdict(ms(now)), Verdict::Wait(ms(now + 25)));
    }
    assert_eq!(settling.verdict(ms(215)), Verdict::Begin);
    for now in (200..250).step_by(10) {
        settling.changed(ms(now), Writer::Stays, Extent::Single);
    }
    assert_eq!(settling.verdict(ms(250)), Verdict::Begin, "the bound holds while it goes on");
}

#[test]
fn after_a_flush_the_next_process_of_a_script_has_time_to_come() {
    let mut settling = settling();
    settling.changed(ms(0), Writer::Ends(7), Extent::Mass);
    settling.ended(ms(5), 7);
    assert_eq!(settling.verdict(ms(5)), Verdict::Wait(ms(205)));
    settling.changed(ms(8), Writer::Ends(8), Extent::Mass);
    assert_eq!(settling.verdict(ms(300)), Verdict::Wait(ms(2000)), "it still runs");
    settling.ended(ms(300), 8);
    settling.wrote_elsewhere(ms(400));
    assert_eq!(settling.verdict(ms(500)), Verdict::Wait(ms(600)));
    assert_eq!(settling.verdict(ms(600)), Verdict::Begin);
}

#[test]
fn bounds_of_nothing_wait_for_nothing() {
    let mut settling = Settling::new(Bounds { single: ms(0), mass: ms(0) });
    settling.changed(ms(3), Writer::Ends(7), Extent::Mass);
    settling.changed(ms(3), Writer::Stays, Extent::Single);
    assert_eq!(settling.verdict(ms(3)), Verdict::Begin);
}

#[derive(Debug, Clone)]
enum Step {
    Changed(Writer, Extent),
    Elsewhere,
    Ended(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let writer = prop_oneof![Just(Writer::Ended), (0_u32..100).prop_map(Writer::Ends), Just(Writer::Stays)];
    let extent = prop_oneof![Just(Extent::Single), Just(Extent::Mass)];
    prop_oneof![
        (writer, extent).prop_map(|(writer, extent)| Step::Changed(writer, extent)),
        Just(Step::Elsewhere),
        (0_u32..100).prop_map(Step::Ended),
    ]
}

/// First change, last write, more than one rule, tools that run, last write of a program that stays.
type Model = (Duration, Duration, bool, Vec<u32>, Option<Duration>);

proptest! {
    #[test]
    fn every_wait_ends_at_its_bound_and_begins_only_when_all_is_complete(
        steps in proptest::collection::vec((0_u64..120, step()), 1..200),
    ) {
        let bounds = Bounds::default();
        let mut settling = settling();
        let mut now = ms(0);
        let mut model: Option<Model> = None;
        for (pause, step) in steps {
            now += ms(pause);
            match step {
                Step::Changed(writer, extent) => {
                    settling.changed(now, writer, extent);
                    let seen = model.get_or_insert((now, now, false, Vec::new(), None));
                    seen.1 = now;
                    seen.2 |= extent == Extent::Mass;
                    match writer {
                        Writer::Ended => {}
                        Writer::Ends(pid) if seen.3.len() < MOST_WRITERS => {
                            if !seen.3.contains(&pid) {
                                seen.3.push(pid);
                            }
                        }
                        _ => seen.4 = Some(now),
                    }
                }
                Step::Elsewhere => {
                    settling.wrote_elsewhere(now);
                    if let Some(seen) = &mut model {
                        seen.1 = now;
                    }
                }
                Step::Ended(pid) => {
                    settling.ended(now, pid);
                    if let Some(seen) = &mut model && seen.3.contains(&pid) {
                        seen.1 = now;
                        seen.3.retain(|other| *other != pid);
                    }
                }
            }
            let Some((since, last, mass, running, open)) = &model else {
                prop_assert_eq!(settling.verdict(now), Verdict::Begin);
                continue;
            };
            let bound = *since + if *mass { bounds.mass } else { bounds.single };
            match settling.verdict(now) {
                Verdict::Wait(at) => prop_assert!(at > now && at <= bound),
                Verdict::Begin => {
                    let quiet = !mass || now >= *last + bounds.mass / 10;
                    let paused = open.is_none_or(|open| now >= open + bounds.single / 10);
                    prop_assert!(now >= bound || (quiet && paused && running.is_empty()));
                    settling.clear();
                    prop_assert!(settling.is_empty());
                    model = None;
                }
            }
        }
    }
}
