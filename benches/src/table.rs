//! The results: a table for people, JSON for scripts.

use serde_json::{Value, json};

use crate::sample::{Sample, ratios};

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    pub group: &'static str,
    pub case: String,
    /// `ms`, `MB` or `%`.
    pub unit: &'static str,
    pub ours: Sample,
    /// The stock tools doing the same.
    pub stock: Option<Sample>,
    /// What the numbers should not exceed.
    pub goal: Option<Goal>,
    /// Other medians worth seeing.
    pub beside: Vec<(&'static str, Sample)>,
    pub note: String,
}

/// A limit to compare with; nothing fails when it is exceeded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// So many times what the stock tools take.
    Ratio(f64),
    /// In the row's unit.
    Value(f64),
    /// The median and the 99th percentile, in the row's unit.
    Percentiles(f64, f64),
}

impl Row {
    /// With nothing beside.
    pub fn new(group: &'static str, case: String, unit: &'static str, ours: Sample) -> Self {
        Self { group, case, unit, ours, stock: None, goal: None, beside: Vec::new(), note: String::new() }
    }

    fn ratios(&self) -> Option<(f64, f64)> {
        Some(ratios(&self.ours, self.stock.as_ref()?))
    }

    /// Whether the goal is reached, by medians.
    fn reached(&self) -> Option<bool> {
        match self.goal? {
            Goal::Ratio(most) => Some(self.ratios()?.0 <= most),
            Goal::Value(most) => Some(self.ours.median() <= most),
            Goal::Percentiles(half, most) => Some(self.ours.median() <= half && self.ours.percentile(99) <= most),
        }
    }

    fn cells(&self) -> [String; 7] {
        let value = |sample: &Sample| format!("{} ({})", number(sample.median()), number(sample.least()));
        let stock = self.stock.as_ref().map_or_else(|| String::from("-"), value);
        let ratio = match self.ratios() {
            Some((median, least)) => format!("{} ({})", times(median), times(least)),
            None => String::from("-"),
        };
        let goal = match self.goal {
            Some(Goal::Ratio(most)) if most >= 0.1 => format!("{most:.1} x"),
            Some(Goal::Ratio(most)) => format!("{} x", times(most)),
            Some(Goal::Percentiles(half, most)) => format!("{} / {} {}", number(half), number(most), self.unit),
            Some(Goal::Value(most)) => format!("{} {}", number(most), self.unit),
            None => String::new(),
        };
        let reached = match self.reached() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        let beside: Vec<String> =
            self.beside.iter().map(|(name, sample)| format!("{name} {}", number(sample.median()))).collect();
        let remarks = [beside.join(", "), self.note.clone()];
        let remarks: Vec<String> = remarks.into_iter().filter(|text| !text.is_empty()).collect();
        let case = format!("{}, {}", self.case, self.unit);
        [case, value(&self.ours), stock, ratio, goal, reached.to_owned(), remarks.join("; ")]
    }

    fn json(&self) -> Value {
        let beside: serde_json::Map<String, Value> =
            self.beside.iter().map(|(name, sample)| ((*name).to_owned(), sample.json())).collect();
        let (goal_ratio, goal_value, goal_p99) = match self.goal {
            Some(Goal::Ratio(most)) => (Some(most), None, None),
            Some(Goal::Value(most)) => (None, Some(most), None),
            Some(Goal::Percentiles(half, most)) => (None, Some(half), Some(most)),
            None => (None, None, None),
        };
        json!({
            "group": self.group,
            "case": self.case,
            "unit": self.unit,
            "ours": self.ours.json(),
            "stock": self.stock.as_ref().map(Sample::json),
            "ratio": self.ratios().map(|(median, _)| median),
            "ratio-of-least": self.ratios().map(|(_, least)| least),
            "goal-ratio": goal_ratio,
            "goal-value": goal_value,
            "goal-p99": goal_p99,
            "goal-reached": self.reached(),
            "beside": beside,
            "note": self.note,
        })
    }
}

/// A ratio: a small one as a fraction.
fn times(ratio: f64) -> String {
    if ratio > 0.0 && ratio < 0.1 { format!("1/{:.0}", 1.0 / ratio) } else { format!("{ratio:.2}") }
}

/// Three digits that matter.
pub fn number(value: f64) -> String {
    match value {
        0.0 => String::from("0"),
        value if value < 0.1 => format!("{value:.4}"),
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// The whole table, group after group.
pub fn text(rows: &[Row]) -> String {
    let head =
        ["", "ours: median (least)", "stock tools", "ratio", "goal", "reached", "beside (medians)"].map(String::from);
    let lines: Vec<[String; 7]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut text = String::new();
    let mut group = "";
    for (at, line) in lines.iter().enumerate() {
        if let Some(row) = at.checked_sub(1).map(|row| &rows[row])
            && row.group != group
        {
            group = row.group;
            text += &format!("\n{group}\n");
        }
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// All of it, with where it was measured.
pub fn json(rows: &[Row], machine: &Value) -> Value {
    json!({ "machine": machine, "rows": rows.iter().map(Row::json).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_compared_by_medians() {
        let ours = Sample::new(vec![1.0, 2.2, 9.0]);
        let row = Row { stock: Some(Sample::new(vec![2.0])), ..Row::new("group", "case".into(), "ms", ours) };
        assert_eq!(Row { goal: Some(Goal::Ratio(1.1)), ..row.clone() }.reached(), Some(true));
        assert_eq!(Row { goal: Some(Goal::Value(2.1)), ..row.clone() }.reached(), Some(false));
        assert_eq!(Row { goal: Some(Goal::Percentiles(2.2, 8.0)), ..row.clone() }.reached(), Some(false));
        assert_eq!(Row { goal: Some(Goal::Percentiles(2.2, 9.0)), ..row.clone() }.reached(), Some(true));
        assert_eq!(row.reached(), None);
        assert_eq!((times(0.001), times(1.5), number(0.0123)), ("1/1000".into(), "1.50".into(), "0.0123".into()));
    }
}
