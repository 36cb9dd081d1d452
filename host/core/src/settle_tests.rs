//! Simulated time: programs that write in steps, and when we would come between.

use proptest::prelude::*;

use super::*;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const FILTER: Place = (Family::Ipv4, Table::Filter);
const NAT: Place = (Family::Ipv4, Table::Nat);

fn settling() -> Settling {
    Settling::new(Bounds::default())
}

#[test]
fn one_rule_is_repaired_when_its_process_ends() {
    let mut settling = settling();
    settling.changed(ms(10), FILTER, Writer::Ends(7), Extent::Single);
    assert_eq!(settling.verdict(ms(10)), Verdict::Wait(ms(260)));
    settling.ended(ms(11), 8);
    assert_eq!(settling.verdict(ms(11)), Verdict::Wait(ms(260)), "another process");
    settling.ended(ms(11), 7);
    assert_eq!(settling.verdict(ms(11)), Verdict::Begin);
    settling.clear();
    settling.changed(ms(20), FILTER, Writer::Ended, Extent::Single);
    assert_eq!(settling.verdict(ms(20)), Verdict::Begin);
}

#[test]
fn a_tool_that_never_ends_is_waited_for_no_longer_than_the_bound() {
    let mut settling = settling();
    settling.changed(ms(0), FILTER, Writer::Ends(7), Extent::Single);
    assert_eq!(settling.verdict(ms(249)), Verdict::Wait(ms(250)));
    assert_eq!(settling.verdict(ms(250)), Verdict::Begin);
}

#[test]
fn a_program_that_stays_is_done_when_it_pauses() {
    let mut settling = settling();
    for now in (0..200).step_by(10) {
        settling.changed(ms(now), FILTER, Writer::Stays, Extent::Single);
        assert_eq!(settling.verdict(ms(now)), Verdict::Wait(ms(now + 25)));
    }
    assert_eq!(settling.verdict(ms(215)), Verdict::Begin);
    for now in (200..250).step_by(10) {
        settling.changed(ms(now), FILTER, Writer::Stays, Extent::Single);
    }
    assert_eq!(settling.verdict(ms(250)), Verdict::Begin, "the bound holds while it goes on");
}

#[test]
fn after_a_flush_the_next_process_of_a_script_has_time_to_come() {
    let mut settling = settling();
    settling.changed(ms(0), FILTER, Writer::Ends(7), Extent::Mass);
    settling.ended(ms(5), 7);
    assert_eq!(settling.verdict(ms(5)), Verdict::Wait(ms(205)));
    settling.changed(ms(8), FILTER, Writer::Ends(8), Extent::Mass);
    assert_eq!(settling.verdict(ms(300)), Verdict::Wait(ms(2000)), "it still runs");
    settling.ended(ms(300), 8);
    settling.wrote_elsewhere(ms(400));
    assert_eq!(settling.verdict(ms(500)), Verdict::Wait(ms(600)));
    assert_eq!(settling.verdict(ms(600)), Verdict::Begin);
}

#[test]
fn a_script_that_goes_from_table_to_table_is_met_between_no_two_steps() {
    let mut settling = settling();
    // A slow machine: for each table `-F`, and half a second later `-X`.
    settling.changed(ms(0), FILTER, Writer::Ended, Extent::Mass);
    settling.wrote_elsewhere(ms(150));
    for now in (300..1900).step_by(150) {
        settling.wrote_elsewhere(ms(now));
    }
    settling.changed(ms(1900), NAT, Writer::Ended, Extent::Mass);
    assert_eq!(settling.verdict(ms(1900)), Verdict::Wait(ms(2000)), "the bound of the first table");
    assert_eq!(settling.take_settled(ms(1999)), [].into());
    assert_eq!(settling.take_settled(ms(2000)), [FILTER].into());
    assert_eq!(settling.unsettled().collect::<Vec<_>>(), [NAT], "it is between its two steps");
    settling.wrote_elsewhere(ms(2050));
    assert_eq!(settling.verdict(ms(2050)), Verdict::Wait(ms(2250)));
    assert_eq!(settling.take_settled(ms(2250)), [NAT].into());
    assert!(settling.is_empty());
}

