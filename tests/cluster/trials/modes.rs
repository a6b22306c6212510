//! Every way of acting, and the changes between them.

use std::path::Path;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use libtest_mimic::Failed;
use plimsoll_adapter::resource::LoadAwareAutoscaler;
use serde_json::json;

use crate::Named;
use crate::objects::{NAME, SHOP, autoscaler};
use crate::scene::{Scene, play};

pub(super) const TRIALS: &[Named] = &[
    ("Observe changes nothing, and each change of mode and actuation leaves one writer", changes),
    ("from each mode, actuation and pause to each other, and from each to nothing", every_transition),
    ("a paused object holds its replicas, and goes on when it is resumed", pausing),
    ("an object that is deleted leaves its HPA to the CPU, or takes it along", deletion),
];

/// The metrics that an HPA goes by: the external ones by name, and "cpu".
pub(super) fn metrics(hpa: &HorizontalPodAutoscaler) -> Vec<String> {
    let metrics = hpa.spec.as_ref().and_then(|spec| spec.metrics.clone()).unwrap_or_default();
    let name =
        |metric: k8s_openapi::api::autoscaling::v2::MetricSpec| match (metric.external, metric.resource) {
            (Some(external), _) => external.metric.name,
            (None, Some(resource)) => resource.name,
            (None, None) => metric.type_,
        };
    metrics.into_iter().map(name).collect()
}

async fn until_hpas(scene: &Scene, what: &str, is_so: impl Fn(&[HorizontalPodAutoscaler]) -> bool) {
    let look = async || is_so(&scene.hpas().await).then_some(());
    scene.until(what, look).await;
}

fn changes(program: &Path) -> Result<(), Failed> {
    play(program, 3, 75.0, async |scene: &mut Scene| {
        scene.start_adapter();
        let follows = |hpas: &[HorizontalPodAutoscaler]| {
            hpas.len() == 1 && metrics(&hpas[0]) == ["plimsoll-desired-replicas"]
        };

        scene.apply(&autoscaler(NAME, json!({"mode": "Observe"}))).await;
        scene.until_condition("Ready", "True", "Observing").await;
        let wanted = async || (scene.status(NAME).await.replicas?.desired == Some(8)).then_some(());
        scene.until("it says what it would do", wanted).await;
        scene.pass_intervals(6, async || assert_eq!(scene.replicas(NAME).await, 3)).await;
        assert!(scene.hpas().await.is_empty(), "Observe owns no HPA");

        scene.apply(&autoscaler(NAME, json!({"mode": "Reactive"}))).await;
        scene.until_replicas(8).await;
        until_hpas(scene, "an HPA follows", follows).await;

        scene.apply(&autoscaler(NAME, json!({"mode": "Observe"}))).await;
        until_hpas(scene, "the HPA is left to its CPU", is_left).await;

        scene.apply(&autoscaler(NAME, json!({"mode": "Auto"}))).await;
        until_hpas(scene, "the HPA follows again", follows).await;

        scene.apply(&autoscaler(NAME, json!({"actuation": "None"}))).await;
        until_hpas(scene, "the HPA is left to its CPU", is_left).await;
        scene.until_condition("ScalingActive", "False", "NoActuation").await;

        scene.apply(&autoscaler(NAME, json!({"actuation": "Scale"}))).await;
        until_hpas(scene, "whoever writes the scale has no HPA beside it", |hpas| hpas.is_empty()).await;
        scene.load.set(95.0);
        scene.until_replicas(10).await;

        scene.apply(&autoscaler(NAME, json!({"mode": "ScaleUpOnly"}))).await;
        until_hpas(scene, "an HPA follows", follows).await;
        scene.load.set(15.0);
        let is_held = async || {
            let status = scene.status(NAME).await;
            let replicas = status.replicas?;
            (replicas.reactive == Some(2) && replicas.desired == Some(10)).then_some(())
        };
        scene.until("it wants no fewer than there are", is_held).await;
        scene.pass_intervals(8, async || assert_eq!(scene.replicas(NAME).await, 10)).await;
        // A person adds two, and the decision of before, for ten, takes none away.
        scene.scale(NAME, 12).await;
        scene.pass_intervals(8, async || assert_eq!(scene.replicas(NAME).await, 12)).await;

        scene.apply(&autoscaler(NAME, json!({"maxReplicas": 6}))).await;
        scene.until_replicas(2).await;
        let hpa = scene.hpa_api().get(NAME).await.unwrap();
        assert_eq!(hpa.spec.unwrap().max_replicas, 6);
    })
}

