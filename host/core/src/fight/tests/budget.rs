//! Simulated time: how many passes strangers can make a node do, and what these take of a processor.

use proptest::prelude::*;

use super::*;

/// Everybody at `places` undoes each repair after a millisecond; the times of the passes.
fn crowd(fights: &mut Fights, places: u64, until: Duration) -> Vec<Duration> {
    let all: Vec<_> = (0..places).map(|n| drift(chain(format!("c{n}")), by("loop"))).collect();
    let mut passes = Vec::new();
    let mut now = ms(0);
    while now < until {
        let decision = fights.seen(now, &all);
        if decision.repair.is_empty() {
            now = decision.wait_until.expect("places wait").max(now + ms(1));
        } else {
            passes.push(now);
            now += ms(1);
        }
        assert!(fights.sites.len() <= KEPT_PLACES);
    }
    passes
}

#[test]
fn however_many_fight_there_are_few_passes_after_ten_seconds() {
    for places in [1, 2, 40, 1000, 3000] {
        let passes = crowd(&mut Fights::new(REFRESH), places, 2 * MINUTE);
        let late = passes.iter().filter(|at| **at >= Duration::from_secs(10)).count();
        // Two a second, for those that fight and for those that were forgotten and count as calm.
        assert!(late <= 2 * (2 * 110 + 1), "{places} places: {late} passes in 110 s");
        assert!(passes.len() <= 250 + 30 + 2 * 2 * 120, "{places} places: {} passes", passes.len());
    }
}

#[test]
fn a_stranger_that_touches_ever_new_places_is_bounded_and_starves_nobody() {
    let mut fights = Fights::new(REFRESH);
    let (mut passes, mut late) = (0, 0);
    let mut longest_wait = ms(0);
    let mut waits_since = None;
    let (mut held, mut due) = (Vec::new(), None);
    for millisecond in 0..60_000 {
        let now = ms(millisecond);
        // What waits is looked at again when it is due.
        let mut seen = if due.is_some_and(|due| due <= now) { std::mem::take(&mut held) } else { Vec::new() };
        seen.push(drift(chain(format!("new{millisecond}")), by("hostile")));
        if millisecond % 5000 == 4321 {
            seen.push(drift(chain("ours"), by("admin")));
            waits_since = Some(now);
        }
        let decision = fights.seen(now, &seen);
        due = decision.wait_until;
        held.extend(seen.into_iter().filter(|seen| !decision.repair.contains(&seen.place)));
        passes += u32::from(!decision.repair.is_empty());
        late += u32::from(!decision.repair.is_empty() && millisecond >= 10_000);
        if decision.repair.contains(&chain("ours")) {
            longest_wait = longest_wait.max(now - waits_since.take().unwrap());
        }
        assert!(fights.sites.len() <= KEPT_PLACES);
    }
    assert!(passes <= 250 + 120, "{passes}");
    assert!(late <= 101, "{late} passes in 50 s");
    assert!(waits_since.is_none() && longest_wait <= ms(500), "waited {longest_wait:?}");
}

#[test]
fn fights_leave_the_budget_of_others_alone() {
    let mut fights = Fights::new(ms(100));
    crowd(&mut fights, 200, Duration::from_secs(30));
    for n in 0..20 {
        let place = chain(format!("calm{n}"));
        let decision = fights.seen(Duration::from_secs(30), &[drift(place.clone(), by("admin"))]);
        assert!(decision.repair.contains(&place), "place {n}");
    }
}