#[test]
fn a_script_may_flush_all_tables_before_it_deletes_the_chains_of_the_first() {
    let mut settling = settling();
    settling.changed(ms(0), FILTER, Writer::Ended, Extent::Mass);
    settling.changed(ms(180), NAT, Writer::Ended, Extent::Mass);
    assert_eq!(settling.take_settled(ms(300)), [].into());
    settling.changed(ms(360), FILTER, Writer::Ended, Extent::Mass);
    assert_eq!(settling.take_settled(ms(560)), [FILTER, NAT].into());
}

#[test]
fn one_rule_does_not_wait_for_another_table() {
    let mut settling = settling();
    settling.changed(ms(0), NAT, Writer::Ends(7), Extent::Mass);
    settling.changed(ms(5), FILTER, Writer::Ended, Extent::Single);
    assert_eq!(settling.verdict(ms(5)), Verdict::Begin);
    assert_eq!(settling.verdict_of_all(ms(5)), Verdict::Wait(ms(2000)));
    assert_eq!(settling.take_settled(ms(5)), [FILTER].into());
    assert_eq!(settling.running().collect::<Vec<_>>(), [7]);
}

#[test]
fn a_process_that_wrote_to_several_tables_ends_for_all_of_them() {
    let mut settling = settling();
    settling.changed(ms(0), FILTER, Writer::Ends(7), Extent::Single);
    settling.changed(ms(3), NAT, Writer::Ends(7), Extent::Single);
    assert_eq!(settling.take_settled(ms(9)), [].into());
    settling.ended(ms(9), 7);
    assert_eq!(settling.take_settled(ms(9)), [FILTER, NAT].into());
}

#[test]
fn a_table_that_is_written_to_again_waits_from_its_first_change() {
    let mut settling = settling();
    settling.changed(ms(0), FILTER, Writer::Stays, Extent::Single);
    settling.changed(ms(0), NAT, Writer::Stays, Extent::Single);
    assert_eq!(settling.take_settled(ms(25)), [FILTER, NAT].into());
    settling.changed(ms(25), FILTER, Writer::Stays, Extent::Single);
    settling.changed(ms(26), NAT, Writer::Ended, Extent::Single);
    assert_eq!(settling.unsettled_again(ms(26)), [FILTER].into());
    for now in (30..250).step_by(10) {
        settling.changed(ms(now), FILTER, Writer::Stays, Extent::Single);
    }
    assert_eq!(settling.verdict_of_all(ms(249)), Verdict::Wait(ms(250)));
    assert_eq!(settling.take_settled(ms(250)), [FILTER, NAT].into());
    // What is written now has been waited for.
    settling.changed(ms(250), FILTER, Writer::Stays, Extent::Single);
    assert_eq!(settling.unsettled_again(ms(250)), [].into());
    // What was looked at is another matter later.
    assert_eq!(settling.take_settled(ms(250)), [FILTER].into());
    assert_eq!(settling.take_settled(ms(260)), [].into());
    settling.changed(ms(270), FILTER, Writer::Stays, Extent::Single);
    assert_eq!(settling.unsettled_again(ms(270)), [FILTER].into());
    assert_eq!(settling.verdict(ms(270)), Verdict::Wait(ms(295)));
}

#[test]
fn bounds_of_nothing_wait_for_nothing() {
    let mut settling = Settling::new(Bounds { single: ms(0), mass: ms(0) });
    settling.changed(ms(3), FILTER, Writer::Ends(7), Extent::Mass);
    settling.changed(ms(3), FILTER, Writer::Stays, Extent::Single);
    assert_eq!(settling.verdict(ms(3)), Verdict::Begin);
}