fn pausing(program: &Path) -> Result<(), Failed> {
    play(program, 3, 25.0, async |scene: &mut Scene| {
        scene.start_adapter();
        for actuation in ["HPA", "Scale"] {
            scene.load.set(25.0);
            scene.apply(&autoscaler(NAME, json!({"actuation": actuation}))).await;
            scene.until_condition("Ready", "True", "Deciding").await;
            scene.until_replicas(3).await;
            annotate(scene, json!({"plimsoll.dev/paused": "true"})).await;
            scene.until_condition("Paused", "True", "PausedByAnnotation").await;
            scene.load.set(95.0);
            scene.pass_intervals(10, async || assert_eq!(scene.replicas(NAME).await, 3)).await;
            // A person scales by hand, up and down, and nobody undoes it.
            for by_hand in [7, 2, 5] {
                scene.scale(NAME, by_hand).await;
                scene.pass_intervals(6, async || assert_eq!(scene.replicas(NAME).await, by_hand)).await;
            }
            annotate(scene, json!({"plimsoll.dev/paused": null})).await;
            scene.until_replicas(10).await;
            scene.until_condition("Paused", "False", "NotPaused").await;
        }
    })
}

fn is_left(hpas: &[HorizontalPodAutoscaler]) -> bool {
    let takes_none_away = |hpa: &HorizontalPodAutoscaler| {
        let down = hpa.spec.clone().and_then(|spec| spec.behavior?.scale_down?.select_policy);
        down.as_deref() == Some("Disabled")
    };
    hpas.len() == 1 && metrics(&hpas[0]) == ["cpu"] && takes_none_away(&hpas[0])
}

/// Changes annotations of the object.
pub(super) async fn annotate(scene: &Scene, annotations: serde_json::Value) {
    let api: Api<LoadAwareAutoscaler> = Api::namespaced(scene.client.clone(), SHOP);
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    api.patch(NAME, &PatchParams::default(), &patch).await.unwrap();
}

fn deletion(program: &Path) -> Result<(), Failed> {
    play(program, 3, 25.0, async |scene: &mut Scene| {
        let api: Api<LoadAwareAutoscaler> = Api::namespaced(scene.client.clone(), SHOP);
        let follows = |hpas: &[HorizontalPodAutoscaler]| {
            hpas.len() == 1 && metrics(&hpas[0]) == ["plimsoll-desired-replicas"]
        };
        scene.start_adapter();
        scene.apply(&autoscaler(NAME, json!({}))).await;
        until_hpas(scene, "an HPA follows", follows).await;
        api.delete(NAME, &DeleteParams::default()).await.unwrap();
        until_hpas(scene, "the HPA is left to its CPU", is_left).await;
        assert_eq!(scene.replicas(NAME).await, 3, "nothing is lowered");

        // It is taken up again, and then deleted while no adapter is there.
        scene.apply(&autoscaler(NAME, json!({}))).await;
        until_hpas(scene, "the HPA follows again", follows).await;
        scene.stop_adapter().await;
        api.delete(NAME, &DeleteParams::default()).await.unwrap();
        scene.start_adapter();
        until_hpas(scene, "the HPA is left to its CPU", is_left).await;

        scene.apply(&autoscaler(NAME, json!({"onDelete": "Delete"}))).await;
        let is_owned =
            |hpas: &[HorizontalPodAutoscaler]| follows(hpas) && !hpas[0].owner_references().is_empty();
        until_hpas(scene, "the HPA is its own", is_owned).await;
        scene.stop_adapter().await;
        api.delete(NAME, &DeleteParams::default()).await.unwrap();
        until_hpas(scene, "the HPA goes with its object", |hpas| hpas.is_empty()).await;
    })
}

/// How an object may be. `Reactive` acts as `Auto` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    mode: &'static str,
    actuation: &'static str,
    is_paused: bool,
}

