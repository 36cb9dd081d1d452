//! Simulated time: strangers that undo repairs; which of them are fights, and what waits.

use super::*;

mod budget;

const REFRESH: Duration = Duration::from_secs(90);
const MINUTE: Duration = Duration::from_secs(60);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn chain(name: impl Into<String>) -> Place {
    Place::Chain(Family::Ipv4, Table::Nat, name.into())
}

fn by(name: &str) -> Actor {
    Actor { name: name.to_owned(), pid: Some(7), ..Actor::default() }
}

fn drift(place: Place, actor: Actor) -> Seen {
    Seen { place, actors: vec![actor], pushed: false }
}

/// Who had ended before it was asked for its name.
fn gone(pid: u32) -> Actor {
    Actor { pid: Some(pid), ..Actor::unknown() }
}

/// A stranger who undoes each repair of `place` after `delay`, for as long as `until` says; the times of the repairs.
fn undone(fights: &mut Fights, place: &Place, delay: Duration, from: Duration, until: Duration) -> Vec<Duration> {
    let mut repairs = Vec::new();
    let mut now = from;
    while now < until {
        let decision = fights.seen(now, &[drift(place.clone(), by("loop"))]);
        if decision.repair.contains(place) {
            repairs.push(now);
            now += delay;
        } else {
            now = decision.wait_until.expect("a place that waits has a time");
        }
    }
    repairs
}

const HOUR: Duration = Duration::from_secs(3600);

/// Somebody undoes the place once in each `every`. How many repairs were made, each at once, before it was a fight.
fn until_alarm(fights: &mut Fights, every: Duration) -> u32 {
    for round in 0..50 {
        let now = every * round;
        assert_eq!(
            fights.seen(now, &[drift(chain("c"), by("felix"))]).repair,
            [chain("c")],
            "every {every:?}, {round}"
        );
        if !fights.fights(now).is_empty() {
            return round;
        }
    }
    panic!("no alarm: every {every:?}");
}

#[test]
fn a_place_that_is_undone_again_and_again_is_a_fight_however_slowly_and_is_repaired_at_once() {
    for (every, repairs) in [
        (ms(2_500), 6),
        (Duration::from_secs(5), 6),
        (Duration::from_secs(20), 6),
        (MINUTE, 6),
        (2 * MINUTE - ms(25_000), 6),
        (5 * MINUTE, 8),
        (HOUR / 2, 8),
        (HOUR, 12),
        (3 * HOUR, 12),
    ] {
        let fights = &mut Fights::new(REFRESH);
        assert_eq!(until_alarm(fights, every), repairs, "every {every:?}");
        let last = every * repairs;
        let [fight] = &fights.fights(last)[..] else { panic!("one fight") };
        let [felix] = &fight.opponents.iter().collect::<Vec<_>>()[..] else { panic!("one opponent: {fight:?}") };
        assert_eq!((fight.since, felix.actor.name.as_str(), fight.pause), (ms(0), "felix", ms(0)));
        assert_eq!((fight.rounds, fight.every, fight.missing_since), (u64::from(repairs) + 1, every, None));
        // It goes on for days.
        for round in repairs..200 {
            let now = every * round;
            assert_eq!(fights.seen(now, &[drift(chain("c"), by("felix"))]).repair, [chain("c")]);
            assert_eq!(fights.fights(now).len(), 1, "every {every:?}, round {round}");
            assert_eq!(fights.fights(now + every - ms(1)).len(), 1, "between two rounds the alarm stays");
        }
        // Until it was quiet for three turns.
        let last = every * 199;
        let end = last + (every * QUIET_TURNS).max(Limits::default().quiet);
        assert_eq!(fights.next_end(last), Some(end));
        assert_eq!((fights.fights(end - ms(1)).len(), fights.fights(end).len()), (1, 0));
    }
}

#[test]
fn what_an_admin_tries_by_hand_is_no_fight() {
    let mut fights = Fights::new(REFRESH);
    let mut tries = |from: Duration, times: u32| {
        for n in 0..times {
            let now = from + ms(4_000) * n;
            assert_eq!(fights.seen(now, &[drift(chain("c"), by("iptables"))]).repair, [chain("c")]);
            assert!(fights.fights(now).is_empty(), "try {n} from {from:?}");
        }
    };
    // Three experiments, on each of three days; and five in the same minute.
    for day in 0..3 {
        tries(HOUR * 24 * day, 3);
    }
    tries(HOUR * 24 * 10, 5);
}

