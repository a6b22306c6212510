//! Which values of a label get classes of their own: those in which most of the time is spent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sample::Sample;
use crate::units::{Span, Time};

/// Values that are remembered: the rest is noise, or an attack.
const MOST_REMEMBERED: usize = 256;

/// Bytes of a value that is remembered: longer ones are among the others.
const LONGEST: usize = 256;

/// Samples before values are chosen.
const SAMPLES: u64 = 20;

/// Share of the time spent in values without classes of their own, above which others are chosen...
const TOO_MANY_OTHERS: f64 = 0.2;

/// ...if it was this long ago.
const DAY: Span = Span::from_secs(86_400);

/// Samples after which one counts half.
const HALF_LIFE: f64 = 1000.0;

/// Time spent under each value of one label.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LabelValues {
    label: String,
    most: usize,
    /// Request-seconds by value.
    busy: BTreeMap<String, f64>,
    chosen: Vec<String>,
    chosen_at: Option<Time>,
    samples: u64,
}

impl LabelValues {
    pub(super) fn new(label: String, most: usize) -> Self {
        Self { label, most, busy: BTreeMap::new(), chosen: Vec::new(), chosen_at: None, samples: 0 }
    }

    /// Where values were chosen later than `now`, as by a clock that was ahead, it was now.
    pub(super) fn begin_at(&mut self, now: Time) {
        self.chosen_at = self.chosen_at.map(|chosen| chosen.min(now));
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Takes a sample; tells the values if they have changed.
    pub(super) fn learn(&mut self, sample: &Sample) -> Option<&[String]> {
        let keep = 0.5f64.powf(1.0 / HALF_LIFE);
        self.busy.values_mut().for_each(|busy| *busy *= keep);
        for histogram in
            sample.groups.iter().filter(|group| group.tells()).flat_map(|group| &group.histograms)
        {
            let value = histogram.labels().get(&self.label).map_or("", String::as_str);
            if value.len() > LONGEST {
                continue;
            }
            // Without a sum of durations the requests themselves tell which values are rare.
            let busy = histogram.busy().map_or_else(|| histogram.total(), |busy| busy.get());
            if let Some(sum) = self.busy.get_mut(value) {
                *sum += busy;
            } else {
                if self.busy.len() >= MOST_REMEMBERED {
                    let least =
                        self.busy.iter().min_by(|a, b| a.1.total_cmp(b.1)).map(|(value, _)| value.clone());
                    least.map(|least| self.busy.remove(&least));
                }
                self.busy.insert(value.to_owned(), busy);
            }
        }
        self.samples += 1;
        let is_time = match self.chosen_at {
            None => self.samples >= SAMPLES,
            Some(chosen) => sample.at - chosen >= DAY && self.share_of_others() > TOO_MANY_OTHERS,
        };
        if !is_time {
            return None;
        }
        let mut values: Vec<(&String, f64)> = self.busy.iter().map(|(value, busy)| (value, *busy)).collect();
        values.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let mut chosen: Vec<String> = values
            .iter()
            .filter(|(_, busy)| *busy > 0.0)
            .take(self.most)
            .map(|(value, _)| (*value).clone())
            .collect();
        chosen.sort();
        self.chosen_at = Some(sample.at);
        let is_new = chosen != self.chosen;
        self.chosen = chosen;
        is_new.then_some(&self.chosen[..])
    }

    fn share_of_others(&self) -> f64 {
        let all: f64 = self.busy.values().sum();
        let own: f64 = self.chosen.iter().filter_map(|value| self.busy.get(value)).sum();
        if all > 0.0 { 1.0 - own / all } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Group, HistogramRates, Labels, Pods, SAMPLE_SCHEMA};
    use crate::units::Rate;

    fn sample(at: i64, busy: &[(&str, f64)]) -> Sample {
        let histogram = |(route, busy): &(&str, f64)| {
            let labels = Labels::from([("route".to_owned(), (*route).to_owned())]);
            HistogramRates::new(labels, vec![], vec![Rate::saturating(1.0)], Rate::new(*busy).ok()).unwrap()
        };
        let histograms = busy.iter().map(histogram).collect();
        let groups = vec![Group { histograms, ..Group::empty(Span::from_secs(15)) }];
        Sample {
            schema: SAMPLE_SCHEMA,
            at: Time::from_secs(at),
            pods: Pods::default(),
            offered: None,
            groups,
        }
    }

    #[test]
    fn the_values_in_which_most_time_is_spent_are_chosen_and_chosen_anew_when_that_changes() {
        let mut values = LabelValues::new("route".into(), 2);
        let usual = [("/buy", 3.0), ("/list", 2.0), ("/about", 0.1)];
        for round in 0..19 {
            assert_eq!(values.learn(&sample(round, &usual)), None);
        }
        assert_eq!(values.learn(&sample(19, &usual)).unwrap(), ["/buy", "/list"]);
        let new = [("/buy", 3.0), ("/new", 9.0)];
        for round in 20..500 {
            assert_eq!(values.learn(&sample(round, &new)), None);
        }
        assert_eq!(values.learn(&sample(90_000, &new)).unwrap(), ["/buy", "/new"]);
    }

    #[test]
    fn endless_values_are_not_all_remembered() {
        let mut values = LabelValues::new("route".into(), 2);
        for round in 0..1000 {
            values.learn(&sample(round, &[(&format!("/{round}"), 1.0)]));
        }
        assert_eq!(values.busy.len(), MOST_REMEMBERED);
    }
}
