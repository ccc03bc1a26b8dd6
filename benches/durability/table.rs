//! Rounds, the table of their medians, and what is demanded of it.

use std::fmt;
use std::time::Duration;

/// Names, and one turn of each: numbers, the first of which is the one that ratios are about.
pub(crate) type Contestants<'a, const N: usize> = Vec<(&'static str, Box<dyn FnMut() -> [f64; N] + 'a>)>;

/// The numbers of every round.
pub(crate) struct Table<const N: usize> {
    rows: Vec<(&'static str, Vec<[f64; N]>)>,
}

impl<const N: usize> Table<N> {
    /// One round for nothing, then `rounds`. Every other one goes backwards, so that none has always the same before it.
    pub(crate) fn measure(rounds: usize, mut contestants: Contestants<'_, N>) -> Self {
        let mut rows: Vec<_> = contestants.iter().map(|(name, _)| (*name, Vec::new())).collect();
        for round in 0..=rounds {
            for turn in 0..rows.len() {
                let which = if round % 2 == 0 { turn } else { rows.len() - 1 - turn };
                let numbers = contestants[which].1();
                if round > 0 {
                    rows[which].1.push(numbers);
                }
            }
        }
        Table { rows }
    }

    fn row(&self, name: &str) -> &[[f64; N]] {
        &self.rows.iter().find(|row| row.0 == name).unwrap().1
    }

    /// The median of one number.
    pub(crate) fn median(&self, name: &str, column: usize) -> f64 {
        median(self.row(name).iter().map(|numbers| numbers[column]))
    }

    pub(crate) fn ratio(&self, name: &str, to: &str) -> f64 {
        self.ratio_of(0, name, to)
    }

    /// The median of the rounds' ratios of one number.
    pub(crate) fn ratio_of(&self, column: usize, name: &str, to: &str) -> f64 {
        median(self.row(name).iter().zip(self.row(to)).map(|(numbers, to)| numbers[column] / to[column]))
    }

    /// The one with the largest median of those whose names begin with `prefix`.
    pub(crate) fn largest(&self, prefix: &str) -> &'static str {
        let names = self.rows.iter().map(|row| row.0).filter(|name| name.starts_with(prefix));
        names.max_by(|a, b| self.median(a, 0).total_cmp(&self.median(b, 0))).unwrap()
    }

    pub(crate) fn print(&self, title: &str, columns: [&str; N], to: &str) {
        let head: String = columns.iter().map(|column| format!("{column:>12}")).collect();
        println!("\n{title:<32}{head}{:>8}", "ratio");
        for (name, _) in &self.rows {
            let cell = |column| {
                let number = self.median(name, column);
                format!("{number:>12.*}", if number < 100.0 { 2 } else { 0 })
            };
            let cells: String = (0..N).map(cell).collect();
            println!("  {name:<30}{cells}{:>8.2}", self.ratio(name, to));
        }
    }
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// p50 and p99 in µs.
pub(crate) fn percentiles(mut latencies: Vec<Duration>) -> [f64; 2] {
    latencies.sort_unstable();
    [50, 99].map(|percent| latencies[latencies.len() * percent / 100].as_secs_f64() * 1e6)
}

/// What a ratio should be.
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// A ratio that was demanded, and the one that was measured.
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) ratio: f64,
    pub(crate) limit: Limit,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, limit, reached) = match self.limit {
            Limit::AtMost(limit) => ("at most", limit, self.ratio <= limit),
            Limit::AtLeast(limit) => ("at least", limit, self.ratio >= limit),
        };
        let verdict = if reached { "reached" } else { "missed" };
        write!(f, "{:<72} {word:>8} {limit:.2} {:>6.2} {verdict}", self.what, self.ratio)
    }
}
