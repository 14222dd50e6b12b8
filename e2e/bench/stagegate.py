"""Stagegate, as shipped: `stagegate dev` with one worker. The scenarios' logs are off, so the access log is.

Names the binary by STAGEGATE_BIN (default: `stagegate` on the PATH). HTTPS only: the plain port redirects.
"""
import base64, json, os, shutil, subprocess

NAME = "stagegate"
FEATURES = {"tls", "h2"}
BIN = os.environ.get("STAGEGATE_BIN", "stagegate")


def missing(c):
    return None if shutil.which(BIN) else f"no {BIN}: build it, and name it in STAGEGATE_BIN"


def version(c):
    return subprocess.run([BIN, "--version"], capture_output=True, text=True).stdout.strip()


def config(c):
    def read(path):
        with open(path, "rb") as f:
            return base64.b64encode(f.read()).decode()

    operation = {"responses": {"200": {"description": "whatever the backend says"}}}
    meta = {"namespace": "default"}
    group = "stagegate.dev/v1alpha1"
    objects = [
        {"apiVersion": group, "kind": "ApiDefinition", "metadata": dict(meta, name="bench"), "spec": {
            "openapi": {"openapi": "3.0.3", "info": {"title": "bench", "version": "1"}, "paths": {
                prefix + "{proxy+}": {"x-amazon-apigateway-any-method": operation} for prefix in c.routes}},
            "backend": {"url": f"http://{c.upstream}"}}},
        {"apiVersion": group, "kind": "Stage", "metadata": dict(meta, name="bench"), "spec": {
            "apiRef": {"name": "bench"}, "hosts": [{"name": "*", "tls": {"secretName": "bench"}}]}},
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": dict(meta, name="bench"),
         "data": {"tls.crt": read(c.cert), "tls.key": read(c.key)}},
    ]
    c.write("manifests.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def command(c):
    return [BIN, "dev", "--workers", "1", "--access-log", "off",
            "--https", f"127.0.0.1:{c.tls_port}", "--http", f"127.0.0.1:{c.plain_port}",
            "--admin", f"127.0.0.1:{c.admin_port}", "--state", os.path.join(c.dir, "state"),
            os.path.join(c.dir, "manifests.json")]