#[derive(Debug, Clone)]
enum Step {
    Changed(Place, Writer, Extent),
    Elsewhere,
    Ended(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let place = prop_oneof![Just(FILTER), Just(NAT), Just((Family::Ipv6, Table::Nat))];
    let writer = prop_oneof![Just(Writer::Ended), (0_u32..100).prop_map(Writer::Ends), Just(Writer::Stays)];
    let extent = prop_oneof![3 => Just(Extent::Single), 1 => Just(Extent::Mass)];
    prop_oneof![
        (place, writer, extent).prop_map(|(place, writer, extent)| Step::Changed(place, writer, extent)),
        Just(Step::Elsewhere),
        (0_u32..100).prop_map(Step::Ended),
    ]
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    proptest::collection::vec((0_u64..120, step()), 1..200)
}

fn take(settling: &mut Settling, now: Duration, step: &Step) {
    match *step {
        Step::Changed(place, writer, extent) => settling.changed(now, place, writer, extent),
        Step::Elsewhere => settling.wrote_elsewhere(now),
        Step::Ended(pid) => settling.ended(now, pid),
    }
}

/// What a table waits for, told apart from how [`Settling`] keeps it.
#[derive(Debug, Default)]
struct Model {
    since: Duration,
    mass: bool,
    running: Vec<u32>,
    /// The last write of a program that stays.
    open: Option<Duration>,
}

impl Model {
    fn changed(&mut self, now: Duration, writer: Writer, extent: Extent) {
        self.mass |= extent == Extent::Mass;
        match writer {
            Writer::Ended => {}
            Writer::Ends(pid) if self.running.contains(&pid) => {}
            Writer::Ends(pid) if self.running.len() < MOST_WRITERS => self.running.push(pid),
            Writer::Ends(_) | Writer::Stays => self.open = Some(now),
        }
    }

    fn bound(&self) -> Duration {
        let Bounds { single, mass } = Bounds::default();
        self.since + if self.mass { mass } else { single }
    }

    fn is_settled(&self, now: Duration, last: Duration) -> bool {
        let quiet = !self.mass || now >= last + ms(200);
        let paused = self.open.is_none_or(|open| now >= open + ms(25));
        now >= self.bound() || (quiet && paused && self.running.is_empty())
    }
}

proptest! {
    #[test]
    fn every_table_waits_no_longer_than_its_bound_and_is_repaired_only_when_all_is_complete(steps in steps()) {
        let mut settling = settling();
        let (mut now, mut last) = (ms(0), ms(0));
        let mut model: BTreeMap<Place, Model> = BTreeMap::new();
        for (pause, step) in steps {
            now += ms(pause);
            take(&mut settling, now, &step);
            match step {
                Step::Changed(place, writer, extent) => {
                    last = now;
                    let new = Model { since: now, ..Model::default() };
                    model.entry(place).or_insert(new).changed(now, writer, extent);
                }
                Step::Elsewhere => last = now,
                Step::Ended(pid) => {
                    for table in model.values_mut().filter(|table| table.running.contains(&pid)) {
                        last = now;
                        table.running.retain(|other| *other != pid);
                    }
                }
            }
            let settled: BTreeSet<Place> =
                model.iter().filter(|(_, table)| table.is_settled(now, last)).map(|(place, _)| *place).collect();
            let begins = settling.verdict(now) == Verdict::Begin;
            prop_assert_eq!(begins, !settled.is_empty() || model.is_empty());
            let all = settling.verdict_of_all(now) == Verdict::Begin;
            prop_assert_eq!(all, settled.len() == model.len());
            prop_assert_eq!(&settling.take_settled(now), &settled);
            model.retain(|place, _| !settled.contains(place));
            prop_assert_eq!(settling.unsettled().collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
            if let Verdict::Wait(at) = settling.verdict(now) {
                let bound = model.values().map(Model::bound).min();
                prop_assert!(at > now && Some(at) <= bound);
            }
            if let Verdict::Wait(at) = settling.verdict_of_all(now) {
                prop_assert!(at > now && Some(at) <= model.values().map(Model::bound).max());
            }
        }
    }

    /// What is written to another table, or to none of ours, can only prolong the quiet: it never brings a repair forward.
    #[test]
    fn no_other_table_brings_a_repair_forward(steps in steps()) {
        let (mut every, mut alone) = (settling(), settling());
        let mut now = ms(0);
        for (pause, step) in &steps {
            now += ms(*pause);
            take(&mut every, now, step);
            if !matches!(step, Step::Elsewhere | Step::Changed((Family::Ipv6, _) | (_, Table::Nat), ..)) {
                take(&mut alone, now, step);
            }
            let settled = every.take_settled(now).contains(&FILTER);
            if settled {
                prop_assert_eq!(alone.take_settled(now), [FILTER].into());
            } else if every.unsettled().all(|place| place != FILTER) {
                prop_assert!(alone.is_empty());
            }
        }
    }
}
