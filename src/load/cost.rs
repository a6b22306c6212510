//! What a request costs at present: the slow half of the load.
//!
//! MetricsQPS is requests times their mean cost. The number of requests is known exactly and at once; their mean cost
//! rests on the few heavy ones among them, and over one window it is mostly noise. How much of it is noise depends on the
//! workload and on the hour, so there is no one right gain: [`CostFilter`] keeps the mean over several lengths of time,
//! from this window alone to nearly all, and mixes them by the pods that each would have needed ([`TrackRecord`]); by
//! their errors of late while those are not known. A mix that wanders is followed slowly, one that switches at once: two
//! windows in a row that stray three times as far from a long mean as is usual here are a change, and what was before it is forgotten. The
//! longest mean forgets nothing, since many a mix comes back: it is left out for as long as it is not of this mix.
//!
//! Measured on three real traces in windows of 15 s to 10 min, by pods at equal shortage: from 4 % below to 2 % above whichever of requests, raw sums and
//! CPU per request is best for the trace ([why](../docs/decisions.md)).

use std::collections::VecDeque;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::track_record::TrackRecord;

/// Windows after which one counts half, expert by expert: this one alone, to nearly constant.
const HALF_LIVES: [f64; EXPERTS] = [0.0, 1.0, 8.0, 64.0, 512.0, 4096.0];
const EXPERTS: usize = 6;

/// Experts that begin anew when the mix has changed: those before them forget soon enough, the one behind remembers what there was before.
const BEGIN_ANEW: Range<usize> = 2..LONGEST;
const LONGEST: usize = EXPERTS - 1;
/// The slowest of those that begin anew: what windows are compared with.
const SLOWEST: usize = LONGEST - 1;

/// Windows after which scores and moments count half: a quarter of an hour of 15 s scrapes.
const SCORE_HALF_LIFE: f64 = 64.0;

/// An expert that errs by 7 % more has half the weight...
const SHARPNESS: i32 = 10;

/// ...or one that needs 2 % more pods, once that many windows tell what it needs.
const SHARPNESS_IN_PODS: i32 = 30;
const WINDOWS_TO_TELL: f64 = 64.0;

/// Windows after which one counts half in how far costs usually stray: three hours of 15 s scrapes.
const STRAYS_HALF_LIFE: f64 = 700.0;

/// Windows that a claim is ahead: replicas that follow it are there no sooner.
const AHEAD: usize = 2;

/// Share of what a window usually strays by, within which two means are of the same mix.
const CLOSE: f64 = 0.25;

/// Share of a mean's work that must be left when idle pods' is taken off, and by how much means may change unlike each other in that for what
/// they claimed to count on.
const LEAST_LEFT: f64 = 0.2;
const SAME_MEASURE: f64 = 0.05;

/// No sum grows so far.
const LARGEST: f64 = 1e100;

/// No expert dies, so that it can come back.
const LEAST_WEIGHT: f64 = 0.01;

/// Standard deviations beyond which a window's cost is another one, so many windows in a row on the same side that are a change of the mix, and the
/// windows to know the deviation from.
const CHANGE: f64 = 3.0;
const CONFIRMS: u32 = 2;
const WINDOWS_TO_CHANGE: f64 = 20.0;

/// Requests that the cost before the first window is worth.
const PRIOR_REQUESTS: f64 = 4.0;

/// Least relative variance of one request's cost: no mix is that even.
const LEAST_VARIANCE: f64 = 0.05;

/// Squared standard deviations above which an error says no more about the usual ones.
const OUTLIER: f64 = 9.0;

/// What was counted in one window, or in several as if they were one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Counted {
    /// How many.
    pub(super) windows: f64,
    /// Requests.
    pub(super) requests: f64,
    /// Σ weight over them.
    pub(super) work: f64,
    /// Σ weight² over them.
    pub(super) squared: f64,
    /// The pods that served them, times seconds.
    pub(super) pod_seconds: f64,
}

