"""Calls the function through Amazon's SDK and prints what came of it, one JSON value a line."""

import base64, json, sys

import boto3
from botocore.config import Config

client = boto3.client(
    "lambda",
    endpoint_url=sys.argv[1],
    region_name="us-east-1",
    aws_access_key_id="x",
    aws_secret_access_key="x",
    config=Config(retries={"total_max_attempts": 1}),
)


def show(value):
    print(json.dumps(value), flush=True)


def invoke(name="get-order", **arguments):
    answer = client.invoke(FunctionName=name, **arguments)
    log = base64.b64decode(answer["LogResult"]).decode() if "LogResult" in answer else None
    payload = answer["Payload"].read()
    return {
        "status": answer["StatusCode"],
        "error": answer.get("FunctionError"),
        "version": answer.get("ExecutedVersion"),
        "payload": json.loads(payload) if payload else None,
        "log": log,
    }


def refused(**arguments):
    try:
        return invoke(**arguments)
    except client.exceptions.ClientError as error:
        return {"status": error.response["ResponseMetadata"]["HTTPStatusCode"], "code": error.response["Error"]["Code"]}


show(invoke(Payload=b'{"pathParameters": {"id": "7"}}', LogType="Tail"))
show(invoke(Payload=b'{"raise": "boom"}'))
show(invoke(name="arn:aws:lambda:us-east-1:123456789012:function:get-order", Qualifier="live", Payload=b'{"arn": true}'))
show(invoke(Payload=b"{}", InvocationType="Event"))
show(invoke(Payload=b"{}", InvocationType="DryRun"))
show(refused(Payload=b"not json"))
show(refused(Payload=b'"' + b"x" * (6 * 1024 * 1024) + b'"'))
stream = client.invoke_with_response_stream(FunctionName="get-order", Payload=b'{"pathParameters": {"id": "7"}}', LogType="Tail")
show([
    event["PayloadChunk"]["Payload"].decode() if "PayloadChunk" in event else sorted(event["InvokeComplete"])
    for event in stream["EventStream"]
])
stream = client.invoke_with_response_stream(FunctionName="get-order", Payload=b'{"raise": "boom"}')
show([event.get("InvokeComplete", {}).get("ErrorCode") for event in stream["EventStream"]])
