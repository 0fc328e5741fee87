//! The messages of a planner: Protobuf in JSON form, which rejects unknown keys and omits defaults.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

/// Kinds of requests by name.
pub(crate) const KINDS: &[&str] = &[
    "RESET",
    "FLUSH_SCHEDULING_STATE",
    "FLUSH_EXECUTORS",
    "GET_AVAILABLE_HOSTS",
    "GET_CONFIG",
    "GET_IN_FLIGHT_APPS",
    "EXECUTE_BATCH",
    "EXECUTE_BATCH_STATUS",
    "SET_POLICY",
];

/// A received request, for tests to inspect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub kind: String,
    /// App of the request, if it names one.
    pub app: Option<i32>,
    pub payload: String,
}

/// The outer message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Envelope {
    #[serde(default)]
    pub(crate) http_type: Value,
    #[serde(default)]
    pub(crate) payload: String,
}

/// A batch.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    #[serde(rename = "appId", default)]
    pub(crate) app: i32,
    #[serde(default)]
    pub(crate) user: String,
    #[serde(default)]
    pub(crate) function: String,
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) messages: Vec<Message>,
}

/// A call and its result.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) id: i32,
    #[serde(rename = "appId", default, skip_serializing_if = "is_zero")]
    pub(crate) app: i32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) user: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) function: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "Base64")]
    pub(crate) input_data: Vec<u8>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) output_data: String,
    #[serde(rename = "funcPtr", default, skip_serializing_if = "is_zero")]
    pub(crate) pointer: i32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) cmdline: String,
    #[serde(rename = "returnValue", default, skip_serializing_if = "is_zero")]
    pub(crate) return_value: i32,
    /// 64 bits, which JSON represents as a string.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) start_ts: String,
    #[serde(rename = "executedHost", default, skip_serializing_if = "String::is_empty")]
    pub(crate) host: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) finish_ts: String,
    #[serde(rename = "groupId", default, skip_serializing_if = "is_zero")]
    pub(crate) group: i32,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) record_exec_graph: bool,
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Bytes in JSON are base64.
struct Base64;

impl Base64 {
    fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}

/// The app of a status request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Status {
    #[serde(rename = "appId", default)]
    pub(crate) app: i32,
}

/// The status report of an app.
pub(crate) fn results<'a>(
    app: i32,
    finished: bool,
    results: impl Iterator<Item = &'a Message>,
) -> Value {
    let mut answer = json!({});
    if app != 0 {
        answer["appId"] = app.into();
    }
    if finished {
        answer["finished"] = true.into();
    }
    let results: Vec<Value> =
        results.map(|message| serde_json::to_value(message).unwrap_or_default()).collect();
    if !results.is_empty() {
        answer["messageResults"] = results.into();
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_protobuf_reads_them() {
        let batch: Batch = serde_json::from_str(
            r#"{"appId":1,"messages":[{"id":2,"input_data":"aGVsbG8=","funcPtr":3}]}"#,
        )
        .unwrap();
        assert_eq!(
            (&batch.messages[0].input_data[..], batch.messages[0].pointer),
            (&b"hello"[..], 3)
        );
        for bad in [r#"{"app":1}"#, r#"{"messages":[{"input_data":"%"}]}"#, r#"{"appId":"x"}"#] {
            assert!(serde_json::from_str::<Batch>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn defaults_are_left_out() {
        let message = Message { id: 7, ..Message::default() };
        let text = results(5, false, [message].iter()).to_string();
        assert_eq!(text, r#"{"appId":5,"messageResults":[{"id":7}]}"#);
    }
}
