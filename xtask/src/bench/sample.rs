//! Measured values of one thing, and how two things compare. On a machine that does other work as well the smallest
//! value says most: noise only ever adds time. So both the medians and the smallest values are compared.

use serde_json::{Value, json};

/// Repeated measurements, in ascending order; never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// `None` for no values, or values that are no numbers.
    pub fn new(mut values: Vec<f64>) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        Some(Self(values))
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

    /// For the JSON file: every value, so that others can judge the noise.
    pub fn json(&self) -> Value {
        json!({ "median": self.median(), "least": self.least(), "values": self.0 })
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
        assert_eq!(Sample::new(vec![9.0, 1.0, 3.0]).unwrap().median(), 3.0);
        assert_eq!(Sample::new(vec![4.0, 1.0, 9.0, 2.0]).unwrap().median(), 3.0);
        assert_eq!(Sample::new(vec![4.0, 1.0]).unwrap().least(), 1.0);
    }

    #[test]
    fn nothing_is_no_sample() {
        assert_eq!(Sample::new(Vec::new()), None);
        assert_eq!(Sample::new(vec![f64::NAN]), None);
    }
}
