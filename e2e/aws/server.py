"""AWS services as moto answers them, behind a check of every signature with botocore's own signer.

Makes what the examples need, prints one line of JSON, and serves until its standard input ends.
"""

import hashlib
import io
import json
import sys
import threading
import zipfile

import boto3
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from moto.awslambda_simple.models import lambda_simple_backends
from moto.core.config import default_user_config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

ID, SECRET = "AKIDEXAMPLE", "an-example"
seen = []
# Of roles that were assumed: what moto's STS gave.
secrets = {ID: (SECRET, None)}


class Verifying:
    def __init__(self, inner):
        self.inner = inner

    def __call__(self, environ, start):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        problem, scope = self.check(environ, body)
        seen.append(scope)
        if problem:
            print(f"{environ['REQUEST_METHOD']} {environ['RAW_URI']}: {problem}", file=sys.stderr, flush=True)
            start("403 Forbidden", [("Content-Type", "text/plain")])
            return [problem.encode()]
        if scope and scope[1] == "sts":
            answer = b"".join(self.inner(environ, start))
            remember(answer)
            return [answer]
        return self.inner(environ, start)

    def check(self, environ, body):
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        if not authorization.startswith("AWS4-HMAC-SHA256 "):
            return "not signed", None
        fields = dict(part.strip().split("=", 1) for part in authorization.split(" ", 1)[1].split(","))
        key, _, region, service, _ = fields["Credential"].split("/")
        if key not in secrets:
            return f"unknown key {key}", None
        secret, token = secrets[key]
        headers = {}
        for name in fields["SignedHeaders"].split(";"):
            variable = name.upper().replace("-", "_")
            headers[name] = environ.get("HTTP_" + variable, environ.get(variable, ""))
        if token and headers.get("x-amz-security-token") != token:
            return "no session token", None
        hashed = headers.get("x-amz-content-sha256")
        if service == "s3" and hashed not in (hashlib.sha256(body).hexdigest(), "UNSIGNED-PAYLOAD"):
            if not (hashed or "").startswith("STREAMING-"):
                return "the payload's hash is wrong", None
        request = AWSRequest(
            environ["REQUEST_METHOD"], f"http://{environ['HTTP_HOST']}{environ['RAW_URI']}", headers, body
        )
        request.context["timestamp"] = environ["HTTP_X_AMZ_DATE"]
        signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(Credentials(key, secret), service, region)
        canonical = signer.canonical_request(request)
        if signer.signature(signer.string_to_sign(request, canonical), request) != fields["Signature"]:
            return f"the signature is wrong; canonical request:\n{canonical}", None
        return None, (key, service, region)


def remember(answer):
    import re

    text = answer.decode()
    found = [re.search(f"<{name}>(.*?)</{name}>", text) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
    if all(found):
        key, secret, token = (one.group(1) for one in found)
        secrets[key] = (secret, token)


def functions(client):
    """Functions that answer without a container: first what is queued here, then with their event."""
    default_user_config["lambda"]["use_docker"] = False
    trust = {"Version": "2012-10-17", "Statement": []}
    role = client("iam").create_role(RoleName="functions", AssumeRolePolicyDocument=json.dumps(trust))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("app.py", "")
    client("lambda").create_function(
        FunctionName="get-order",
        Runtime="python3.12",
        Role=role["Role"]["Arn"],
        Handler="app.handler",
        Code={"ZipFile": archive.getvalue()},
    )
    queue = lambda_simple_backends["123456789012"]["eu-west-1"].lambda_simple_results_queue
    queue.append(json.dumps({"statusCode": 201, "body": "a proxy's answer"}))


def main():
    app = Verifying(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"

    def client(service):
        config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})
        return boto3.client(
            service, "eu-west-1", endpoint_url=url, aws_access_key_id=ID, aws_secret_access_key=SECRET, config=config
        )

    client("sqs").create_queue(QueueName="orders")
    client("sns").create_topic(Name="notices")
    client("s3").create_bucket(Bucket="files", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client("dynamodb").create_table(
        TableName="items",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client("stepfunctions").create_state_machine(
        name="orders",
        definition=json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}}),
        roleArn="arn:aws:iam::123456789012:role/states",
    )
    functions(client)
    seen.clear()
    print(json.dumps({"url": url}), flush=True)
    # Each line asks what is known: {"queue": ["body", …], "executions": [input, …], "seen": [[key, service, region], …]}
    for _ in sys.stdin:
        calls = list(seen)
        queue = client("sqs")
        address = queue.get_queue_url(QueueName="orders")["QueueUrl"]
        received = queue.receive_message(QueueUrl=address, MaxNumberOfMessages=10).get("Messages", [])
        states = client("stepfunctions")
        machine = "arn:aws:states:eu-west-1:123456789012:stateMachine:orders"
        executions = states.list_executions(stateMachineArn=machine)["executions"]
        inputs = [states.describe_execution(executionArn=one["executionArn"])["input"] for one in executions]
        print(
            json.dumps({"queue": [one["Body"] for one in received], "executions": inputs, "seen": calls}), flush=True
        )
        seen.clear()


main()
