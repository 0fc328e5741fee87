//! The planner's messages: Protobuf in its JSON form. Responses omit default values, requests encode bytes in base64,
//! and `payload` is a string that contains JSON.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;

/// A request.
#[derive(Serialize)]
struct Envelope<'a> {
    http_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
}

/// One call.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    pub(super) id: i32,
    #[serde(rename = "appId")]
    pub(super) app: i32,
    pub(super) user: &'a str,
    pub(super) function: &'a str,
    /// Base64.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) input_data: &'a str,
    #[serde(rename = "funcPtr", skip_serializing_if = "is_zero")]
    pub(super) pointer: i32,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) cmdline: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) record_exec_graph: bool,
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Calls that start together or not at all: at least one, since an empty batch never ends, and no threads.
#[derive(Serialize)]
struct Batch<'a> {
    #[serde(rename = "appId")]
    app: i32,
    user: &'a str,
    function: &'a str,
    messages: [Message<'a>; 1],
}

#[derive(Serialize)]
struct App {
    #[serde(rename = "appId")]
    app: i32,
}

fn envelope(http_type: &'static str, payload: Option<&str>) -> serde_json::Result<Bytes> {
    Ok(serde_json::to_vec(&Envelope { http_type, payload })?.into())
}

/// Body of the request that starts a call.
pub(super) fn execute(message: Message<'_>) -> serde_json::Result<Bytes> {
    let Message { app, user, function, .. } = message;
    let batch = Batch { app, user, function, messages: [message] };
    envelope("EXECUTE_BATCH", Some(&serde_json::to_string(&batch)?))
}

/// Body of the status request of an app.
pub(super) fn status(app: i32) -> serde_json::Result<Bytes> {
    envelope("EXECUTE_BATCH_STATUS", Some(&serde_json::to_string(&App { app })?))
}

/// Body of a request without parameters.
pub(super) fn plain(http_type: &'static str) -> serde_json::Result<Bytes> {
    envelope(http_type, None)
}

/// Status of an app.
#[derive(Debug, Deserialize)]
pub(super) struct Results<'a> {
    #[serde(rename = "appId", default)]
    pub(super) app: i32,
    /// No call of the app runs any more.
    #[serde(default)]
    pub(super) finished: bool,
    /// Calls that have ended so far.
    #[serde(rename = "messageResults", default, borrow)]
    pub(super) ended: Vec<Ended<'a>>,
}

/// A call that has ended. The response also contains its input, which is skipped.
#[derive(Debug, Deserialize)]
pub(super) struct Ended<'a> {
    #[serde(default)]
    pub(super) id: i32,
    #[serde(default, borrow)]
    pub(super) user: Cow<'a, str>,
    #[serde(default, borrow)]
    pub(super) function: Cow<'a, str>,
    #[serde(rename = "returnValue", default)]
    pub(super) return_value: i32,
    /// Plain text, not base64.
    #[serde(default, borrow)]
    pub(super) output_data: Cow<'a, str>,
}

/// Response to a batch that the planner started.
#[derive(Debug, Deserialize)]
pub(super) struct Started {
    #[serde(rename = "appId", default)]
    pub(super) app: i32,
}

/// An app with calls that have not ended.
#[derive(Debug, Deserialize)]
pub(super) struct Running {
    #[serde(rename = "appId", default)]
    pub(super) app: i32,
    /// Workers on which the calls run, possibly with duplicates.
    #[serde(rename = "hostIps", default)]
    pub(super) hosts: Vec<String>,
}

/// The workers.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Hosts {
    #[serde(default)]
    pub(super) hosts: Vec<Host>,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Host {
    #[serde(default)]
    pub(super) ip: String,
    #[serde(default)]
    pub(super) slots: i64,
    /// Negative after the planner was restarted or reset while calls ran.
    #[serde(rename = "usedSlots", default)]
    pub(super) used: i64,
    /// Its last heartbeat.
    #[serde(rename = "registerTs", default)]
    pub(super) registered: Stamp,
}

/// A timestamp of the planner's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Stamp {
    /// Milliseconds since 1970 as a string, which is Protobuf's JSON form of 64-bit integers.
    #[serde(rename = "epochMs", default)]
    epoch_ms: serde_json::Value,
}

