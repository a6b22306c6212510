//! Manifests, as kubectl reads and applies them.

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{self, ApiCapabilities, Scope};
use kube::{Client, ResourceExt};

/// The objects of a YAML stream, in its order.
pub(crate) fn documents(text: &str) -> Vec<DynamicObject> {
    let is_content = |line: &str| !line.trim().is_empty() && !line.starts_with('#');
    let texts = text.split("\n---\n").filter(|text| text.lines().any(is_content));
    let object = |text: &str| {
        let value: serde_json::Value = serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        serde_json::from_value(value).unwrap_or_else(|e| panic!("{e}\n{text}"))
    };
    texts.map(object).collect()
}

/// What an object is, for people.
pub(crate) fn name(object: &DynamicObject) -> String {
    let types = object.types.as_ref().unwrap();
    format!("{} {}", types.kind, object.name_any())
}

/// Applies an object as kubectl does with `--server-side --validate=strict`; or only asks whether it could be.
pub(crate) async fn apply(
    client: &Client,
    object: &DynamicObject,
    dry_run: bool,
) -> kube::Result<DynamicObject> {
    let params = PatchParams { dry_run, ..PatchParams::apply("an-operator").validation_strict() };
    api(client, object).await.patch(&object.name_any(), &params, &Patch::Apply(object)).await
}

/// The object as it is in the cluster.
pub(crate) async fn get(client: &Client, object: &DynamicObject) -> Option<DynamicObject> {
    api(client, object).await.get_opt(&object.name_any()).await.unwrap()
}

/// Deletes it, and what is its own after it.
pub(crate) async fn delete(client: &Client, object: &DynamicObject) {
    let params = DeleteParams::background();
    api(client, object).await.delete(&object.name_any(), &params).await.unwrap();
}

async fn api(client: &Client, object: &DynamicObject) -> Api<DynamicObject> {
    let types = object.types.clone().unwrap();
    let kind = GroupVersionKind::try_from(types).unwrap();
    let (resource, ApiCapabilities { scope, .. }): (ApiResource, _) =
        discovery::pinned_kind(client, &kind).await.unwrap_or_else(|e| panic!("{}: {e}", name(object)));
    match scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => Api::namespaced_with(client.clone(), &object.namespace().unwrap(), &resource),
    }
}