/// The mean cost of a request, filtered. Feed it windows that do not overlap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct CostFilter {
    experts: [Expert; EXPERTS],
    /// MetricsQPS of a pod that does nothing, which is not in the work.
    #[serde(default)]
    idle: f64,
    /// Requests, work and squared work of late.
    moments: [f64; 3],
    /// Squared error beyond what counting explains, and the requests that it was seen over.
    drift: [f64; 2],
    cost: f64,
    /// Relative variance of one request's cost.
    variance: f64,
    /// Relative standard error of the mixture from the counts that it rests on, squared.
    counted: f64,
    /// Variance among the experts.
    disagreement: f64,
    /// Squares of the logarithm by which a window's cost strays from the slowest expert's, and the windows that they are of.
    #[serde(default)]
    strays: [f64; 2],
    /// What each expert took the work to be in the last windows, the oldest first.
    #[serde(default)]
    claims: VecDeque<[f64; EXPERTS]>,
    /// Windows in a row that look like another mix.
    #[serde(default)]
    change: Option<Change>,
    /// Relative variance by which the cost moves between windows.
    moves: f64,
    has_learned: bool,
}

/// A mean over some length of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Expert {
    work: f64,
    requests: f64,
    /// Σ of squared weights of the requests: what the mean's variance follows from.
    squared: f64,
    #[serde(default)]
    pod_seconds: f64,
    cost: f64,
    /// Work by which it erred of late.
    loss: f64,
    #[serde(default)]
    record: TrackRecord,
}

/// Windows that may be the first ones of another mix.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Change {
    is_heavier: bool,
    windows: u32,
    work: f64,
    requests: f64,
    #[serde(default)]
    pod_seconds: f64,
}

impl CostFilter {
    /// Where a request is thought to cost `prior` before any was seen.
    pub(super) fn new(prior: f64) -> Self {
        let expert = Expert {
            work: PRIOR_REQUESTS * prior,
            requests: PRIOR_REQUESTS,
            squared: PRIOR_REQUESTS,
            pod_seconds: 0.0,
            cost: prior,
            loss: 0.0,
            record: TrackRecord::default(),
        };
        let [n, work, squared] =
            [PRIOR_REQUESTS, PRIOR_REQUESTS * prior, 2.0 * PRIOR_REQUESTS * prior * prior];
        Self {
            experts: std::array::from_fn(|_| expert.clone()),
            idle: 0.0,
            moments: [n, work, squared],
            drift: [0.0, PRIOR_REQUESTS],
            cost: prior,
            variance: 1.0,
            counted: 1.0 / PRIOR_REQUESTS,
            disagreement: 0.0,
            strays: [0.0; 2],
            claims: VecDeque::new(),
            change: None,
            moves: 0.0,
            has_learned: false,
        }
    }

    /// Whether these can be what was once learned, and not what became of it on a disk.
    pub(super) fn is_sound(&self) -> bool {
        let sane = |value: f64| (0.0..LARGEST).contains(&value);
        let of_experts = self.experts.iter().all(|expert| {
            let Expert { work, requests, squared, pod_seconds, cost, loss, .. } = *expert;
            requests > 0.0 && [work, requests, squared, pod_seconds, cost, loss].into_iter().all(sane)
        });
        let [requests, ..] = self.moments;
        let [_, drifted_over] = self.drift;
        let others = [self.idle, self.cost, self.variance, self.counted, self.disagreement, self.moves];
        of_experts
            && requests > 0.0
            && drifted_over > 0.0
            && others.into_iter().chain(self.moments).chain(self.strays).all(sane)
            && self.drift.iter().all(|value| value.abs() < LARGEST)
    }

    /// The cost of a mean request.
    pub(super) fn cost(&self) -> f64 {
        self.cost
    }

    /// Standard error of the cost.
    pub(super) fn standard_error(&self) -> f64 {
        let relative = self.variance * self.counted + self.moves;
        (self.cost * self.cost * relative + self.disagreement).sqrt()
    }

    /// What one request more or less is: the standard error of the work where none was seen.
    pub(super) fn of_one_request(&self) -> f64 {
        self.cost * (1.0 + self.variance).sqrt()
    }

