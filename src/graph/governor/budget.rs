//! What the directory lets an app do in a tenant: a bucket of resource units and one of writes (Microsoft Graph
//! service-specific throttling limits, "Identity and access service limits"). Begins with what the smallest tenant has,
//! learns from what the directory says in its answers, and falls back when it says that it is near its limit.

use std::time::Duration;

use tokio::time::Instant;

use super::cost::Cost;
use super::pressure::Pressure;

/// Resource units in ten seconds by tenant size: under 50 users, to 500, above. Nothing says which one a tenant is.
const UNITS: [f64; 3] = [3_500.0, 5_000.0, 8_000.0];
const UNITS_PERIOD: f64 = 10.0;
/// Writes in two and a half minutes.
const WRITES: f64 = 3_000.0;
const WRITES_PERIOD: f64 = 150.0;
/// How long the service must have taken all that was allowed, without a word about its limit, before more is allowed.
const PROVED: Duration = Duration::from_secs(10);
/// How long it goes slower after the directory has said that the limit is near. It says so again with each answer.
const SLOWER_FOR: Duration = Duration::from_secs(10);

/// The right to burden the directory.
#[derive(Debug)]
pub(super) struct Budget {
    units: Bucket,
    writes: Bucket,
    size: usize,
    /// The part of the usual rate that is used until then.
    slower: Option<(f64, Instant)>,
    /// Since when requests have had to wait for this budget while the directory had nothing to say about its limit.
    short_since: Option<Instant>,
}

#[derive(Debug)]
struct Bucket {
    level: f64,
    capacity: f64,
    per_second: f64,
    at: Instant,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        let bucket = |capacity: f64, period: f64| Bucket {
            level: capacity,
            capacity,
            per_second: capacity / period,
            at: now,
        };
        Self {
            units: bucket(UNITS[0], UNITS_PERIOD),
            writes: bucket(WRITES, WRITES_PERIOD),
            size: 0,
            slower: None,
            short_since: None,
        }
    }

    /// When `cost` may be spent; `None`: now.
    pub(super) fn when(&mut self, cost: Cost, now: Instant) -> Option<Instant> {
        let pace = self.pace(now);
        self.units.fill(now, pace);
        self.writes.fill(now, 1.0);
        let wait = self.units.wait(cost.units, pace).max(self.writes.wait(cost.writes, 1.0));
        if wait.is_zero() {
            return None;
        }
        self.short_since.get_or_insert(now);
        Some(now + wait)
    }

    /// Spends what [`Budget::when`] has allowed.
    pub(super) fn spend(&mut self, cost: Cost) {
        self.units.level -= f64::from(cost.units);
        self.writes.level -= f64::from(cost.writes);
    }

    /// Learns from an answer to a request that was thought to cost `cost`.
    pub(super) fn learn(&mut self, cost: Cost, said: &Pressure, now: Instant) {
        if let Some(units) = said.units {
            self.units.level += f64::from(cost.units) - f64::from(units);
        }
        match said.percentage {
            Some(used) if used >= 0.8 => {
                if used >= 1.0 {
                    self.resize(0);
                }
                let pace = if used >= 1.0 { 0.25 } else { 0.5 };
                self.slower = Some((pace, now + SLOWER_FOR));
                self.short_since = None;
            }
            _ if said.units.is_none() => {}
            // It counts, and what it was given was not near its limit.
            _ => {
                if self.short_since.is_some_and(|since| now.saturating_duration_since(since) >= PROVED) {
                    self.resize((self.size + 1).min(UNITS.len() - 1));
                    self.short_since = None;
                }
            }
        }
    }

    /// The directory refused: it has less than was thought.
    pub(super) fn refused(&mut self) {
        self.resize(0);
        self.units.level = self.units.level.min(0.0);
        self.short_since = None;
    }

    /// Whether forgetting it would change nothing.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        let pace = self.pace(now);
        self.units.fill(now, pace);
        self.writes.fill(now, 1.0);
        self.size == 0
            && self.slower.is_none()
            && self.units.level >= self.units.capacity
            && self.writes.level >= self.writes.capacity
    }

    fn resize(&mut self, size: usize) {
        self.size = size;
        self.units.capacity = UNITS[size];
        self.units.per_second = UNITS[size] / UNITS_PERIOD;
        self.units.level = self.units.level.min(UNITS[size]);
    }

    fn pace(&mut self, now: Instant) -> f64 {
        match self.slower {
            Some((pace, until)) if now < until => pace,
            _ => {
                self.slower = None;
                1.0
            }
        }
    }
}

