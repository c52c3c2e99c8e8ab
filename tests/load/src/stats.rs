//! Medians and their confidence intervals.

use serde_json::Value;

/// A median, with the order statistics that enclose the true median with a confidence of at least
/// 95 %, whatever the distribution (binomial; for 15 values the 4th and the 12th).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Median {
    pub(crate) middle: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The median of values; `None` without values.
#[must_use]
pub(crate) fn median(values: &[f64]) -> Option<Median> {
    let sorted = sorted(values);
    let at = |index: usize| sorted.get(index).copied();
    let count = sorted.len();
    let middle = f64::midpoint(at((count.checked_sub(1)?) / 2)?, at(count / 2)?);
    let cut = cut(count);
    Some(Median { middle, low: at(cut)?, high: at(count - 1 - cut)? })
}

/// The median of a field over all measurements; NaN without any.
#[must_use]
pub(crate) fn middle_of(measured: &[Value], field: &str) -> f64 {
    let values: Vec<f64> = measured.iter().filter_map(|one| one.get(field)?.as_f64()).collect();
    median(&values).map_or(f64::NAN, |median| median.middle)
}

/// The median of a field's ratios, turn by turn.
#[must_use]
pub(crate) fn ratio(taken: &[Value], floor: &[Value], field: &str) -> Option<Median> {
    let of = |one: &Value| one.get(field).and_then(Value::as_f64);
    let ratios = taken.iter().zip(floor).filter_map(|(one, floor)| Some(of(one)? / of(floor)?));
    median(&ratios.collect::<Vec<f64>>())
}

/// The value that `percent` of the values do not exceed (nearest rank).
#[must_use]
pub(crate) fn percentile(values: &[f64], percent: f64) -> f64 {
    let sorted = sorted(values);
    let rank = (sorted.len() as f64 * percent / 100.0).ceil();
    let below = (0..sorted.len()).take_while(|index| (*index as f64) + 1.0 < rank).count();
    sorted.get(below).or(sorted.last()).copied().unwrap_or(f64::NAN)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// How many values the interval leaves out at each end, for an error of at most 2.5 % there.
fn cut(count: usize) -> usize {
    let mut cut = 0;
    // The probability of exactly `cut` heads in `count` coin tosses, and of at most as many.
    let mut exactly = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let mut at_most = exactly;
    while at_most + exactly * (count - cut) as f64 / (cut + 1) as f64 <= 0.025 {
        exactly *= (count - cut) as f64 / (cut + 1) as f64;
        cut += 1;
        at_most += exactly;
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_values_have_their_median_between_the_fourth_and_the_twelfth() {
        let values: Vec<f64> = (1..=15).rev().map(f64::from).collect();
        assert_eq!(median(&values), Some(Median { middle: 8.0, low: 4.0, high: 12.0 }));
        assert_eq!(median(&[1.0, 2.0]), Some(Median { middle: 1.5, low: 1.0, high: 2.0 }));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn percentiles_are_measured_values() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((percentile(&values, 50.0), percentile(&values, 99.0)), (50.0, 99.0));
        assert_eq!(percentile(&[7.0], 99.0), 7.0);
    }
}