    /// Learns a window. One without requests tells nothing of what they cost.
    pub(super) fn learn(&mut self, counted: &Counted) {
        let Counted { windows, requests, work, squared, .. } = *counted;
        if !(requests > 0.0 && windows >= 1.0 && work.is_finite() && squared.is_finite()) {
            return;
        }
        let slow = keep(SCORE_HALF_LIFE);
        let observed = work / requests;
        for expert in &mut self.experts {
            let loss = if self.has_learned { expert.loss } else { requests };
            expert.loss = slow * loss + (work - requests * expert.cost).abs();
        }
        self.has_learned = true;
        if self.claims.len() >= AHEAD
            && let Some(claims) = self.claims.pop_front()
            && work > 0.0
        {
            self.experts
                .iter_mut()
                .zip(claims)
                .for_each(|(expert, claimed)| expert.record.add(claimed, work / windows));
        }
        self.learn_drift(observed, requests, slow);
        self.note_change(observed, counted);
        for (expert, half_life) in self.experts.iter_mut().zip(HALF_LIVES) {
            expert.add(counted, keep(half_life).powf(windows));
        }
        if let Some(change) = self.change.take_if(|change| change.windows >= CONFIRMS) {
            self.experts[BEGIN_ANEW].iter_mut().for_each(|expert| expert.begin_with(&change));
        }
        for expert in &mut self.experts {
            expert.cost = expert.work / expert.requests;
        }
        let of_one = requests / windows;
        self.claims.push_back(std::array::from_fn(|i| of_one * self.experts[i].cost));
        for (moment, value) in self.moments.iter_mut().zip([requests, work, squared]) {
            *moment = slow * *moment + value;
        }
        let [n, sum, squares] = self.moments;
        if sum > 0.0 {
            self.variance = (squares * n / (sum * sum) - 1.0).max(LEAST_VARIANCE);
        }
        self.mix();
    }

    /// Squared errors of the mixture beyond what counting explains.
    fn learn_drift(&mut self, observed: f64, requests: f64, slow: f64) {
        let square = self.cost * self.cost;
        if square <= 0.0 {
            return;
        }
        let explained = square * self.variance * (1.0 / requests + self.counted) + self.disagreement;
        let usual = explained + square * self.moves;
        let error = (observed - self.cost).powi(2).min(OUTLIER * usual);
        self.drift[0] = slow * self.drift[0] + requests * (error - explained) / square;
        self.drift[1] = slow * self.drift[1] + requests;
        self.moves = (self.drift[0] / self.drift[1]).max(0.0);
    }

    /// Notes whether this window strays so far from the slowest expert that it looks like another mix.
    fn note_change(&mut self, observed: f64, counted: &Counted) {
        let Counted { requests, work, squared, .. } = *counted;
        let before = self.change.take();
        let slowest = &self.experts[SLOWEST];
        if observed <= 0.0 || slowest.cost <= 0.0 {
            return;
        }
        // A single heavy request is no change: it brings its own variance.
        let own = squared / (requests * observed * observed) - 1.0;
        let variance = self.variance.max(own) / requests
            + self.variance * slowest.squared / (slowest.requests * slowest.requests);
        let [squares, windows] = self.strays;
        let strays = self.usual_strays();
        let stray = (observed / slowest.cost).ln();
        let deviation = stray / strays.max(variance).sqrt();
        let slow = keep(STRAYS_HALF_LIFE);
        self.strays =
            [slow * squares + (stray * stray).min(OUTLIER * strays.max(variance)), slow * windows + 1.0];
        if deviation.abs() <= CHANGE {
            return;
        }
        let is_heavier = deviation > 0.0;
        let first = Change { is_heavier, windows: 0, work: 0.0, requests: 0.0, pod_seconds: 0.0 };
        let before = before.filter(|before| before.is_heavier == is_heavier).unwrap_or(first);
        self.change = Some(Change {
            is_heavier,
            windows: before.windows + 1,
            work: before.work + work,
            requests: before.requests + requests,
            pod_seconds: before.pod_seconds + counted.pod_seconds,
        });
    }

    /// Mean square of the logarithm by which a window's cost strays; without bound while too few were seen.
    fn usual_strays(&self) -> f64 {
        let [squares, windows] = self.strays;
        if windows > WINDOWS_TO_CHANGE { squares / windows } else { f64::INFINITY }
    }

    /// Whether the longest mean is of the mix since the last change: far closer to its mean than a window usually is.
    fn longest_is_of_this_mix(&self) -> bool {
        let apart = (self.experts[LONGEST].cost / self.experts[SLOWEST].cost).ln();
        apart.is_nan() || apart.abs() <= CLOSE * self.usual_strays().sqrt()
    }

