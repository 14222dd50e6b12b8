"""Stagegate, as shipped: `stagegate dev` with one worker. The scenarios' logs are off, so the access log is.

Names the binary by STAGEGATE_BIN (default: `stagegate` on the PATH). It serves HTTPS only. The harness asks its checking
questions over plain HTTP too, so a few lines here put TLS around those; no plain cell is measured. They begin to listen when
the gateway is ready, which is what the harness waits for.
"""
import base64, http.server, json, os, shutil, ssl, subprocess, threading, time, urllib.error, urllib.request

NAME = "stagegate"
FEATURES = {"tls", "h2"}
BIN = os.environ.get("STAGEGATE_BIN", "stagegate")


def missing(c):
    return None if shutil.which(BIN) else f"no {BIN}: build it, and name it in STAGEGATE_BIN"


def version(c):
    return subprocess.run([BIN, "--version"], capture_output=True, text=True).stdout.strip()


def config(c):
    operation = {"responses": {"200": {"description": "whatever the backend says"}}}
    # An HTTP API: what is not there is a 404, as the harness wants it, not a REST API's 403.
    write(c, {"openapi": "3.0.3", "info": {"title": "bench", "version": "1"}, "x-amazon-apigateway-importexport-version": "1.0",
              "paths": {prefix + "{proxy+}": {"x-amazon-apigateway-any-method": operation} for prefix in c.routes}})


def write(c, document):
    """Writes the manifests of an API with this document, under every host."""
    def read(path):
        with open(path, "rb") as f:
            return base64.b64encode(f.read()).decode()

    meta = {"namespace": "default"}
    group = "stagegate.dev/v1alpha1"
    objects = [
        {"apiVersion": group, "kind": "ApiDefinition", "metadata": dict(meta, name="bench"), "spec": {
            "openapi": document, "backend": {"url": f"http://{c.upstream}"}}},
        {"apiVersion": group, "kind": "Stage", "metadata": dict(meta, name="bench"), "spec": {
            "apiRef": {"name": "bench"}, "hosts": [{"name": "*", "tls": {"secretName": "bench"}}]}},
        {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": dict(meta, name="bench"),
         "data": {"tls.crt": read(c.cert), "tls.key": read(c.key)}},
    ]
    c.write("manifests.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def answer_checks(c):
    """Serves the plain port from the HTTPS port, once the gateway is ready."""
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{c.admin_port}/readyz", timeout=2).close()
            break
        except OSError:
            time.sleep(0.1)
    trust = ssl._create_unverified_context()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = urllib.request.Request(f"https://127.0.0.1:{c.tls_port}{self.path}", body or None, method=self.command)
            try:
                answer = urllib.request.urlopen(asked, context=trust, timeout=10)
            except urllib.error.HTTPError as refused:
                answer = refused
            data = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    http.server.ThreadingHTTPServer(("127.0.0.1", c.plain_port), Handler).serve_forever()


def command(c):
    threading.Thread(target=answer_checks, args=(c,), daemon=True).start()
    return [BIN, "dev", "--workers", "1", "--access-log", "off", "--https", f"127.0.0.1:{c.tls_port}",
            "--admin", f"127.0.0.1:{c.admin_port}", "--state", os.path.join(c.dir, "state"),
            os.path.join(c.dir, "manifests.json")]