proptest! {
    /// Whatever is seen when: a pass repairs nothing but what was seen, the budget holds, what waits has a time, in the
    /// future if it was just seen, and looking at that time brings every place to its repair.
    #[test]
    fn any_history_is_bounded_and_ends(
        steps in proptest::collection::vec((0u64..3000, proptest::collection::vec(0u8..12, 0..4)), 1..400),
        refresh in 100u64..100_000,
    ) {
        let mut fights = Fights::new(ms(refresh));
        let mut now = ms(0);
        let mut open = BTreeSet::new();
        let mut passes: Vec<Duration> = Vec::new();
        let mut last = Decision::default();
        for (pause, places) in steps {
            now += ms(pause);
            let seen: Vec<_> = places.iter().map(|n| drift(chain(n.to_string()), by("x"))).collect();
            open.extend(seen.iter().map(|seen| seen.place.clone()));
            last = fights.seen(now, &seen);
            for place in &last.repair {
                prop_assert!(seen.iter().any(|seen| seen.place == *place), "{place} was not seen");
                open.remove(place);
            }
            if !last.repair.is_empty() {
                passes.push(now);
            }
            prop_assert_eq!(last.wait_until.is_some(), !open.is_empty());
            let all_seen = open.iter().all(|place| seen.iter().any(|seen| seen.place == *place));
            let first = if all_seen { now + Duration::from_nanos(1) } else { now };
            prop_assert!(last.wait_until.is_none_or(|at| at >= first && at <= now + LONGEST_PAUSE));
        }
        while let Some(at) = last.wait_until {
            now = at;
            let seen: Vec<_> = open.iter().map(|place| drift(place.clone(), by("x"))).collect();
            last = fights.seen(now, &seen);
            prop_assert!(last.wait_until.is_none_or(|at| at > now));
            for place in &last.repair {
                prop_assert!(open.remove(place));
            }
            if !last.repair.is_empty() {
                passes.push(now);
            }
        }
        prop_assert!(open.is_empty());
        for (from, first) in passes.iter().enumerate() {
            for (to, second) in passes.iter().enumerate().skip(from) {
                // Calm places and those that fight have a budget each.
                let most = 280 + 2 * ((*second - *first).as_millis() / u128::from(refresh.min(500)) + 1);
                prop_assert!((to - from + 1) as u128 <= most, "{} passes in {:?}", to - from + 1, *second - *first);
            }
        }
    }
}

/// A stranger goes from place to place for `time`, one in each ten milliseconds; how many passes that makes, if each takes
/// so much of a processor.
fn passes(took: Duration, time: Duration) -> u32 {
    let mut fights = Fights::new(Duration::from_secs(90));
    fights.took(Duration::ZERO, took);
    let mut passes = 0;
    let mut now = Duration::ZERO;
    while now < time {
        let place = chain(format!("c{}", now.as_millis()));
        let decision = fights.seen(now, &[drift(place, Actor::unknown())]);
        if !decision.repair.is_empty() {
            passes += 1;
            fights.took(now, took);
        }
        now += ms(10);
    }
    passes
}

#[test]
fn cheap_passes_are_many_and_dear_ones_few() {
    let seconds = Duration::from_secs;
    assert_eq!(passes(Duration::from_micros(200), seconds(20)), 2000, "each place was a calm one and each pass cheap");
    assert_eq!(passes(ms(100), seconds(2)), 200, "a sweep over many places is undone at once, whatever a pass takes");
    assert!(passes(ms(100), seconds(20)) <= 250 + 41, "half a second each, after what there is at once");
}

#[test]
fn those_that_fight_take_a_fiftieth_of_a_core_in_the_long_run() {
    let took = ms(120);
    let mut fights = Fights::new(Duration::from_secs(3600));
    fights.took(ms(0), took);
    let all: Vec<_> = (0..100).map(|n| drift(chain(format!("c{n}")), by("loop"))).collect();
    let (mut now, mut late) = (ms(0), 0);
    while now < 10 * MINUTE {
        // In turn, so that they never all wait for the same time.
        let turn = &all[now.as_millis() as usize / 10 % all.len()];
        if !fights.seen(now, std::slice::from_ref(turn)).repair.is_empty() {
            fights.took(now, took);
            late += u32::from(now >= 5 * MINUTE);
        }
        now += ms(10);
    }
    let share = f64::from(late) * took.as_secs_f64() / (5 * MINUTE).as_secs_f64();
    assert!(share < 0.021, "{share}");
}

#[test]
fn one_slow_pass_does_not_use_up_what_is_left() {
    let mut fights = Fights::new(REFRESH);
    fights.took(ms(0), ms(1));
    for n in 0..100 {
        assert_eq!(fights.seen(ms(n), &[drift(chain(format!("a{n}")), by("x"))]).repair.len(), 1);
        fights.took(ms(n), if n == 50 { Duration::from_secs(10) } else { ms(1) });
    }
    for n in 100..200 {
        assert_eq!(fights.seen(ms(n), &[drift(chain(format!("a{n}")), by("x"))]).repair.len(), 1, "pass {n}");
    }
}