impl State {
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for mode in ["Observe", "Auto", "ScaleUpOnly"] {
            for actuation in ["HPA", "Scale", "None"] {
                for is_paused in [false, true] {
                    all.push(Self { mode, actuation, is_paused });
                }
            }
        }
        all
    }

    fn object(self) -> LoadAwareAutoscaler {
        let mut object = autoscaler(NAME, json!({"mode": self.mode, "actuation": self.actuation}));
        if self.is_paused {
            object.annotations_mut().insert("plimsoll.dev/paused".into(), "true".into());
        }
        object
    }

    /// What `ScalingActive` says of it.
    fn reason(self) -> &'static str {
        match (self.mode, self.is_paused, self.actuation) {
            ("Observe", _, _) => "Observing",
            (_, true, _) => "Paused",
            (_, _, "HPA") => "HPAFollows",
            (_, _, "Scale") => "ScaleWritten",
            _ => "NoActuation",
        }
    }

    /// Whether the HPAs are those that it should have: one that follows, one that was left by a state before, or none.
    fn fits(self, hpas: &[HorizontalPodAutoscaler]) -> bool {
        match (self.mode, self.actuation) {
            ("Observe", _) | (_, "None") => hpas.is_empty() || is_left(hpas),
            (_, "Scale") => hpas.is_empty(),
            _ => {
                let policies = |hpa: &HorizontalPodAutoscaler| {
                    let behavior = hpa.spec.clone().and_then(|spec| spec.behavior).unwrap_or_default();
                    [behavior.scale_up, behavior.scale_down].map(|rules| {
                        rules.and_then(|rules| rules.select_policy).as_deref() == Some("Disabled")
                    })
                };
                let shut = [self.is_paused, self.is_paused || self.mode == "ScaleUpOnly"];
                hpas.len() == 1
                    && metrics(&hpas[0]) == ["plimsoll-desired-replicas"]
                    && policies(&hpas[0]) == shut
            }
        }
    }
}

/// A walk along every edge from each of so many states to each other, once.
fn walk(states: usize) -> Vec<usize> {
    let mut left: Vec<Vec<usize>> =
        (0..states).map(|from| (0..states).filter(|to| *to != from).collect()).collect();
    let (mut path, mut walk) = (vec![0], Vec::new());
    while let Some(at) = path.last().copied() {
        match left[at].pop() {
            Some(next) => path.push(next),
            None => walk.extend(path.pop()),
        }
    }
    walk
}

fn every_transition(program: &Path) -> Result<(), Failed> {
    play(program, 3, 25.0, async |scene: &mut Scene| {
        let api: Api<LoadAwareAutoscaler> = Api::namespaced(scene.client.clone(), SHOP);
        let states = State::all();
        scene.start_adapter();
        let scene = &*scene;
        let settled = async |state: State, before: Option<State>| {
            let look = async || {
                let status = scene.status(NAME).await;
                let condition = status.conditions.iter().find(|c| c.type_ == "ScalingActive")?;
                let generation = api.get(NAME).await.unwrap().metadata.generation;
                let is_told = condition.reason == state.reason() && status.observed_generation == generation;
                (is_told && state.fits(&scene.hpas().await)).then_some(())
            };
            scene.until(&format!("{before:?} → {state:?}"), look).await;
            assert_eq!(scene.replicas(NAME).await, 3, "{before:?} → {state:?}: the load takes three");
        };
        scene.apply(&states[1].object()).await;
        scene.until_condition("MetricsAvailable", "True", "LoadMeasured").await;

        let walk = walk(states.len());
        assert_eq!(walk.len(), states.len() * (states.len() - 1) + 1);
        let mut before = None;
        for state in walk.into_iter().map(|index| states[index]) {
            scene.apply(&state.object()).await;
            settled(state, before).await;
            before = Some(state);
        }

        for state in states {
            scene.apply(&state.object()).await;
            scene.until_condition("MetricsAvailable", "True", "LoadMeasured").await;
            settled(state, None).await;
            api.delete(NAME, &DeleteParams::default()).await.unwrap();
            let is_over = |hpas: &[HorizontalPodAutoscaler]| hpas.is_empty() || is_left(hpas);
            until_hpas(scene, &format!("{state:?} → deleted"), is_over).await;
            assert_eq!(scene.replicas(NAME).await, 3, "{state:?} → deleted");
        }
    })
}
