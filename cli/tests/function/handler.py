"""A Lambda runtime client on Python's standard library alone, with a handler that does what its event says."""
import base64, http.client, json, os, signal, subprocess, sys, time

api = os.environ["AWS_LAMBDA_RUNTIME_API"]
runtime = "/2018-06-01/runtime/"


def call(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection(api)
    connection.request(method, runtime + path, body, headers)
    answer = connection.getresponse()
    return answer, answer.read()


def init():
    mode = os.environ.get("INIT", "")
    print("init", mode, flush=True)
    if mode == "exit":
        sys.exit(3)
    if mode == "hang":
        time.sleep(60)
    if mode == "fail" and not os.path.exists(os.environ.get("MENDED", "")):
        error = {"errorMessage": "no module", "errorType": "Runtime.ImportModuleError", "stackTrace": []}
        call("POST", "init/error", json.dumps(error), {"Lambda-Runtime-Function-Error-Type": error["errorType"]})
        sys.exit(1)
    time.sleep(float(os.environ.get("INIT_SECONDS", "0")))


def stream(id, event):
    connection = http.client.HTTPConnection(api)
    connection.putrequest("POST", runtime + f"invocation/{id}/response")
    connection.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
    connection.putheader("Content-Type", "text/plain")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.putheader("Trailer", "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body")
    connection.endheaders()
    for chunk in event["chunks"]:
        connection.send(b"%x\r\n%s\r\n" % (len(chunk), chunk.encode()))
        time.sleep(event.get("pause", 0))
    end = event.get("end", "well")
    if end == "exit":
        os._exit(7)
    if end == "hang":
        time.sleep(60)
    if end == "break":
        return connection.close()
    trailers = b""
    if end == "error":
        error = base64.b64encode(b'{"errorMessage":"midway","errorType":"Midway"}')
        trailers = b"Lambda-Runtime-Function-Error-Type: Midway\r\nLambda-Runtime-Function-Error-Body: " + error + b"\r\n"
    connection.send(b"0\r\n" + trailers + b"\r\n")
    connection.getresponse().read()


def handle(id, event, headers):
    what = event.get("do", "echo") if isinstance(event, dict) else "echo"
    if what == "echo":
        env = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "LAMBDA_", "_H", "TZ"))}
        return {"event": event, "headers": headers, "env": env, "pid": os.getpid()}
    if what == "pid":
        time.sleep(event.get("seconds", 0))
        return os.getpid()
    if what == "sleep":
        time.sleep(event["seconds"])
        return "slept"
    if what == "note":
        with open(event["file"], "a") as file:
            file.write(event.get("text", "x") + "\n")
        time.sleep(event.get("seconds", 0))
        if event.get("fail"):
            raise ValueError("noted, and failed")
        return "noted"
    if what == "print":
        sys.stdout.write(event["text"])
        sys.stdout.flush()
        sys.stderr.write("to stderr\n")
        return "printed"
    if what == "raise":
        raise ValueError(event["text"])
    if what == "exit":
        sys.exit(event["code"])
    if what == "kill":
        os.kill(os.getpid(), getattr(signal, event["signal"]))
    if what == "child-and-hang":
        child = subprocess.Popen(["sleep", "600"])
        with open(event["file"], "w") as file:
            file.write(str(child.pid))
        time.sleep(60)
    if what == "big":
        return "x" * (event["bytes"] - 2)
    raise KeyError(what)


init()
note = None
while True:
    answer, body = call("GET", "invocation/next")
    if answer.status != 200:
        sys.exit(f"next: {answer.status} {body}")
    headers = {name.lower(): value for name, value in answer.getheaders()}
    id = headers["lambda-runtime-aws-request-id"]
    event = json.loads(body)
    what = event.get("do") if isinstance(event, dict) else None
    if what == "stream":
        stream(id, event)
        continue
    if what == "what-was-it":
        result = note
    elif what == "next-too-early":
        early, body = call("GET", "invocation/next")
        result = [early.status, json.loads(body)]
    else:
        try:
            result = handle(id, event, headers)
        except Exception as problem:
            error = {"errorMessage": str(problem), "errorType": type(problem).__name__, "stackTrace": ["here"]}
            # As large a header as Amazon's clients send.
            call("POST", f"invocation/{id}/error", json.dumps(error),
                 {"Lambda-Runtime-Function-Error-Type": error["errorType"],
                  "Lambda-Runtime-Function-XRay-Error-Cause": "x" * 500_000})
            continue
    answer, said = call("POST", f"invocation/{id}/response", json.dumps(result))
    note = [answer.status, json.loads(said)]
    if what == "echo" and event.get("twice"):
        again, said = call("POST", f"invocation/{id}/response", "2")
        note = [again.status, json.loads(said)]
