//! What is printed: a line for each pair, and medians with their spread.

use benches::process::Used;

/// Heads the lines of all pairs.
pub(crate) const HEADING: &str = "pair  path    against µs/event    pipeline µs/event  ratio  wall s  RSS MiB  bytes/event (against)";

/// The pairs of one path through the pipeline.
pub(crate) struct Series {
    name: &'static str,
    goal: f64,
    against: &'static str,
    events: f64,
    ratios: Vec<f64>,
    costs: Vec<f64>,
    rss_mib: f64,
}

impl Series {
    #[expect(clippy::cast_precision_loss, reason = "numbers of events fit")]
    pub(crate) fn new(name: &'static str, goal: f64, events: u64) -> Self {
        let events = events as f64;
        let against = "the reference";
        Self { name, goal, against, events, ratios: Vec::new(), costs: Vec::new(), rss_mib: 0.0 }
    }

    /// Says what is measured against, where that is something else.
    pub(crate) fn against(self, against: &'static str) -> Self {
        Self { against, ..self }
    }

    pub(crate) fn pairs(&self) -> usize {
        self.ratios.len()
    }

    /// Adds a pair, and prints it.
    #[expect(clippy::cast_precision_loss, reason = "sizes of files fit")]
    pub(crate) fn add(&mut self, pair: usize, reference: (Used, u64), pipeline: (Used, u64)) {
        let cost = |used: Used| used.cpu_s * 1e6 / self.events;
        let (straight, ours) = (cost(reference.0), cost(pipeline.0));
        println!(
            "{pair:>4}  {:<6}  {straight:>18.2}  {ours:>17.2}  {:>5.2}  {:>6.1}  {:>7.0}  {:>11.1} ({:.1})",
            self.name,
            ours / straight,
            pipeline.0.wall_s,
            pipeline.0.rss_mib,
            pipeline.1 as f64 / self.events,
            reference.1 as f64 / self.events,
        );
        self.ratios.push(ours / straight);
        self.costs.push(ours);
        self.rss_mib = self.rss_mib.max(pipeline.0.rss_mib);
    }

    /// Prints median and spread; whether both goals are met.
    pub(crate) fn summary(&self, rss_goal_mib: f64) -> bool {
        let (low, median, high) = spread(&self.ratios);
        let (_, cost, _) = spread(&self.costs);
        let met = median <= self.goal && self.rss_mib <= rss_goal_mib;
        println!(
            "{}: {median:.2} times {} ({low:.2} to {high:.2}, {} pairs), goal {:.1}; \
             {:.0} events/s of one core; {:.0} MiB resident, goal {rss_goal_mib:.0}: {}",
            self.name,
            self.against,
            self.ratios.len(),
            self.goal,
            1e6 / cost,
            self.rss_mib,
            if met { "met" } else { "MISSED" },
        );
        met
    }
}

/// Smallest, median and largest.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = match sorted.len() % 2 {
        1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    };
    (sorted[0], median, sorted[sorted.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(cpu_s: f64, rss_mib: f64) -> (Used, u64) {
        (Used { cpu_s, wall_s: cpu_s, rss_mib }, 0)
    }

    #[test]
    fn the_median_of_pairs_decides_and_the_largest_memory() {
        let mut series = Series::new("import", 2.5, 1_000);
        for cpu_s in [2.0, 9.0, 2.4] {
            series.add(1, used(1.0, 10.0), used(cpu_s, 500.0));
        }
        assert_eq!(spread(&series.ratios), (2.0, 2.4, 9.0));
        assert!(series.summary(512.0));
        series.add(4, used(1.0, 10.0), used(2.0, 513.0));
        assert!(!series.summary(512.0));
    }

    #[test]
    fn a_missed_ratio_is_told() {
        let mut series = Series::new("http", 3.0, 1_000);
        series.add(1, used(1.0, 10.0), used(2.5, 100.0));
        series.add(2, used(1.0, 10.0), used(4.5, 100.0));
        assert_eq!(spread(&series.ratios).1, 3.5);
        assert!(!series.summary(512.0));
    }
}
