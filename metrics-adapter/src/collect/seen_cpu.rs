//! CPU from a metrics server's sums: of how many of the pods, and whose account of it.
//!
//! A kubelet that the server does not reach takes its pods' CPU out of the sum and leaves their requests: cheaper requests, it seems. And where CPU is
//! told every 30 s, a window of a minute often holds one sample of a pod, which is no rate. So pods that are not seen are taken to use as much as those
//! that are. New pods are not: they use little yet, and their CPU is told later than their requests.

use plimsoll::load::ReadingError;
use plimsoll::units::{Cores, Span, Time};

use super::queried::{cores, whole};

/// A sum, and how many pods it is of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OfPods {
    pub(super) sum: Option<f64>,
    pub(super) pods: Option<f64>,
}

/// What a metrics server has told of CPU before.
#[derive(Debug, Default)]
pub(super) struct SeenCpu {
    /// Containers' was told: what is learned from it says nothing of what processes tell.
    has_containers: bool,
    /// Pods that told requests last time, and when there were more than before.
    telling: u32,
    more_since: Option<Time>,
}

impl SeenCpu {
    /// The CPU of the `telling` pods that tell requests; none where too few of them are seen.
    ///
    /// # Errors
    /// When a sum is no number of cores.
    pub(super) fn cores(
        &mut self,
        (containers, processes): (OfPods, OfPods),
        telling: u32,
        (at, window): (Time, Span),
    ) -> Result<Option<Cores>, ReadingError> {
        if telling > self.telling {
            self.more_since = Some(at);
        }
        self.telling = telling;
        let have_come = self.more_since.is_some_and(|since| at - since < window * 2);
        let of_all = |OfPods { sum, pods }: OfPods| {
            let (Some(sum), seen) = (sum.map(cores).transpose()?, pods.map_or(0, whole)) else {
                return Ok(None);
            };
            let is_enough =
                if have_come { seen >= telling } else { u64::from(seen) * 2 >= u64::from(telling) };
            let all = f64::from(telling.max(seen)) / f64::from(seen.max(1));
            Ok((seen > 0 && is_enough).then(|| Cores::saturating(sum.get() * all)))
        };
        let (of_containers, of_processes) = (of_all(containers)?, of_all(processes)?);
        self.has_containers |= of_containers.is_some();
        Ok(if self.has_containers { of_containers } else { of_processes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Span = Span::from_secs(60);

    /// One that has been told the CPU of four pods' containers, or of their processes, for long.
    struct Told(SeenCpu, Time);

    impl Told {
        fn new() -> Self {
            Self(SeenCpu::default(), Time::from_secs(1_000_000))
        }

        /// `containers` of 1.5 cores in all, `processes` of 1.2.
        fn cores(&mut self, containers: f64, processes: f64, telling: u32) -> Option<f64> {
            self.1 += Span::from_secs(15);
            let of = |sum: f64, pods: f64| {
                if pods > 0.0 { OfPods { sum: Some(sum), pods: Some(pods) } } else { OfPods::default() }
            };
            let told = (of(1.5, containers), of(1.2, processes));
            self.0.cores(told, telling, (self.1, WINDOW)).unwrap().map(Cores::get)
        }

        fn settled(containers: f64, processes: f64) -> Self {
            let mut told = Self::new();
            for _ in 0..8 {
                let _ = told.cores(containers, processes, 4);
            }
            told
        }
    }

    #[test]
    fn pods_that_are_not_seen_use_as_much_as_the_others() {
        let mut told = Told::settled(4.0, 0.0);
        assert_eq!(
            [4.0, 3.0, 2.0, 1.0].map(|seen| told.cores(seen, 0.0, 4)),
            [Some(1.5), Some(2.0), Some(3.0), None]
        );
        // A pod that is starting uses CPU and tells no requests yet, or has just ended.
        assert_eq!(told.cores(5.0, 0.0, 4), Some(1.5));
        assert_eq!(told.cores(0.0, 0.0, 4), None);
    }

    #[test]
    fn new_pods_are_waited_for() {
        let mut told = Told::settled(4.0, 0.0);
        let while_they_come: Vec<_> = (0..8).map(|_| told.cores(4.0, 0.0, 6)).collect();
        assert_eq!(while_they_come, vec![None; 8]);
        assert_eq!(told.cores(4.0, 0.0, 6), Some(1.5 * 6.0 / 4.0));
        assert_eq!(told.cores(7.0, 0.0, 7), Some(1.5), "all of them are seen");
    }

    #[test]
    fn processes_count_only_where_containers_never_did() {
        // Nodes of which hardly any kubelet tells.
        let mut told = Told::settled(1.0, 4.0);
        assert_eq!(told.cores(1.0, 4.0, 4), Some(1.2));
        assert_eq!(told.cores(4.0, 4.0, 4), Some(1.5));
        assert_eq!((told.cores(1.0, 4.0, 4), told.cores(0.0, 4.0, 4)), (None, None));
        assert_eq!(told.cores(3.0, 4.0, 4), Some(2.0));
    }

    #[test]
    fn what_is_no_number_of_cores_is_refused() {
        let nonsense = OfPods { sum: Some(-0.5), pods: Some(1.0) };
        let told = SeenCpu::default().cores((nonsense, OfPods::default()), 1, (Time::EPOCH, WINDOW));
        assert!(told.is_err());
    }
}
