//! Templates and JSONPath around a backend: what it is asked, and what the client gets.

use ::http::{HeaderMap, Method, Response};
use bundle::integration::{Http, Integration, IntegrationResponse, Mock, RequestMapping};
use bundle::mapping::{RequestTarget as Target, Source};

use super::harness::*;
use crate::body::Body;
use crate::integrate::integrate;
use crate::rejection::Rejection;

const JSON: (&str, &str) = ("content-type", "application/json");

fn body(path: &str) -> Source {
    Source::Body(Some(path.into()))
}

fn header(name: &str) -> Target {
    Target::Header(name.into())
}

fn response(template: &str) -> IntegrationResponse {
    IntegrationResponse {
        selection_pattern: None,
        status: 200,
        headers: Default::default(),
        templates: [("application/json".to_owned(), template.to_owned())].into(),
        content_handling: None,
    }
}

/// HTTP to a URI, with a request template, mapped parameters and one response.
fn translated(uri: &str, template: &str, parameters: &[(Target, Source)], response: IntegrationResponse) -> Served {
    let templates = [("application/json".to_owned(), template.to_owned())].into();
    let request = RequestMapping { templates, parameters: mapping(parameters), ..RequestMapping::default() };
    let mut endpoint = endpoint(uri);
    endpoint.method = Some("POST".into());
    Served::new(&core(), http(Http { endpoint, request, responses: vec![response] }))
}

