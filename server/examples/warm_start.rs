//! How long a call of a small function takes where it was called before: from the cluster's `call` to its outcome. Prints
//! quantiles in microseconds, as JSON.

use faasm_relay::cluster::embedded::{Embedded, EmbeddedConfig};
use faasm_relay::cluster::{Call, Cluster, Outcome};
use faasm_relay::store::Stores;
use std::time::Instant;

const CALLS: usize = 20_000;

/// Before it is measured, calls are made until everything is where it stays.
const WARM: usize = 2_000;

/// Reads its input and answers it.
const HELLO: &str = r#"(module
  (import "env" "__faasm_read_input" (func $read (param i32 i32) (result i32)))
  (import "env" "__faasm_write_output" (func $write (param i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "Hello, ")
  (func (export "_start")
    (call $write (i32.const 16) (i32.add (i32.const 7) (call $read (i32.const 23) (i32.const 1000))))))"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cluster = Embedded::new(EmbeddedConfig::default(), Stores::in_memory()?)?;
    cluster.upload("ada".into(), "hello".into(), wat::parse_str(HELLO)?).await?;
    let mut times = Vec::with_capacity(CALLS);
    for call in 0..WARM + CALLS {
        let began = Instant::now();
        let outcome = cluster.call(Call::new("ada", "hello", b"Ada".to_vec())).await?;
        let took = began.elapsed();
        match outcome {
            Outcome::Returned(result) if result.output == b"Hello, Ada" => {}
            other => return Err(format!("a call ended with {other:?}").into()),
        }
        if call >= WARM {
            times.push(took.as_nanos() as f64 / 1000.0);
        }
    }
    times.sort_by(f64::total_cmp);
    let quantile = |quantile: f64| times[((CALLS - 1) as f64 * quantile) as usize];
    let quantiles: serde_json::Map<_, _> = [0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0]
        .into_iter()
        .map(|at| (format!("p{}", at * 100.0), quantile(at).into()))
        .collect();
    println!("{}", serde_json::Value::from(quantiles));
    Ok(())
}