impl Stamp {
    pub(super) fn milliseconds(&self) -> Option<i64> {
        let value = &self.epoch_ms;
        value.as_i64().or_else(|| value.as_str()?.parse().ok())
    }

    #[cfg(test)]
    pub(super) fn of(milliseconds: i64) -> Self {
        Self { epoch_ms: milliseconds.to_string().into() }
    }
}

/// Apps with calls that have not ended.
#[derive(Debug, Default, Deserialize)]
pub(super) struct InFlight {
    #[serde(default)]
    pub(super) apps: Vec<Running>,
}

/// Response to `GET_CONFIG`.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct PlannerConfig {
    #[serde(default)]
    pub(super) ip: String,
    /// Seconds.
    #[serde(rename = "hostTimeout", default)]
    pub(super) host_timeout: i64,
    #[serde(rename = "numThreadsHttpServer", default)]
    pub(super) threads: i64,
    /// All other fields, to distinguish this response from others.
    #[serde(flatten)]
    pub(super) rest: HashMap<String, serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_as_the_planner_takes_it() {
        let message = Message {
            id: 1001,
            app: 1000,
            user: "demo",
            function: "echo",
            input_data: "aGVsbG8gd29ybGQ=",
            pointer: 0,
            cmdline: "",
            record_exec_graph: false,
        };
        let body = execute(message).unwrap();
        let expected = r#"{"http_type":"EXECUTE_BATCH","payload":"{\"appId\":1000,\"user\":\"demo\",\"function\":\"echo\",\"messages\":[{\"id\":1001,\"appId\":1000,\"user\":\"demo\",\"function\":\"echo\",\"input_data\":\"aGVsbG8gd29ybGQ=\"}]}"}"#;
        assert_eq!(body, expected.as_bytes());
        let body = status(1000).unwrap();
        let expected = r#"{"http_type":"EXECUTE_BATCH_STATUS","payload":"{\"appId\":1000}"}"#;
        assert_eq!(body, expected.as_bytes());
        assert_eq!(plain("GET_CONFIG").unwrap(), &br#"{"http_type":"GET_CONFIG"}"#[..]);
    }

    #[test]
    fn defaults_are_left_out_in_answers() {
        let observed = r#"{"appId":1000,"finished":true,"messageResults":[{"id":1001,"appId":1000,"user":"demo","function":"echo","input_data":"aGVsbG8gd29ybGQ=","output_data":"hello world","start_ts":"1795155228073","executedHost":"10.77.0.3","finish_ts":"1795155228074","groupId":2124665291},{"id":1002}]}"#;
        let results: Results<'_> = serde_json::from_str(observed).unwrap();
        assert_eq!((results.app, results.finished, results.ended.len()), (1000, true, 2));
        let [first, second] = results.ended.as_slice() else { panic!("two") };
        assert_eq!((first.return_value, &*first.output_data), (0, "hello world"));
        assert_eq!((second.id, &*second.output_data), (1002, ""));
        let partial: Results<'_> = serde_json::from_str(r#"{"appId":2000}"#).unwrap();
        assert!(!partial.finished && partial.ended.is_empty());
        let busy = r#"{"hosts":[{"ip":"10.77.0.3","slots":4,"usedSlots":1,"registerTs":{"epochMs":"1"},"mpiPorts":[{"port":8020}]}]}"#;
        let busy: Hosts = serde_json::from_str(busy).unwrap();
        let registered = Stamp::of(1);
        assert_eq!(busy.hosts, [Host { ip: "10.77.0.3".into(), slots: 4, used: 1, registered }]);
        let odd: Hosts =
            serde_json::from_str(r#"{"hosts":[{"registerTs":{"epochMs":[]}}]}"#).unwrap();
        assert_eq!(odd.hosts[0].registered.milliseconds(), None);
        assert!(serde_json::from_str::<Hosts>("{}").unwrap().hosts.is_empty());
        let running = r#"{"apps":[{"appId":1120,"hostIps":["10.77.0.3"]}]}"#;
        let running: InFlight = serde_json::from_str(running).unwrap();
        assert_eq!(
            (running.apps[0].app, &running.apps[0].hosts[..]),
            (1120, &["10.77.0.3".to_owned()][..])
        );
    }
}
