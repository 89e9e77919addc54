//! What is left of many points on few pixels: the lowest and the highest of each column, in their order. An average would hide
//! what a report is written for.

/// Points in order of `x`, at most two to each pixel column.
pub(super) fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for column in points.chunk_by(|one, next| one.0.floor() == next.0.floor()) {
        let by = |(one, next): (usize, usize)| column[one].1.total_cmp(&column[next].1);
        let low = (0..column.len()).min_by(|one, next| by((*one, *next)));
        // Of equal peaks the last: where all are equal, the first and the last of the column stay.
        let high = (0..column.len()).max_by(|one, next| by((*one, *next)));
        // A chunk has one point at least.
        let (Some(low), Some(high)) = (low, high) else { continue };
        kept.push(column[low.min(high)]);
        if low != high {
            kept.push(column[low.max(high)]);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_survives_however_many_points_there_are() {
        let many: Vec<(f64, f64)> = (0..60_480).map(|at| (f64::from(at) / 100.0, if at == 30_001 { 1.0 } else { 0.01 })).collect();
        let few = thin(&many);
        assert!(few.len() <= 2 * 605, "{}", few.len());
        assert!(few.contains(&(300.01, 1.0)), "{:?}", &few[598..604]);
        assert!(few.is_sorted_by(|one, next| one.0 <= next.0));
    }

    #[test]
    fn few_points_stay_as_they_are() {
        let points = [(0.0, 1.0), (0.5, 3.0), (2.0, 2.0)];
        assert_eq!(thin(&points), points);
        assert_eq!(thin(&[]), []);
    }
}