#[test]
fn places_are_counted_by_themselves() {
    let mut fights = Fights::new(REFRESH);
    for n in 0..30_u32 {
        let _ = fights.seen(MINUTE * n, &[drift(chain(format!("c{}", n % 10)), by("iptables"))]);
        assert!(fights.fights(MINUTE * n).is_empty(), "minute {n}");
    }
}

#[test]
fn a_place_that_waits_says_since_when_and_until_when() {
    let mut fights = Fights::new(REFRESH);
    let seen = [drift(chain("c"), by("loop"))];
    for _ in 0..5 {
        let _ = fights.seen(ms(100), &seen);
    }
    for now in [120, 130] {
        assert!(fights.seen(ms(now), &seen).repair.is_empty());
        let [fight] = &fights.fights(ms(now))[..] else { panic!("one fight") };
        assert_eq!((fight.missing_since, fight.next_try), (Some(ms(120)), Some(ms(150))), "at {now}");
    }
    assert_eq!(fights.seen(ms(150), &seen).repair.len(), 1);
    let [fight] = &fights.fights(ms(150))[..] else { panic!("one fight") };
    assert_eq!((fight.missing_since, fight.next_try), (None, None));
}

#[test]
fn repairs_that_do_not_wait_count_as_well() {
    let mut fights = Fights::new(REFRESH);
    let seen = [drift(Place::Set("s".into()), by("ipset"))];
    for n in 0..7 {
        assert!(fights.fights(MINUTE * n).is_empty(), "minute {n}");
        fights.repaired(MINUTE * n, &seen);
    }
    let [fight] = &fights.fights(6 * MINUTE)[..] else { panic!("one fight") };
    assert_eq!((fight.rounds, fight.missing_since), (7, None));
}

#[test]
fn a_tight_loop_gets_five_repairs_and_then_growing_pauses_up_to_the_bound() {
    let repairs = undone(&mut Fights::new(REFRESH), &chain("c"), ms(0), ms(0), 3 * MINUTE);
    let pauses: Vec<u128> = repairs.windows(2).map(|two| (two[1] - two[0]).as_millis()).collect();
    let expected =
        [0, 0, 0, 0, 50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000, 30_000];
    assert_eq!(pauses, expected);
    assert_eq!(repairs.iter().filter(|at| **at <= MINUTE).count(), 15, "repairs in the first minute");
}

#[test]
fn the_pause_is_never_longer_than_the_refresh_interval() {
    for (refresh, longest) in [(ms(100), ms(100)), (ms(2000), ms(2000)), (Duration::from_secs(3600), LONGEST_PAUSE)] {
        let repairs = undone(&mut Fights::new(refresh), &chain("c"), ms(1), ms(0), 3 * MINUTE);
        let pauses = repairs.windows(2).map(|two| two[1] - two[0]);
        assert_eq!(pauses.max(), Some(longest), "refresh every {refresh:?}");
    }
}

#[test]
fn a_fight_names_its_opponent_and_ends_when_the_place_is_quiet() {
    let mut fights = Fights::new(REFRESH);
    let place = chain("c");
    let repairs = undone(&mut fights, &place, ms(1), ms(1000), MINUTE);
    let last = *repairs.last().unwrap();
    let [fight] = &fights.fights(MINUTE)[..] else { panic!("one fight") };
    let [loops] = &fight.opponents.iter().collect::<Vec<_>>()[..] else { panic!("one opponent: {fight:?}") };
    assert_eq!((fight.place.clone(), fight.since, loops.actor.name.as_str()), (place.clone(), ms(1000), "loop"));
    let made = repairs.len() as u64;
    assert_eq!((fight.rounds, loops.times), (made, made + 1), "all repairs, the last one as well");

    let (mut now, mut pause, mut every) = (last, fight.pause, fight.every);
    for nameless in [Actor::unknown(), gone(8)] {
        now += pause;
        let after = fights.seen(now, &[drift(place.clone(), nameless)]);
        assert_eq!(after.repair, std::slice::from_ref(&place), "the pause is over");
        let [fight] = &fights.fights(now)[..] else { panic!("one fight") };
        (pause, every) = (fight.pause, fight.every);
    }
    let [fight] = &fights.fights(now)[..] else { panic!("one fight") };
    let told: Vec<_> = fight.opponents.iter().map(|one| (one.actor.clone(), one.times)).collect();
    assert_eq!(told, [(by("loop"), made + 1), (gone(8), 2)], "each of them, and each alone");

    let end = now + (pause + Limits::default().quiet).max(every * QUIET_TURNS);
    assert_eq!(fights.next_end(now), Some(end));
    assert_eq!(fights.fights(end - ms(1)).len(), 1);
    assert!(fights.fights(end).is_empty());
    now = end;
    for _ in 0..5 {
        let decision = fights.seen(now, &[drift(place.clone(), by("again"))]);
        assert_eq!(decision, Decision { repair: vec![place.clone()], wait_until: None }, "immediate again");
    }
}

