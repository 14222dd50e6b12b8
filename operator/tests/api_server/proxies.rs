//! Pods of a gateway that say what they have loaded: servers of these tests, since no pod runs here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bundle::object::{Index, Subject};
use serde_json::{Value, json};

use crate::support::{Rig, api, stage};

/// A pod that is ready, with a server behind it.
pub(crate) struct Pod(Arc<Mutex<Value>>);

impl Pod {
    /// Of the rig's gateway, whose `adminPort` this is.
    pub(crate) fn start(rig: &Rig, name: &str, port: u16, formats: &[u32]) -> Self {
        let state = json!({"instance": name, "changes": 1, "full": true, "loaded": true, "formats": formats,
                           "stages": [], "hosts": [], "gone": {"stages": [], "hosts": []}});
        let state = Arc::new(Mutex::new(state));
        let (cluster, said) = (rig.cluster, Arc::clone(&state));
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            cluster.enter().unwrap();
            let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
            tell.send(()).unwrap();
            for stream in listener.incoming() {
                let said = Arc::clone(&said);
                std::thread::spawn(move || drop(answer(stream.unwrap(), &said)));
            }
        });
        told.recv().unwrap();
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "proxy"}},
                         "spec": {"containers": [{"name": "proxy", "image": "none"}]}});
        rig.wait("its service account", |rig| !rig.kubectl(&["get", "sa", "default", "--ignore-not-found"]).is_empty());
        rig.apply(&pod.to_string());
        let status = json!({"status": {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}],
                                       "conditions": [{"type": "Ready", "status": "True"}]}});
        rig.kubectl(&["patch", "pod", name, "--subresource=status", "-p", &status.to_string()]);
        Self(state)
    }

    /// Says something else from now on.
    pub(crate) fn say(&self, change: impl FnOnce(&mut Value)) {
        let mut state = self.0.lock().unwrap();
        change(&mut state);
        state["changes"] = (state["changes"].as_u64().unwrap() + 1).into();
    }

    /// Has loaded everything that is delivered.
    pub(crate) fn load(&self, rig: &Rig) {
        let indexes: Vec<Index> = rig
            .list("secret", "stagegate.dev/bundle")
            .iter()
            .filter_map(|secret| secret["data"]["index"].as_str().map(str::to_owned))
            .map(|text| {
                let bytes: k8s_openapi::ByteString = serde_json::from_value(text.into()).unwrap();
                serde_json::from_slice(&bytes.0).unwrap()
            })
            .collect();
        self.say(|state| {
            let (mut stages, mut hosts) = (Vec::new(), Vec::new());
            for index in indexes {
                match index.subject {
                    Subject::Stage(key) => {
                        stages.push(json!({"namespace": key.namespace, "name": key.name, "digest": index.digest}));
                    }
                    Subject::Host(host) => hosts.push(json!({"host": host, "digest": index.digest})),
                    Subject::Plan(_) | Subject::Keys(_) => {}
                }
            }
            (state["stages"], state["hosts"]) = (stages.into(), hosts.into());
        });
    }
}

fn answer(mut stream: TcpStream, said: &Mutex<Value>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut field = String::new();
        while reader.read_line(&mut field)? > 2 {
            field.clear();
        }
        let began = Instant::now();
        let current = |state: &Value| {
            let known = format!("since={}&instance={} ", state["changes"], state["instance"].as_str().unwrap());
            line.contains(&known)
        };
        while current(&said.lock().unwrap()) && began.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let body = said.lock().unwrap().to_string();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    }
}

#[test]
fn nothing_is_delivered_that_a_proxy_cannot_read_and_it_is_named() {
    let Some(mut rig) = Rig::new("formats", 19400) else { return };
    rig.configure(&rig.gateway("default", "  adminPort: 19450\n"));
    let pod = Pod::start(&rig, "proxy-a", 19450, &[bundle::FORMAT]);
    rig.operator("a");
    rig.apply(&(api("orders", "/a") + &stage("prod", "orders", "")));
    rig.wait_live("prod", 1);
    rig.wait_condition("prod", "Programmed=False Waiting");
    pod.load(&rig);
    rig.wait_condition("prod", "Programmed=True Programmed");
    assert_eq!(rig.stage("prod").2["status"]["proxies"], json!({"ready": 1, "total": 1}));

    pod.say(|state| state["formats"] = json!([97, 98]));
    rig.wait_condition("prod", "Programmed=False NotDelivered");
    let before = rig.versions();
    rig.apply(&api("orders", "/b"));
    rig.wait("a snapshot", |rig| rig.list("configmap", "stagegate.dev/deployment=2").len() == 1);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(rig.versions(), before);
    let message = rig.stage("prod").2["status"]["conditions"].to_string();
    assert!(message.contains("proxy-a reads 97, 98"), "{message}");

    pod.say(|state| state["formats"] = json!([bundle::FORMAT, bundle::FORMAT + 1]));
    rig.wait_live("prod", 2);
    pod.load(&rig);
    rig.wait_condition("prod", "Programmed=True Programmed");
}
