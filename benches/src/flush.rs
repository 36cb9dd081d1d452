//! The whole of table filter flushed by another program, until every rule is back, beside the stock tool that loads the same
//! rules into a flushed table.

use std::thread;
use std::time::{Duration, Instant};

use ruleward_tests::Backend;
use ruleward_tests::raw::Listener;

use crate::guarded::{Guarded, Twin, guarded};
use crate::node::{milliseconds, rest};
use crate::plan::Plan;
use crate::rules::Rules;
use crate::sample::Sample;
use crate::stock;
use crate::table::{Goal, Row};

const MANY: usize = 10_000;
const ROUNDS: usize = 6;
/// From one flush to the next: each chain is undone at most four times in ten seconds, which is no fight.
const SPACING: Duration = Duration::from_secs(3);
/// How long a repair is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// nft, the largest number of rules up to ten thousand.
pub fn measure(plan: &Plan) -> Vec<Row> {
    plan.largest(Backend::Nft, MANY).map(|count| row(plan, count)).into_iter().collect()
}

fn row(plan: &Plan, count: usize) -> Row {
    let backend = Backend::Nft;
    let case = format!("nft, {count} rules");
    eprintln!("    flushed table, {case}");
    let (mut ours, mut begun, mut transactions, mut stock) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    guarded(&Guarded::new(backend, count), |daemon, node| {
        let twin = Twin::create(backend, Rules::ours(count), node);
        let mut listener = Listener::open().expect("nf_tables");
        let wanted = stock::count(backend);
        rest(daemon);
        for _ in 0..plan.times(ROUNDS) {
            let next = Instant::now() + plan.time(SPACING);
            listener.forget().expect("all was heard");
            let begin = Instant::now();
            stock::flush_all(backend);
            let flushed = Flushed { begin, end: Instant::now() };
            let back = flushed.until_back(&mut listener);
            ours.push(back.after);
            begun.push(back.from_begin);
            transactions.push(back.transactions);
            assert_eq!(stock::count(backend), wanted, "rules after the repair, and before the flush");
            stock.push(twin.restore_all());
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    });
    Row {
        stock: Some(Sample::new(stock)),
        goal: Some(Goal::Ratio(1.0)),
        beside: vec![("from begin of flush", Sample::new(begun)), ("transactions", Sample::new(transactions))],
        ..Row::new("flushed table until it is whole", case, "ms", Sample::new(ours))
    }
}

struct Flushed {
    begin: Instant,
    end: Instant,
}

struct Back {
    after: f64,
    from_begin: f64,
    /// In how many the rules came back.
    transactions: f64,
}

impl Flushed {
    /// Adds up what each transaction added and removed, the flush included, until nothing is missing.
    fn until_back(&self, listener: &mut Listener) -> Back {
        let (mut balance, mut transactions) = (0_isize, 0.0);
        let deadline = self.end + PATIENCE;
        while let Some(transaction) = listener.next(deadline).expect("all was heard") {
            let growth = transaction.growth();
            balance += growth;
            transactions += if growth > 0 { 1.0 } else { 0.0 };
            if balance == 0 && transactions > 0.0 {
                let since = |start: Instant| milliseconds(transaction.at.saturating_duration_since(start));
                return Back { after: since(self.end), from_begin: since(self.begin), transactions };
            }
        }
        panic!("{} rules are still missing after {PATIENCE:?}", -balance)
    }
}