#[test]
fn each_opponent_counts_once_for_each_repair_that_it_undid() {
    let (mut fights, place) = (Fights::new(REFRESH), chain("c"));
    for round in 0..5 {
        let _ = fights.seen(ms(round), &[drift(place.clone(), by(if round % 2 == 0 { "a" } else { "b" }))]);
    }
    // Now there are pauses: what is seen meanwhile was undone once.
    for now in [10, 20, 30] {
        let decision = fights.seen(ms(now), &[drift(place.clone(), by("a"))]);
        assert!(decision.repair.is_empty(), "a pause");
    }
    let both = Seen { place: place.clone(), actors: vec![by("a"), by("c")], pushed: false };
    let _ = fights.seen(ms(40), &[both]);
    let [fight] = &fights.fights(ms(40))[..] else { panic!("one fight") };
    let told: Vec<_> = fight.opponents.iter().map(|one| (one.actor.name.as_str(), one.times)).collect();
    assert_eq!(told, [("a", 4), ("b", 2), ("c", 1)]);
}

/// Rules that another program puts before ours.
fn push(fights: &mut Fights, now: Duration) -> Decision {
    fights.seen(now, &[Seen { pushed: true, ..drift(chain("FORWARD"), by("dockerd")) }])
}

#[test]
fn a_burst_of_additions_is_no_fight_and_ours_are_moved_back_after_it() {
    let mut fights = Fights::new(REFRESH);
    let mut moves = 0;
    for insertion in 0..30 {
        let now = ms(100 * insertion);
        moves += push(&mut fights, now).repair.len();
        assert!(fights.fights(now).is_empty(), "insertion {insertion}");
    }
    assert_eq!(moves, 3, "at most one in a second");
    let last = push(&mut fights, ms(3_000));
    assert_eq!(last.repair, [chain("FORWARD")], "whatever came last is moved back as well");
    // A rule of ours that is deleted meanwhile does not wait.
    assert!(push(&mut fights, ms(3_100)).repair.is_empty());
    assert_eq!(fights.seen(ms(3_101), &[drift(chain("FORWARD"), by("script"))]).repair, [chain("FORWARD")]);
    assert!(fights.fights(ms(3_101)).is_empty());
}

#[test]
fn two_programs_that_both_insist_on_being_first_fight() {
    let mut fights = Fights::new(REFRESH);
    let (mut now, mut moves) = (ms(0), 0);
    while now < MINUTE && fights.fights(now).is_empty() {
        let decision = push(&mut fights, now);
        moves += decision.repair.len();
        now = decision.wait_until.unwrap_or(now + ms(50)); // its answer
    }
    let [fight] = &fights.fights(now)[..] else { panic!("no fight after {moves} moves") };
    assert_eq!((fight.since, fight.opponents.last().name.as_str()), (ms(0), "dockerd"));
    assert!(now >= Limits::default().within && moves >= 5, "{moves} moves, {now:?}");
}

#[test]
fn a_rule_that_is_deleted_again_and_again_is_a_fight_beside_additions() {
    let mut fights = Fights::new(REFRESH);
    for round in 0..6 {
        let _ = push(&mut fights, ms(200 * round));
        let _ = fights.seen(ms(200 * round + 1), &[drift(chain("FORWARD"), by("script"))]);
    }
    assert_eq!(fights.fights(ms(1_300)).len(), 1);
}

