//! Fewer points that draw the same line.

/// Of lines that share their abscissas, as many points as `buckets` twice over, or fewer: the steps are cut into buckets of equal
/// length, and of each bucket every line keeps its least and its greatest value, in the order in which they come. On a screen no wider than
/// `buckets` pixels the lines look as before: values are where they were, up to a bucket.
///
/// The answer is the indices whose abscissas to take, ascending, and for each line the values to draw there. Lines that are short enough are
/// left as they are. All lines have the length of the first.
pub fn thin(lines: &[&[f64]], buckets: usize) -> (Vec<usize>, Vec<Vec<f64>>) {
    let length = lines.first().map_or(0, |line| line.len());
    let buckets = buckets.max(1);
    if length <= 2 * buckets {
        return ((0..length).collect(), lines.iter().map(|line| line.to_vec()).collect());
    }
    let start = |bucket: usize| (bucket as u128 * length as u128 / buckets as u128) as usize;
    let places = (0..buckets).flat_map(|bucket| {
        let (from, to) = (start(bucket), start(bucket + 1));
        [from, from + (to - from) / 2]
    });
    let thinned = lines.iter().map(|line| {
        (0..buckets).flat_map(|bucket| extremes(&line[start(bucket)..start(bucket + 1)])).collect()
    });
    (places.collect(), thinned.collect())
}

/// The least and the greatest value, the one that comes first first.
fn extremes(values: &[f64]) -> [f64; 2] {
    let mut numbered = values.iter().copied().enumerate();
    let Some(first) = numbered.next() else { return [f64::NAN; 2] };
    let (mut least, mut greatest) = (first, first);
    for (i, value) in numbered {
        if value < least.1 {
            least = (i, value);
        }
        if value > greatest.1 {
            greatest = (i, value);
        }
    }
    if least.0 <= greatest.0 { [least.1, greatest.1] } else { [greatest.1, least.1] }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_lines_are_left_alone() {
        assert_eq!(thin(&[&[3.0, 1.0, 2.0, 5.0]], 2), (vec![0, 1, 2, 3], vec![vec![3.0, 1.0, 2.0, 5.0]]));
        assert_eq!(thin(&[], 2), (vec![], vec![]));
    }

    #[test]
    fn of_each_bucket_the_extremes_are_kept_in_their_order() {
        let line = [1.0, 9.0, 0.0, 4.0, 7.0, 7.0, 8.0, 2.0];
        let other = [0.0; 8];
        let (places, lines) = thin(&[&line, &other], 2);
        assert_eq!(places, [0, 2, 4, 6]);
        assert_eq!(lines, [vec![9.0, 0.0, 8.0, 2.0], vec![0.0; 4]]);
    }

    proptest! {
        #[test]
        fn no_extreme_is_lost(line in proptest::collection::vec(-99i32..99, 1..300), buckets in 1usize..40) {
            let line: Vec<f64> = line.into_iter().map(f64::from).collect();
            let (places, lines) = thin(&[&line], buckets);
            prop_assert!(places.len() == lines[0].len() && places.len() <= 2 * buckets.max(line.len().div_ceil(2)));
            prop_assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
            let most = |line: &[f64]| line.iter().copied().fold(f64::MIN, f64::max);
            let least = |line: &[f64]| line.iter().copied().fold(f64::MAX, f64::min);
            prop_assert_eq!((most(&lines[0]), least(&lines[0])), (most(&line), least(&line)));
        }
    }
}
