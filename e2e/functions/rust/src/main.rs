//! Echoes its event; with `{"fail": "…"}` it fails, with `{"stream": N}` it streams N chunks.
use lambda_runtime::streaming::{Body, Response, channel};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if std::env::var("RUST_HANDLER").as_deref() == Ok("stream") {
        return lambda_runtime::run(service_fn(stream)).await;
    }
    lambda_runtime::run(service_fn(echo)).await
}

async fn echo(event: LambdaEvent<Value>) -> Result<Value, Error> {
    if let Some(reason) = event.payload.get("fail").and_then(Value::as_str) {
        return Err(reason.into());
    }
    Ok(serde_json::json!({"echo": event.payload, "requestId": event.context.request_id}))
}

async fn stream(event: LambdaEvent<Value>) -> Result<Response<Body>, Error> {
    let (mut sender, body) = channel();
    let chunks = event.payload.get("chunks").and_then(Value::as_u64).unwrap_or(3);
    let fail = event.payload.get("fail").is_some();
    tokio::spawn(async move {
        for chunk in 0..chunks {
            if sender.send_data(format!("chunk {chunk}\n").into()).await.is_err() {
                return;
            }
        }
        if fail {
            sender.abort();
        }
    });
    Ok(Response::from(body))
}
