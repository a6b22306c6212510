//! The history as the search wants it: no trend, no outliers, no gaps, a power of two of points.

/// The history is averaged to a power of two of points, at most so many.
const MOST_POINTS: usize = 1 << 14;
/// How many standard deviations, by the median absolute one, a level may lie from the trend.
const FARTHEST: f64 = 4.0;

/// A history without trend, outliers and gaps.
#[derive(Debug)]
pub(super) struct Cleaned {
    /// Means over equal stretches of time, around 0; their number is a power of two.
    pub(super) series: Vec<f64>,
    /// The variance of the single levels, above 0.
    pub(super) variance: f64,
}

/// Takes the trend, draws in the outliers, bridges gaps by straight lines. `unit` is what the trend must not be mistaken
/// for, in steps: a whole number of it, about half the history, lies between the levels that it is taken from. None where
/// there is too little.
pub(super) fn cleaned(levels: &[Option<f64>], unit: usize) -> Option<Cleaned> {
    let n = levels.len();
    let (steps, mut values): (Vec<usize>, Vec<f64>) = (levels.iter().enumerate())
        .filter_map(|(step, level)| level.filter(|level| level.is_finite()).map(|level| (step, level)))
        .unzip();
    if n < 32 || values.len() * 2 < n {
        return None;
    }
    let slope = slope(levels, (n / 2 / unit.max(1) * unit).max(1));
    values.iter_mut().zip(&steps).for_each(|(value, step)| *value -= slope * *step as f64);
    draw_in(&mut values);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
    if !(variance > 1e-18 * mean * mean && variance.is_finite()) {
        return None;
    }

    values.iter_mut().for_each(|value| *value -= mean);
    let filled = filled(&steps, &values, n);
    let points = (1 << n.ilog2()).min(MOST_POINTS);
    let width = n as f64 / points as f64;
    // What is faster than the points can show must not appear as something slower: three means in a row leave a thousandth
    // of its power where it would be looked for.
    let smooth = means(&means(&filled, n, width), n, width);
    let mut series = means(&smooth, points, width);
    let mean = series.iter().sum::<f64>() / points as f64;
    series.iter_mut().for_each(|x| *x -= mean);
    Some(Cleaned { series, variance })
}

/// The change per step: the median of all changes over a `lag`, as Theil and Sen would have it, and blind to a season of
/// that length.
fn slope(levels: &[Option<f64>], lag: usize) -> f64 {
    let pairs = levels.iter().zip(levels.iter().skip(lag));
    let mut changes: Vec<f64> = pairs
        .filter_map(|(before, after)| Some((*after)? - (*before)?))
        .filter(|change| change.is_finite())
        .collect();
    if changes.is_empty() { 0.0 } else { median(&mut changes) / lag as f64 }
}

/// A value for each of `n` steps: that which is given for it, or one on the line between the means of as many values before
/// the gap and after it as the gap is long, an end of a long gap being no more than one noisy value.
fn filled(steps: &[usize], values: &[f64], n: usize) -> Vec<f64> {
    const MOST: usize = 60;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut filled = vec![mean(values); n];
    for (i, (step, value)) in steps.iter().zip(values).enumerate() {
        filled[*step] = *value;
        let Some(before) = i.checked_sub(1).map(|i| steps[i]) else { continue };
        let length = step - before;
        if length > 1 {
            let near = length.min(MOST);
            let from = mean(&values[i.saturating_sub(near)..i]);
            let to = mean(&values[i..(i + near).min(values.len())]);
            for k in 1..length {
                filled[before + k] = from + (to - from) * k as f64 / length as f64;
            }
        }
    }
    filled
}

/// Winsorises: what is far from the median is moved to where far begins.
fn draw_in(values: &mut [f64]) {
    let centre = median(&mut values.to_vec());
    let mut apart: Vec<f64> = values.iter().map(|value| (value - centre).abs()).collect();
    let mean = apart.iter().sum::<f64>() / apart.len() as f64;
    // Where most are equal, as in a load of short bursts, the mean deviation stands in.
    let far = FARTHEST * (1.4826 * median(&mut apart)).max(0.1 * mean);
    values.iter_mut().for_each(|value| *value = value.max(centre - far).min(centre + far));
}

/// Of at least one value.
fn median(values: &mut [f64]) -> f64 {
    let half = values.len() / 2;
    let (_, middle, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    *middle
}

/// Means over so many stretches, spread evenly over all values and of one width in steps, which need not be whole.
fn means(values: &[f64], stretches: usize, width: f64) -> Vec<f64> {
    let mut sums = Vec::with_capacity(values.len() + 1);
    let mut sum = 0.0;
    sums.push(sum);
    for value in values {
        sum += value;
        sums.push(sum);
    }
    let end = values.len() as f64;
    let until = |t: f64| {
        let whole = (t as usize).min(values.len() - 1);
        sums[whole] + (t - whole as f64) * values[whole]
    };
    let means = (0..stretches).map(|i| {
        let middle = (i as f64 + 0.5) * end / stretches as f64;
        let (from, to) = ((middle - 0.5 * width).max(0.0), (middle + 0.5 * width).min(end));
        (until(to) - until(from)) / (to - from)
    });
    means.collect()
}
