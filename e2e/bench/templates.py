"""Stagegate with a template each way: an integration whose request and answer are both made anew, for scenario S1.

The client's GET becomes a POST with a rendered body; of the backend's 1 KiB every member is read and written again, so the
answer is the same 1 KiB. Beside `stagegate.py`, which passes through, the difference is what templates cost.
"""
import importlib.util, os

_spec = importlib.util.spec_from_file_location("stagegate", os.path.join(os.path.dirname(os.path.abspath(__file__)), "stagegate.py"))
passthrough = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(passthrough)

NAME = "stagegate, templates"
FEATURES, missing, version, command = passthrough.FEATURES, passthrough.missing, passthrough.version, passthrough.command

REQUEST = """\
#set($parameters = $input.params())
#set($context.requestOverride.header.X-Request = "$context.requestId")
{
  "object": "$util.escapeJavaScript($input.params('proxy'))",
  "stage": "$context.stage",
  "request": {
    "id": "$context.requestId",
    "time": $context.requestTimeEpoch,
    "method": "$context.httpMethod",
    "resource": "$context.resourcePath",
    "caller": "$context.identity.sourceIp"
  },
  "headers": {
#foreach($name in $parameters.header.keySet())
    "$name": "$util.escapeJavaScript($parameters.header.get($name))"#if($foreach.hasNext),#end

#end
  },
  "query": {#foreach($name in $parameters.querystring.keySet())"$name": "$util.urlEncode($parameters.querystring.get($name))"#if($foreach.hasNext), #end#end}
}
"""

RESPONSE = """\
#set($root = $input.path('$'))
{"items":[#foreach($item in $root.items)
#if($item.pad){"pad":"$item.pad"}#else{"id":$item.id,"name":"$util.escapeJavaScript($item.name)"}#end#if($foreach.hasNext),#end
#end]}"""


def paths(c):
    return {prefix + "{proxy+}": {"x-amazon-apigateway-any-method": {
        "parameters": [{"name": "proxy", "in": "path", "required": True, "schema": {"type": "string"}}],
        "responses": {"200": {"description": "the backend's answer, written anew"}},
        "x-amazon-apigateway-integration": {
            "type": "http", "httpMethod": "POST", "uri": f"http://{c.upstream}{prefix}{{proxy}}",
            "requestParameters": {"integration.request.path.proxy": "method.request.path.proxy"},
            "requestTemplates": {"application/json": REQUEST},
            "responses": {"default": {"statusCode": "200", "responseTemplates": {"application/json": RESPONSE}}}}}}
        for prefix in c.routes}


def config(c):
    passthrough.write(c, {"openapi": "3.0.3", "info": {"title": "bench", "version": "1"}, "paths": paths(c)})