#[test]
fn drift_during_a_pause_neither_lengthens_it_nor_counts() {
    let mut fights = Fights::new(REFRESH);
    let seen = [drift(chain("c"), by("loop"))];
    for _ in 0..5 {
        assert_eq!(fights.seen(ms(0), &seen).repair.len(), 1);
    }
    for now in 1..50 {
        assert_eq!(fights.seen(ms(now), &seen), Decision { repair: vec![], wait_until: Some(ms(50)) });
    }
    let unseen = fights.seen(ms(50), &[drift(chain("d"), by("loop"))]);
    let look_now = Decision { repair: vec![chain("d")], wait_until: Some(ms(50)) };
    assert_eq!(unseen, look_now, "it is due, and nobody has looked at it");
    assert_eq!(fights.seen(ms(50), &seen), Decision { repair: vec![chain("c")], wait_until: None });
    let [fight] = &fights.fights(ms(50))[..] else { panic!("one fight") };
    assert_eq!((fight.rounds, fight.pause), (6, ms(100)));
}

#[test]
fn what_is_right_again_does_not_wait_and_has_not_counted() {
    let mut fights = Fights::new(REFRESH);
    let seen = [drift(chain("c"), by("loop")), drift(chain("d"), by("loop"))];
    for _ in 0..5 {
        assert_eq!(fights.seen(ms(0), &seen).repair.len(), 2);
    }
    assert_eq!(fights.seen(ms(1), &seen), Decision { repair: vec![], wait_until: Some(ms(50)) });
    fights.wait_still(&[chain("d")].into());
    assert_eq!(fights.seen(ms(60), &[]), Decision { repair: vec![], wait_until: Some(ms(60)) });
    fights.wait_still(&BTreeSet::new());
    assert_eq!(fights.seen(ms(60), &[]), Decision::default());
    assert!(fights.fights(ms(60)).iter().all(|fight| (fight.rounds, fight.pause) == (5, ms(50))));
}

#[test]
fn other_places_are_repaired_at_once_beside_a_fight() {
    let mut fights = Fights::new(REFRESH);
    undone(&mut fights, &chain("fought"), ms(1), ms(0), MINUTE);
    let both = [drift(chain("fought"), by("loop")), drift(Place::Set("s".into()), by("ipset"))];
    let decision = fights.seen(MINUTE, &both);
    assert_eq!(decision.repair, [Place::Set("s".into())]);
    assert!(decision.wait_until.is_some_and(|at| at > MINUTE), "the other one waits for its pause");
}

#[test]
fn fights_are_remembered_longer_than_calm_places() {
    let mut fights = Fights::new(REFRESH);
    undone(&mut fights, &chain("fought"), ms(1), ms(0), ms(500));
    for n in 0..5000 {
        let _ = fights.seen(ms(600), &[drift(chain(format!("c{n}")), by("hostile"))]);
    }
    assert_eq!(fights.fights(ms(600)).len(), 1);
}

#[test]
fn places_are_named_as_operators_know_them() {
    let mut drift = Drift {
        family: Some(Family::Ipv6),
        table: Some(Table::Filter),
        chain: "INPUT".into(),
        kind: crate::drift::Kind::RuleDeleted,
        added: Vec::new(),
        removed: Vec::new(),
    };
    assert_eq!(Place::from(&drift).to_string(), "IPv6 filter INPUT");
    drift.chain.clear();
    assert_eq!(Place::from(&drift).to_string(), "IPv6 filter");
    (drift.family, drift.table, drift.chain) = (None, None, "s".into());
    assert_eq!(Place::from(&drift).to_string(), "set s");
}

/// The kernel refuses every repair: there is nothing to undo, so it is no fight, however often it is tried.
#[test]
fn repairs_that_are_refused_are_no_fight() {
    let mut fights = Fights::new(REFRESH);
    for round in 0..100 {
        let now = ms(100 * round);
        if fights.seen(now, &[drift(chain("c"), by("owner"))]).repair.contains(&chain("c")) {
            fights.refused(&[chain("c")]);
        }
        assert!(fights.fights(now).is_empty(), "round {round}");
    }
}
