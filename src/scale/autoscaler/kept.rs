//! What outlives a restart, and a change of the spec.

use super::super::bounds::Windows;
use super::super::checkpoint::{CHECKPOINT_SCHEMA, Checkpoint};
use super::super::outlook::Outlook;
use super::super::past_load::PastLoad;
use super::Autoscaler;
use crate::forecast::Series;
use crate::load::Sample;
use crate::spec::Checked;

impl Autoscaler {
    /// What it has learned, to be kept over a restart.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            schema: CHECKPOINT_SCHEMA,
            model: self.model.clone(),
            latency: self.latency.clone(),
            history: self.history().cloned(),
            outlook: self.outlook.as_ref().map(Outlook::state),
        }
    }

    /// Goes on with what an earlier one has learned. Where requests were weighed otherwise nothing counts, as history is in those weights; another
    /// latency objective is left aside. Whether all of it counts.
    pub fn resume(&mut self, checkpoint: Checkpoint) -> bool {
        let Checkpoint { schema, model, latency, history, outlook } = checkpoint;
        if schema != CHECKPOINT_SCHEMA || !self.model.take_up(model) {
            return false;
        }
        let mut is_whole = true;
        if let (Some(own), Some(earlier)) = (&mut self.latency, latency) {
            let fits = own.objective() == earlier.objective();
            if fits {
                *own = earlier;
            }
            is_whole &= fits;
        }
        if let (Some(own), Some(earlier)) = (&mut self.outlook, outlook) {
            own.resume(earlier);
        }
        if let Some(history) = history {
            self.take_up(history);
        }
        is_whole
    }

    /// Takes up history that was kept, as if it had lived through it. It counts if its steps and columns are those of what comes.
    pub fn take_up(&mut self, history: Series) {
        if let Some(outlook) = &mut self.outlook {
            outlook.take_up(history);
        }
    }

    /// Takes what somebody else knows of the past, as samples in the order of time: the forecast then rests on it where it has not been
    /// there itself. To be called after the present was observed, since the past is weighed by it. How many steps it now knows; none where it has
    /// no load yet.
    pub fn remember(&mut self, past: &[Sample]) -> Option<usize> {
        let outlook = self.outlook.as_mut()?;
        let weighed = past.iter().filter_map(|sample| Some((sample.at, self.model.weigh(sample)?)));
        outlook.remember(weighed)
    }

    /// Whether it looks ahead and has seen a load: what it remembers can be weighed.
    pub fn has_seen_load(&self) -> bool {
        self.outlook.as_ref().is_some_and(Outlook::has_seen_load)
    }

    /// What is to be kept, so that another can take it up.
    pub fn history(&self) -> Option<&Series> {
        self.outlook.as_ref().and_then(Outlook::history)
    }

    /// What it has lived through. None where nobody looks ahead, there is no load yet, or nobody knows what a pod should carry.
    pub fn past_load(&self) -> Option<PastLoad> {
        let outlook = self.outlook.as_ref()?;
        let (forecast, first, loads) = outlook.past()?;
        let capacity = self.newest.as_ref().and_then(|observed| observed.capacity.clone().ok());
        let per_pod = capacity.or_else(|| self.given())?.per_pod;
        Some(PastLoad {
            forecast,
            first,
            loads,
            per_pod,
            lead: outlook.lead().total,
            bounds: (self.spec.min_replicas, self.spec.max_replicas),
            replicas: self.current.map(|(replicas, _)| replicas),
        })
    }

    /// Goes on with another spec. Where the load is measured, weighed and targeted as before nothing is forgotten: from now on
    /// it is as if that had always been the spec, but for the decisions that were made by the old one. A forecast that is to
    /// promise otherwise looks at all its history again, which may take half a second. Else it goes on as after a restart, with
    /// a checkpoint. Whether all that was learned counts.
    pub fn respec(&mut self, spec: Checked) -> bool {
        let Checked { interval, weighing, target, .. } = &self.spec;
        if (interval, weighing, target) != (&spec.interval, &spec.weighing, &spec.target) {
            let checkpoint = self.checkpoint();
            let Self { current, is_paused, resumed_at, is_tolerant, .. } = *self;
            *self = Self { current, is_paused, resumed_at, is_tolerant, ..Self::new(spec) };
            return self.resume(checkpoint);
        }
        if self.spec.schedules != spec.schedules {
            self.windows = Windows::default();
        }
        match (&mut self.outlook, &spec.forecast) {
            (Some(outlook), Some(wish)) => outlook.wish_for(wish.clone()),
            (outlook, wish) => *outlook = wish.clone().map(|wish| Outlook::new(wish, spec.interval)),
        }
        self.spec = spec;
        true
    }
}
