//! Medians, and ratios of columns that were measured side by side.

/// The median; of an even number of values, the mean of the two in the middle. NaN if there are none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        even if even.is_multiple_of(2) => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted[middle],
    }
}

/// The geometric mean of positive numbers. NaN if there are none.
pub(crate) fn geometric_mean(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().map(|value| value.ln()).sum();
    (sum / values.len() as f64).exp()
}

/// Ratio of two times that were each measured several times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    /// Ratio of the fastest measurements: other programs can only slow one down.
    pub(crate) value: f64,
    /// Minimum of the ratios within each repetition.
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Ratio {
    /// The two measurements of a repetition were made directly one after the other.
    pub(crate) fn of(values: &[f64], bases: &[f64]) -> Ratio {
        let ratios = || values.iter().zip(bases).map(|(value, base)| value / base);
        Ratio {
            value: least(values.iter().copied()) / least(bases.iter().copied()),
            least: least(ratios()),
            most: ratios().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// The minimum; infinity if there are no values.
pub(crate) fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_geometric_mean_of_a_ratio_and_its_inverse_is_one() {
        assert!((geometric_mean(&[0.5, 2.0]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_slow_moment_does_not_count() {
        let ratio = Ratio::of(&[11.0, 44.0, 12.0], &[10.0, 20.0, 10.0]);
        assert_eq!((ratio.value, ratio.least, ratio.most), (1.1, 1.1, 2.2));
    }
}