impl Bucket {
    fn fill(&mut self, now: Instant, pace: f64) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.per_second * pace).min(self.capacity);
        self.at = now;
    }

    fn wait(&self, cost: u32, pace: f64) -> Duration {
        // More than a bucket holds waits for a full one.
        let missing = f64::from(cost).min(self.capacity) - self.level;
        if cost == 0 || missing <= 0.0 {
            return Duration::ZERO;
        }
        // A little more, so that rounding does not make it wait twice.
        Duration::from_secs_f64(missing / (self.per_second * pace)) + Duration::from_millis(1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cost::Service;
    use super::*;

    const READ: Cost = Cost { service: Service::Directory, units: 2, writes: 0 };
    const WRITE: Cost = Cost { service: Service::Directory, units: 1, writes: 1 };

    /// How many requests of `cost` go out in so many seconds, when each answer says `said`.
    fn rate(budget: &mut Budget, begin: Instant, seconds: u64, cost: Cost, said: &Pressure) -> u32 {
        let (mut now, mut sent) = (begin, 0);
        while now < begin + Duration::from_secs(seconds) {
            match budget.when(cost, now) {
                None => {
                    budget.spend(cost);
                    budget.learn(cost, said, now);
                    sent += 1;
                }
                Some(later) => now = later,
            }
        }
        sent
    }

    #[test]
    fn without_a_word_from_the_directory_the_smallest_tenant_is_assumed() {
        let begin = Instant::now();
        let mut budget = Budget::new(begin);
        let sent = rate(&mut budget, begin, 60, READ, &Pressure::default());
        // A full bucket and sixty seconds of 350 units, at two units each.
        assert!((12_000..=12_260).contains(&sent), "{sent}");
        let mut budget = Budget::new(begin);
        let written = rate(&mut budget, begin, 150, WRITE, &Pressure::default());
        assert!((5_900..=6_002).contains(&written), "{written}");
        assert!(!budget.is_full(begin + Duration::from_secs(160)));
        assert!(budget.is_full(begin + Duration::from_secs(400)));
    }

    #[test]
    fn it_learns_the_size_of_the_tenant_and_the_real_costs() {
        let begin = Instant::now();
        let said = |units: u32, percentage: Option<f64>| Pressure {
            units: Some(units),
            percentage,
            ..Pressure::default()
        };
        let mut budget = Budget::new(begin);
        rate(&mut budget, begin, 60, READ, &said(2, None));
        assert_eq!(budget.size, 2, "it took all that was allowed and said nothing");
        let later = begin + Duration::from_secs(60);
        rate(&mut budget, later, 1, READ, &said(2, Some(1.1)));
        assert_eq!(budget.size, 0);
        // Each request costs twice what was thought.
        let mut budget = Budget::new(begin);
        let sent = rate(&mut budget, begin, 9, READ, &said(4, None));
        assert!(sent < 1_700, "{sent}");
    }

    #[test]
    fn near_the_limit_it_goes_slower() {
        let begin = Instant::now();
        for (percentage, most) in [(0.79, 355), (0.8, 180), (1.0, 92), (1.8, 92)] {
            let mut budget = Budget::new(begin);
            budget.units.level = 0.0;
            let said = Pressure { percentage: Some(percentage), ..Pressure::default() };
            budget.learn(READ, &said, begin);
            let sent = 2 * rate(&mut budget, begin, 1, READ, &said);
            assert!(sent <= most && sent * 10 >= most * 8, "{percentage}: {sent}");
        }
    }
}