async fn post(served: &Served, body: &str) -> Result<Response<Body>, Rejection> {
    served.ask(Method::POST, "/prod/x?q=1&q=2", &[JSON, ("x-a", "b")], body).await
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn overrides_replace_mapped_parameters_and_add_others() {
    run(async {
        let (address, seen) = answering(OK).await;
        let template = "#set($r = $context.requestOverride)\
            #set($r.header.X-One = 'over')#set($r.header.X-Many = ['a', 'b'])#set($r.header.Via = 'no')\
            #set($r.querystring.m = 'o v')#set($r.querystring['n[]'] = ['1', '2'])\
            #set($r.path.id = 'a/b c')#set($r.path.open = 'd')$input.body";
        let parameters = [
            (header("X-One"), Source::Static("mapped".into())),
            (header("X-Two"), body("$.two")),
            (Target::Query("m".into()), Source::Static("mapped".into())),
            (Target::Query("k".into()), Source::Query("q".into())),
            (Target::Path("id".into()), Source::Static("mapped".into())),
        ];
        let uri = format!("{}/{{id}}/{{open}}/{{other}}?z={{id}}", url(address));
        let served = translated(&uri, template, &parameters, response(""));
        post(&served, r#"{"two": 2}"#).await.unwrap();
        assert_eq!(seen.line(), "post /a/b%20c/d/{other}?z=a%2fb%20c&k=2&m=o%20v&n%5b%5d=1&n%5b%5d=2 http/1.1");
        for (name, wanted) in [("x-one", Some("over")), ("x-many", Some("a|b")), ("x-two", Some("2")), ("via", None)] {
            assert_eq!(seen.header(name).as_deref(), wanted, "{name}");
        }

        let uri = format!("{}/{{id}}", url(address));
        for template in [
            "#set($context.requestOverride.path.id = '..')",
            "#set($context.requestOverride.header['no name'] = 'x')",
            "#set($context.requestOverride.header.Content-Length = '3')",
        ] {
            let refused = post(&translated(&uri, template, &parameters, response("")), "{}").await;
            assert!(matches!(refused, Err(Rejection::Configuration(_) | Rejection::BadPath(_))), "{template}");
        }
        assert_eq!(seen.connections().len(), 1, "the backend was not asked");
    });
}

#[test]
fn a_template_runs_for_its_media_type_only_and_may_make_any_text() {
    run(async {
        let (address, seen) = answering(OK).await;
        let template = "#set($context.requestOverride.header.X-Over = 'o'){not json";
        let served = translated(&url(address), template, &[], response(""));
        for (media_type, header, length) in
            [("application/json; charset=utf-8", Some("o"), "9"), ("text/plain", None, "4"), ("text/json", None, "4")]
        {
            served.ask(Method::POST, "/prod/x", &[("content-type", media_type)], "body").await.unwrap();
            assert_eq!(seen.header("x-over").as_deref(), header, "{media_type}");
            assert_eq!(seen.header("content-length").as_deref(), Some(length), "{media_type}");
        }
    });
}

#[test]
fn a_response_override_wins_and_is_only_applied_if_it_can_be() {
    run(async {
        let (address, _) = answering("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"a\":[{\"b\":3}]}").await;
        let template = "#set($o = $context.responseOverride)#set($o.status = $input.path('$.a[0].b') + 415)\
            #set($o.header.X-B = ['1', '2'])#set($o.header.Date = 'd')#set($o.header.Transfer-Encoding = 't')\
            $input.json('$.a')";
        let mut mapped = response(template);
        for (name, source) in [("X-B", body("$.a[0].b")), ("X-C", body("$.a[*].b")), ("X-None", body("$.z"))] {
            mapped.headers.insert(name.into(), source);
        }
        let answer = post(&translated(&url(address), "{}", &[], mapped), "").await.unwrap();
        assert_eq!(answer.status(), 418);
        let headers = answer.headers().clone();
        assert_eq!(headers.get_all("x-b").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(value(&headers, "x-c"), Some("[3]"));
        assert_eq!(value(&headers, "x-amzn-remapped-date"), Some("d"));
        assert!(!headers.contains_key("x-none") && !headers.contains_key("transfer-encoding"));
        assert_eq!(text(answer).await.unwrap(), r#"[{"b":3}]"#);

        for status in ["'418'", "99", "101", "600", "4.5"] {
            let template = format!("#set($context.responseOverride.status = {status})");
            let answer = post(&translated(&url(address), "{}", &[], response(&template)), "").await.unwrap();
            assert_eq!(answer.status(), 200, "{status}");
        }
    });
}

#[test]
fn a_template_sees_the_request_on_both_ways() {
    run(async {
        let (address, _) = answering("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback").await;
        let template = "$input.body $input.params('q') $input.params('X-A') $input.params().header.get('x-a') \
                        $stageVariables.part $context.stage $context.httpMethod $context.requestOverride.header.kept";
        let request = "#set($context.requestOverride.header.kept = 'k')$input.body";
        let answer = post(&translated(&url(address), request, &[], response(template)), "").await.unwrap();
        assert_eq!(text(answer).await.unwrap(), "back 2 b b value prod POST k");
    });
}

#[test]
fn a_body_that_is_no_json_where_one_is_wanted() {
    run(async {
        let (address, seen) = answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{").await;
        let parameters = [(header("X-Two"), body("$.two"))];
        let refused = post(&translated(&url(address), "{}", &parameters, response("")), "{\"two\"").await;
        assert_eq!(refused.map(|_| ()), Err(Rejection::InvalidJsonBody));
        let refused = post(&translated(&url(address), "$input.json('$')", &[], response("")), "[").await;
        assert!(matches!(refused, Err(Rejection::InvalidPayload(_))));
        assert!(seen.connections().is_empty(), "the backend was not asked");
        // A text that is neither object nor list is a string, in which no path finds anything.
        post(&translated(&url(address), "$input.json('$.a')", &parameters, response("")), "a=b").await.unwrap();
        assert_eq!(seen.header("x-two"), None);
        // Of the backend's answer it is not the client's fault.
        let mut mapped = response("");
        mapped.headers.insert("X-A".into(), body("$.a"));
        for broken in [response("$input.path('$.a')"), mapped] {
            let refused = post(&translated(&url(address), "{}", &[], broken), "").await;
            assert!(matches!(refused, Err(Rejection::Configuration(_))));
        }
    });
}

#[test]
fn what_goes_wrong_names_its_place_and_nothing_of_the_body() {
    run(async {
        for (template, place) in [
            ("{\n \"a\": $input.path('$.secret').substring(99)}", "line 2, column 7"),
            ("\n$util.parseJson($input.path('$.secret'))", "line 2, column 1"),
            ("#set($x = 1)$x.parseInt($input.path('$.secret'))", "line 1"),
            ("#set($s = 'aaaaaaaaaaaaaaaa')#foreach($i in [1..30])#set($s = \"$s$s\")#end$s", "line 1"),
            ("#foreach($i in [1..1001])#end", "line 1"),
        ] {
            let served = translated("http://127.0.0.1:1/", template, &[], response(""));
            let mut exchange = served.exchange(Method::POST, "/prod/x", &[JSON], Body::full(r#"{"secret": "{zz-9"}"#));
            let outcome = integrate(&served.core, &mut exchange).await;
            let Err(Rejection::Configuration(message)) = outcome else {
                panic!("{template}: {:?}", outcome.map(|_| ()))
            };
            assert!(message.contains("the request template application/json, "), "{message}");
            assert!(message.contains(place), "{message}");
            assert!(!message.contains('z'), "{message}");
        }
    });
}

#[test]
fn a_mocks_overrides_survive_with_and_without_a_template() {
    run(async {
        let template = "#set($context.responseOverride.status = 444)#set($context.responseOverride.header.X-M = 'm')\
                        #set($context.requestOverride.path.kept = 'k'){\"statusCode\": 200}";
        let mut plain = response("");
        plain.templates.clear();
        for (answer, text_of_it) in [(plain, ""), (response("$context.requestOverride.path.kept"), "k")] {
            let templates = [("application/json".to_owned(), template.to_owned())].into();
            let request = RequestMapping { templates, ..RequestMapping::default() };
            let served = Served::new(&core(), Integration::Mock(Mock { request, responses: vec![answer] }));
            let answer = post(&served, "").await.unwrap();
            assert_eq!((answer.status().as_u16(), value(answer.headers(), "x-m")), (444, Some("m")));
            assert_eq!(text(answer).await.unwrap(), text_of_it);
        }
    });
}

#[test]
fn an_answer_of_text_that_stops_midway_is_none() {
    run(async {
        let (address, _) = answering("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nonly the beginning").await;
        let mut plain = response("");
        plain.templates.clear();
        // Text is looked through for what is no UTF-8 before any of it is sent.
        let refused = post(&translated(&url(address), "{}", &[], plain), "").await.unwrap_err();
        assert_eq!(refused, Rejection::IntegrationTimeout);
    });
}
