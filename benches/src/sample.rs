//! Measured values of one thing, and how two things compare. On a machine that does other work as well the smallest
//! value says most: noise only ever adds time. So both the medians and the smallest values are compared.

use serde_json::{Value, json};

/// Repeated measurements, in ascending order; never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Panics where nothing was measured.
    #[track_caller]
    pub fn new(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty() && values.iter().all(|value| value.is_finite()), "these are no values: {values:?}");
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The one in the middle; the mean of two if there is an even number.
    pub fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 { self.0[middle] } else { f64::midpoint(self.0[middle - 1], self.0[middle]) }
    }

    /// The smallest.
    pub fn least(&self) -> f64 {
        self.0[0]
    }

    /// The smallest value that `percent` of all do not exceed: of 200 values the 198th for 99.
    pub fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).clamp(1, self.0.len());
        self.0[rank - 1]
    }

    /// The largest.
    pub fn most(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// Number of values.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// For the JSON file: every value, so that others can judge the noise.
    pub fn json(&self) -> Value {
        json!({
            "median": self.median(),
            "p99": self.percentile(99),
            "least": self.least(),
            "most": self.most(),
            "values": self.0,
        })
    }
}

/// How many times `stock` takes `ours`: by medians, and by the smallest values.
pub fn ratios(ours: &Sample, stock: &Sample) -> (f64, f64) {
    (ours.median() / stock.median(), ours.least() / stock.least())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Sample::new(vec![9.0, 1.0, 3.0]).median(), 3.0);
        assert_eq!(Sample::new(vec![4.0, 1.0, 9.0, 2.0]).median(), 3.0);
        assert_eq!(Sample::new(vec![4.0, 1.0]).least(), 1.0);
    }

    #[test]
    fn percentiles_are_measured_values() {
        let sample = Sample::new((1..=200).map(f64::from).collect());
        assert_eq!((sample.percentile(99), sample.percentile(50), sample.most()), (198.0, 100.0, 200.0));
        assert_eq!(Sample::new(vec![4.0]).percentile(99), 4.0);
    }

    #[test]
    #[should_panic(expected = "no values")]
    fn nothing_is_no_sample() {
        Sample::new(Vec::new());
    }
}
