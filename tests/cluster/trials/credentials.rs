//! Pods that tell their metrics only over TLS and to who shows a token: they are read with what the owner of the namespace granted, and nothing
//! that was not granted is read, or shown to anybody.

use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use libtest_mimic::Failed;
use rcgen::CertificateParams;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use super::asking::{ask, check};
use super::installed::{INSTALL, account};
use crate::authorities::Ca;
use crate::load::Door;
use crate::objects::{NAME, SHOP, autoscaler};
use crate::scene::{Scene, play};
use crate::{Named, manifest};

pub(super) const TRIALS: &[Named] = &[(
    "pods that ask who reads them are read with what was granted, and nothing else is read or shown",
    granted,
)];

const TOKEN: &str = "the-shops-token";
const NEXT_TOKEN: &str = "the-shops-next-token";
const NOT_FOR_PODS: &str = "the-password-of-the-database";

fn granted(program: &Path) -> Result<(), Failed> {
    play(program, 3, 55.0, async |scene: &mut Scene| {
        let (ca, another) = (Ca::new("shop"), Ca::new("another"));
        let door =
            |token: &str| Door { tls: certificate("checkout.default.svc", &ca), token: token.to_owned() };
        scene.load.shut(door(TOKEN));
        for object in manifest::documents(INSTALL) {
            let kind = object.types.as_ref().unwrap().kind.clone();
            if kind == "ServiceAccount" || kind.contains("Role") {
                manifest::apply(&scene.client, &object, false).await.unwrap();
            }
        }
        let client = Client::try_from(account(scene).await).unwrap();
        scene.start_adapter_as(scene.options(), client);
        put_secret(scene, "checkout-metrics", TOKEN).await;
        put_secret(scene, "database", NOT_FOR_PODS).await;
        scene.apply(&reading("checkout-metrics")).await;

        // Each thing that is missing is said with what to do, one after the other; nothing is asked of pods meanwhile.
        said(scene, "may not read the ConfigMap checkout-ca. To grant it: kubectl -n default create role")
            .await;
        let (_, asked) = ask(scene, &["preflight", NAME]);
        assert!(check(&asked, "credentials").contains("may not read the ConfigMap checkout-ca"), "{asked}");
        grant(scene, "configmaps", "checkout-ca").await;
        said(scene, "there is no ConfigMap \"checkout-ca\" in namespace default").await;
        put_authority(scene, &another).await;
        said(scene, "may not read the Secret checkout-metrics. To grant it: kubectl -n default create role")
            .await;
        assert!(scene.load.shown().is_empty());
        grant(scene, "secrets", "checkout-metrics").await;
        // Now it knocks, and does not believe who opens.
        said(scene, "no connection over TLS: its certificate is signed by nobody who is trusted").await;
        scene.pass_intervals(4, async || {}).await;
        assert!(scene.load.shown().is_empty(), "a token is shown to whom nobody vouches for");
        assert_eq!(scene.replicas(NAME).await, 3, "what is not known moves nothing");

        put_authority(scene, &ca).await;
        scene.until_condition("Ready", "True", "Deciding").await;
        scene.until_replicas(6).await;
        let (_, asked) = ask(scene, &["preflight", NAME]);
        for what in ["credentials", "adapter's rights", "histogram"] {
            assert!(check(&asked, what).starts_with("ok "), "{asked}");
        }

        // A token is exchanged: within a minute the new one is shown.
        scene.load.shut(door(NEXT_TOKEN));
        put_secret(scene, "checkout-metrics", NEXT_TOKEN).await;
        scene.load.set(75.0);
        scene.until_replicas(8).await;

        // A right that is withdrawn is not used on: replicas stay.
        let bindings: Api<RoleBinding> = Api::namespaced(scene.client.clone(), SHOP);
        bindings.delete("plimsoll-secrets-checkout-metrics", &DeleteParams::default()).await.unwrap();
        said(scene, "may not read the Secret checkout-metrics").await;
        // What was being read at that moment may come to its end.
        scene.pass_intervals(2, async || {}).await;
        let (shown, held) = (scene.load.shown().len(), scene.replicas(NAME).await);
        scene.load.set(25.0);
        scene.pass_intervals(6, async || {}).await;
        assert_eq!(scene.load.shown().len(), shown, "pods are read with what was withdrawn");
        assert_eq!(scene.replicas(NAME).await, held);

        // Who may write objects does not get other Secrets shown to pods.
        scene.apply(&reading("database")).await;
        said(scene, "may not read the Secret database").await;
        scene.pass_intervals(2, async || {}).await;
        // Nor in the name of a person who may read them, and asks what is wrong.
        let (_, asked) = ask(scene, &["preflight", NAME]);
        assert!(asked.contains("may not read the Secret database"), "{asked}");
        assert!(check(&asked, "metrics page").starts_with("? "), "{asked}");
        let seen = scene.load.shown();
        assert_eq!(seen.len(), shown);
        assert!(
            seen.iter()
                .all(|seen| seen == &format!("Bearer {TOKEN}") || seen == &format!("Bearer {NEXT_TOKEN}"))
        );
    })
}

/// An object whose pods ask for a token that is in the Secret `secret`.
fn reading(secret: &str) -> plimsoll_adapter::resource::LoadAwareAutoscaler {
    let scrape = json!({
        "scheme": "HTTPS",
        "tlsConfig": {
            "ca": {"configMap": {"name": "checkout-ca", "key": "ca.crt"}},
            "serverName": "checkout.default.svc",
        },
        "authorization": {"credentials": {"name": secret, "key": "token"}},
    });
    let load = json!({
        "histogram": "http_request_duration_seconds",
        "source": {"scrape": scrape},
        "weights": {"fixed": {"edges": [0.1], "weights": [1, 5]}},
    });
    autoscaler(NAME, json!({"load": load}))
}

async fn said(scene: &Scene, text: &str) {
    scene.until_message("MetricsAvailable", text).await;
}

/// What the condition's message tells people to do.
async fn grant(scene: &Scene, resource: &str, name: &str) {
    let role = format!("plimsoll-{resource}-{name}");
    let rules =
        json!([{"apiGroups": [""], "resources": [resource], "resourceNames": [name], "verbs": ["get"]}]);
    let made: Role = of(json!({"metadata": {"name": role}, "rules": rules}));
    Api::namespaced(scene.client.clone(), SHOP).create(&PostParams::default(), &made).await.unwrap();
    let bound: RoleBinding = of(json!({
        "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "plimsoll-adapter", "namespace": "plimsoll-system"}],
    }));
    Api::namespaced(scene.client.clone(), SHOP).create(&PostParams::default(), &bound).await.unwrap();
}

async fn put_secret(scene: &Scene, name: &str, token: &str) {
    let secret: Secret = of(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name}, "stringData": {"token": token},
    }));
    let api: Api<Secret> = Api::namespaced(scene.client.clone(), SHOP);
    api.patch(&secret.name_any(), &PatchParams::apply("a-user").force(), &Patch::Apply(&secret))
        .await
        .unwrap();
}

async fn put_authority(scene: &Scene, ca: &Ca) {
    let map: ConfigMap = of(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "checkout-ca"}, "data": {"ca.crt": ca.pem},
    }));
    let api: Api<ConfigMap> = Api::namespaced(scene.client.clone(), SHOP);
    api.patch(&map.name_any(), &PatchParams::apply("a-user").force(), &Patch::Apply(&map)).await.unwrap();
}

fn of<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn certificate(name: &str, by: &Ca) -> TlsAcceptor {
    let (chain, key) = by.issue(CertificateParams::new(vec![name.to_owned()]).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()))
}
