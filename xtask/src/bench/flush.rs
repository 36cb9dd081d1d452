//! The whole of table filter flushed by a stranger, until every rule is back, beside the stock tool that loads the same
//! rules into a flushed table.

use anyhow::{Context, Result, ensure};
use std::thread;
use std::time::{Duration, Instant};

use super::Plan;
use super::guarded::{Guarded, Twin, guarded};
use super::nftables::Listener;
use super::rules::Rules;
use super::sample::Sample;
use super::stock::Backend;
use super::table::{Goal, Row};

const MANY: usize = 10_000;
const ROUNDS: usize = 6;
/// From one flush to the next: each chain is undone at most four times in ten seconds, which is no fight.
const SPACING: Duration = Duration::from_secs(3);
/// How long a repair is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// nft, the largest number of rules up to ten thousand.
pub fn measure(plan: &Plan) -> Result<Vec<Row>> {
    let backend = Backend::Nft;
    let count = plan.sizes(backend).into_iter().filter(|count| *count <= MANY).max().unwrap_or(MANY);
    let case = format!("nft, {count} rules");
    eprintln!("    flushed table, {case}");
    let (mut ours, mut begun, mut transactions, mut stock) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    guarded(&Guarded::new(backend, count), |daemon, node| {
        let twin = Twin::create(backend, Rules::ours(count), node)?;
        let mut listener = Listener::open()?;
        let wanted = backend.count()?;
        daemon.rest()?;
        for _ in 0..ROUNDS {
            let next = Instant::now() + SPACING;
            listener.forget()?;
            let begin = Instant::now();
            backend.flush_all()?;
            let flushed = Flushed { begin, end: Instant::now() };
            let back = flushed.until_back(&mut listener)?;
            ours.push(back.after);
            begun.push(back.from_begin);
            transactions.push(back.transactions);
            let found = backend.count()?;
            ensure!(found == wanted, "{found} rules are there after the repair; there should be {wanted}");
            stock.push(twin.restore_all()?);
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(())
    })?;
    let ours = Sample::new(ours).context("nothing was flushed")?;
    let mut row = Row::new("flushed table until it is whole", case, "ms", ours);
    (row.stock, row.goal) = (Sample::new(stock), Some(Goal::Ratio(1.0)));
    for (name, values) in [("from begin of flush", begun), ("transactions", transactions)] {
        row.beside.extend(Sample::new(values).map(|sample| (name, sample)));
    }
    Ok(vec![row])
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
    fn until_back(&self, listener: &mut Listener) -> Result<Back> {
        let (mut balance, mut transactions) = (0_isize, 0.0);
        let deadline = self.end + PATIENCE;
        while let Some(transaction) = listener.next(deadline)? {
            let growth = transaction.growth();
            balance += growth;
            transactions += if growth > 0 { 1.0 } else { 0.0 };
            if balance == 0 && transactions > 0.0 {
                let since = |start: Instant| transaction.at.saturating_duration_since(start).as_secs_f64() * 1e3;
                return Ok(Back { after: since(self.end), from_begin: since(self.begin), transactions });
            }
        }
        anyhow::bail!(
            "{} rules are still missing after {} s: does this build repair by events?",
            -balance,
            PATIENCE.as_secs()
        )
    }
}