    fn mix(&mut self) {
        let longest_is_heard = self.longest_is_of_this_mix();
        let slowest = &self.experts[SLOWEST];
        let (of, sharpness): (fn(&Expert) -> f64, i32) = if slowest.record.windows() < WINDOWS_TO_TELL {
            (|expert| expert.loss, SHARPNESS)
        } else {
            (|expert| expert.record.needed(), SHARPNESS_IN_PODS)
        };
        let mut scores: [f64; EXPERTS] = std::array::from_fn(|i| of(&self.experts[i]));
        if !longest_is_heard {
            scores[LONGEST] = f64::INFINITY;
        }
        let least = scores.into_iter().fold(f64::INFINITY, f64::min);
        let weights = scores.map(|score| {
            if score == f64::INFINITY {
                return 0.0;
            }
            let merit =
                if least > 0.0 { (least / score).powi(sharpness) } else { f64::from(u8::from(score == 0.0)) };
            merit + LEAST_WEIGHT
        });
        let total: f64 = weights.iter().sum();
        let mean = |of: &dyn Fn(&Expert) -> f64| {
            self.experts.iter().zip(weights).map(|(expert, weight)| weight * of(expert)).sum::<f64>() / total
        };
        let cost = mean(&|e| e.cost);
        let disagreement = mean(&|e| (e.cost - cost).powi(2));
        let counted = mean(&|e| e.squared.sqrt() / e.requests).powi(2);
        (self.cost, self.disagreement, self.counted) = (cost, disagreement, counted);
    }

    /// All requests cost `factor` times as much as they did, as far as those of the last window do, of which one cost `observed`.
    /// What was claimed stays as it was, and the longest mean forgets nothing for this either: many a cost comes back too.
    pub(super) fn change_costs(&mut self, factor: f64, observed: f64) {
        let (least, most) = (factor.min(1.0), factor.max(1.0));
        for expert in &mut self.experts[..LONGEST] {
            let borne_out = (observed / expert.cost).max(least).min(most);
            if is_factor(borne_out) {
                expert.multiply(borne_out);
            }
        }
        self.mix();
    }

    /// A pod that does nothing uses `idle`, in MetricsQPS, and not what was thought: what was learned of requests is less by that, or more. A mean of
    /// which that leaves next to nothing, as of a night, takes the cost of the next longer one of which it leaves something.
    pub(super) fn take_off_idle(&mut self, idle: f64) {
        let more = idle - self.idle;
        if more == 0.0 || !more.is_finite() {
            return;
        }
        self.idle = idle;
        let before = self.experts.each_ref().map(|expert| expert.cost);
        let mut longer = before[LONGEST];
        for expert in self.experts.iter_mut().rev() {
            let work = expert.work - more * expert.pod_seconds;
            expert.cost = if work > LEAST_LEFT * expert.work { work / expert.requests } else { longer };
            expert.work = expert.cost * expert.requests;
            longer = expert.cost;
        }
        self.change = self.change.and_then(|change| {
            let work = change.work - more * change.pod_seconds;
            (work > LEAST_LEFT * change.work).then_some(Change { work, ..change })
        });
        let factors: [f64; EXPERTS] = std::array::from_fn(|i| self.experts[i].cost / before[i]);
        let usual = factors[SLOWEST];
        if is_factor(usual) {
            self.moments[1] *= usual;
            self.moments[2] *= usual * usual;
        }
        // A short mean's factor is of its last windows alone, and what it claimed of many.
        if factors[BEGIN_ANEW.start..].iter().all(|factor| (factor / usual - 1.0).abs() < SAME_MEASURE) {
            for expert in &mut self.experts {
                expert.loss *= usual;
                expert.record.rescale(usual);
            }
            self.claims.iter_mut().flatten().for_each(|claim| *claim *= usual);
        } else {
            // What was claimed by the old measure says little of who is right by this one.
            self.experts.iter_mut().for_each(|expert| expert.record = TrackRecord::default());
            self.claims.clear();
            self.has_learned = false;
        }
        self.mix();
    }
}

fn is_factor(factor: f64) -> bool {
    factor.is_finite() && factor > 0.0
}

impl Expert {
    /// Forgets all but the first windows of another mix.
    fn begin_with(&mut self, change: &Change) {
        (self.work, self.requests, self.squared) = (change.work, change.requests, change.requests);
        self.pod_seconds = change.pod_seconds;
    }

    fn multiply(&mut self, factor: f64) {
        self.work *= factor;
        self.cost *= factor;
    }

    fn add(&mut self, counted: &Counted, keep: f64) {
        self.work = keep * self.work + counted.work;
        self.requests = keep * self.requests + counted.requests;
        self.squared = keep * keep * self.squared + counted.requests;
        self.pod_seconds = keep * self.pod_seconds + counted.pod_seconds;
    }
}

fn keep(half_life: f64) -> f64 {
    if half_life > 0.0 { 0.5f64.powf(1.0 / half_life) } else { 0.0 }
}

#[cfg(test)]
mod tests;
