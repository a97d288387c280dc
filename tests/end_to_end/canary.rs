//! What was sent is found nowhere, in no form, in anything that came out.
//!
//! A value that nobody else could have made up (a canary) stands in every raw field, in undeclared ones,
//! in headers and targets, in events that are refused and in bodies that are no events at all; live and
//! through the import. Then every file, answer, log line and metric is searched. That the search finds
//! what is there is shown in `planted.rs`, and that the canaries arrived, here.

use std::io::Write;

use quorate::scan::Scanner;
use schemas::time::DAY_MS;
use serde_json::{Value, json};

use crate::support::http;
use crate::support::place::{ORIGIN, Place, SITE, Service};
use crate::support::search;

/// A word of a page's path and a feature's name, which are kept as they are sent.
const KEPT: &str = "treatment-planner";

/// Days of history that are imported.
const IMPORT_DAYS: i64 = 20;

/// Every reason for which an event of the default package can be refused here.
const REASONS: [&str; 8] = [
    "malformed",
    "unknown_type",
    "missing_field",
    "wrong_type",
    "out_of_range",
    "too_long",
    "wrong_form",
    "refused_content",
];

/// Makes canaries, and remembers them.
pub(crate) struct Canaries {
    next: u64,
    pub(crate) made: Vec<(&'static str, String)>,
}

impl Canaries {
    pub(crate) fn new() -> Self {
        Self { next: 0, made: Vec::new() }
    }

    /// Sixteen digits that look like the rest of an identifier, other ones each time.
    fn digits(&mut self) -> String {
        self.next += 1;
        blake3::hash(&self.next.to_le_bytes()).to_hex()[..16].to_owned()
    }

    fn keep(&mut self, kind: &'static str, value: String) -> String {
        self.made.push((kind, value.clone()));
        value
    }

    /// Looks like an e-mail address.
    fn email(&mut self, kind: &'static str) -> String {
        let digits = self.digits();
        self.keep(kind, format!("Åse.{digits}@clinic.example"))
    }

    /// The same in ASCII, for where nothing else may stand.
    fn word(&mut self, kind: &'static str) -> String {
        let digits = self.digits();
        self.keep(kind, format!("Kari.{digits}@clinic.example"))
    }

    /// Looks like a token.
    fn token(&mut self, kind: &'static str) -> String {
        let digits = self.digits();
        self.keep(kind, digits)
    }

    /// Looks like a phone or patient number.
    fn number(&mut self, kind: &'static str) -> u64 {
        self.next += 1;
        let number = 45_200_000_000_000 + self.next * 7_919_017;
        self.keep(kind, number.to_string());
        number
    }

    /// An address of a network that has a country.
    fn address(&mut self, kind: &'static str) -> String {
        self.next += 1;
        let (high, low) = (self.next / 200, self.next % 200);
        self.keep(kind, format!("130.225.{}.{}", 100 + high, 10 + low))
    }

    /// The same, of the newer kind.
    fn address_6(&mut self, kind: &'static str) -> String {
        let digits = self.digits();
        let (first, second) = (&digits[1..4], &digits[5..8]);
        self.keep(kind, format!("2a02:8071:b4a0:1{first}::1{second}"))
    }
}

/// A web event with a canary in every field, of which each is of a form that is accepted.
fn page_view(canaries: &mut Canaries) -> Value {
    let (user, path, token) =
        (canaries.token("user in a URL"), canaries.word("path"), canaries.token("path token"));
    let (number, query) = (canaries.number("path number"), canaries.word("query"));
    let (campaign, fragment) = (canaries.word("campaign"), canaries.token("fragment"));
    let url = format!(
        "https://{user}:{user}@shop.example:8443/{KEPT}/{path}/{token}/{number}?q={query}\
         &utm_source={campaign}&utm_medium={campaign}&utm_campaign={campaign}#{fragment}"
    );
    let (path, query) = (canaries.word("referrer path"), canaries.word("referrer query"));
    let link = canaries.word("path of an outbound link");
    json!({
        "type": "web",
        "id": canaries.token("id"),
        "name": canaries.email("value outside a list"),
        "url": url,
        "referrer": format!("https://search.example/{path}?q={query}"),
        "target": format!("https://docs.example/{link}?q={link}"),
        "engaged": 4_000,
        "scroll_depth": 55,
        canaries.word("undeclared name"): canaries.email("undeclared value"),
        "user": { "email": canaries.email("nested value"), "tags": [canaries.token("nested list")] },
        "ip": canaries.address("address in the body"),
        "patient_email": canaries.email("value under a refused name"),
        "consent": {
            canaries.word("purpose"): true,
            "improve": {
                "granted": true,
                "version": canaries.word("consent version"),
                "at": canaries.word("time of consent"),
            },
        },
        "signals": {
            "tcf": format!("CQ{}.{}", canaries.token("TC string"), canaries.token("segment")),
            "google": { canaries.word("type of consent"): canaries.word("state of consent") },
        },
    })
}

/// A device event, likewise.
fn use_of_device(canaries: &mut Canaries) -> Value {
    json!({
        "type": "device_usage",
        "id": canaries.word("id"),
        "serial_number": canaries.email("serial number"),
        "product": "x1",
        "version": format!("3.8.1-{}", canaries.token("pre-release word")),
        "feature": KEPT,
        "duration": 14_230,
        "operator": canaries.email("undeclared value"),
        "end_user": {
            "address": canaries.address("address of an end user"),
            "user_agent": format!("{}Bot/1.0", canaries.token("user agent of an end user")),
            "language": canaries.token("language of an end user"),
        },
    })
}

/// Only a server may say for whom it speaks.
fn without_end_user(mut event: Value) -> Value {
    event.as_object_mut().unwrap().remove("end_user");
    event
}

/// Events that break one rule each, with the canary in what breaks it.
fn refused(canaries: &mut Canaries) -> Vec<Value> {
    let mut events = Vec::new();
    let mut device = |field: &str, value: Value| {
        let mut event = json!({ "type": "device_usage", "serial_number": "QX-1", "product": "x1" });
        event[field] = value;
        events.push(event);
    };
    device("type", canaries.word("unknown type").into());
    device("product", canaries.email("wrong form").into());
    device("error", canaries.email("too long").into());
    device("version", canaries.email("no version").into());
    device("duration", canaries.email("no number").into());
    device("duration", canaries.number("number out of range").into());
    device("serial_number", canaries.email("long text").repeat(4).into());
    device("serial_number", json!({ "is": canaries.email("object for a text") }));
    device(
        "serial_number",
        format!("data:image/png;base64,iVBORw0KGgo{}", canaries.token("picture")).into(),
    );
    let mut web = json!({ "type": "web", "name": "pageview" });
    web["url"] = canaries.email("no URL").into();
    events.push(web);
    events
        .push(json!({ "type": "web", "title": canaries.email("event without a required field") }));
    events.push(canaries.email("text for an event").into());
    events.push(canaries.number("number for an event").into());
    events.push(json!([canaries.email("list for an event")]));
    events
}

/// Posts everything there is, and keeps every answer as a file.
pub(crate) struct Sender<'a> {
    pub(crate) place: &'a Place,
    pub(crate) service: &'a Service,
    /// How many were kept.
    pub(crate) answers: usize,
}

impl Sender<'_> {
    pub(crate) fn keep(&mut self, answer: http::Answer) -> u16 {
        self.answers += 1;
        let file = self.place.outputs().join(format!("answer-{}.txt", self.answers));
        std::fs::write(file, &answer.bytes).unwrap();
        answer.status
    }

    fn post(&mut self, target: &str, headers: &[(&str, &str)], body: &[u8]) -> u16 {
        self.keep(http::send(self.service.events, "POST", target, headers, body))
    }

    fn under_key(&mut self, key: &str, kind: &str, body: &[u8]) -> u16 {
        let authorization = format!("Bearer {key}");
        let headers = [("Authorization", &*authorization), ("Content-Type", kind)];
        self.post("/v1/events", &headers, body)
    }
}

/// Beginnings of user agents.
const AGENTS: [&str; 3] =
    ["Mozilla/5.0 (X11; Linux) Chrome/141.0 Safari/537.36", "Mozilla/5.0 (iPhone)", ""];

/// Everything that a browser and a proxy add.
fn of_a_browser(canaries: &mut Canaries, agent: &str) -> Vec<(&'static str, String)> {
    let agent = format!("{agent} {}Bot/1.0", canaries.token("user agent"));
    let forwarded =
        format!("{}, {}", canaries.address("claimed address"), canaries.address("address"));
    vec![
        ("Origin", ORIGIN.to_owned()),
        ("Content-Type", "text/plain".to_owned()),
        ("User-Agent", agent),
        ("X-Forwarded-For", forwarded),
        ("Forwarded", format!("for={}", canaries.address("address in another header"))),
        ("X-Real-IP", canaries.address("address in another header")),
        ("Referer", format!("{ORIGIN}/{}?q={}", canaries.word("path"), canaries.word("referer"))),
        ("Cookie", format!("id={}", canaries.token("cookie"))),
        ("Accept-Language", format!("{}-DK, da;q=0.5", canaries.token("language"))),
        ("X-Request-Id", canaries.token("another header")),
    ]
}

fn borrowed<'h>(headers: &'h [(&'static str, String)]) -> Vec<(&'h str, &'h str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// As pages do: a beacon, with everything that a browser adds.
pub(crate) fn post_as_a_page(sender: &mut Sender<'_>, canaries: &mut Canaries) {
    let site = format!("/v1/events?site={SITE}&visitor={}", canaries.word("query of the target"));
    for agent in AGENTS {
        let headers = of_a_browser(canaries, agent);
        let events = json!([page_view(canaries), page_view(canaries)]);
        assert_eq!(sender.post(&site, &borrowed(&headers), events.to_string().as_bytes()), 202);
    }
    let foreign = format!("https://{}.example", canaries.token("foreign origin"));
    let headers = [("Origin", &*foreign), ("Content-Type", "text/plain")];
    let body = page_view(canaries).to_string();
    assert!(sender.post(&site, &headers, body.as_bytes()) >= 400);
    let unknown = format!("/v1/events?site={}", canaries.word("unknown site"));
    assert!(sender.post(&unknown, &[("Origin", ORIGIN)], body.as_bytes()) >= 400);
}

/// As Plausible's trackers do, old and new; gives how many events were accepted.
fn post_as_plausible(sender: &mut Sender<'_>, canaries: &mut Canaries) -> u64 {
    let target = format!("/api/event?visitor={}", canaries.word("query of the target"));
    let properties = |canaries: &mut Canaries| {
        json!({
            "title": canaries.email("property"),
            canaries.word("name of a property"): canaries.token("property"),
            "address": canaries.address("address in a property"),
            "url": format!("https://files.example/{}", canaries.word("link")),
            "user": { "email": canaries.email("nested property") },
        })
    };
    let mut accepted = Vec::new();
    for _ in 0..2 {
        let page = page_view(canaries);
        accepted.push(json!({
            "n": canaries.email("value outside a list"),
            "u": page["url"],
            "d": format!("{SITE},{}", canaries.word("second site")),
            "r": page["referrer"],
            "p": properties(canaries),
            "$": { "amount": canaries.number("amount"), "currency": canaries.token("currency") },
            "v": canaries.number("version"),
            "sd": canaries.number("depth"),
            "e": canaries.number("time"),
            canaries.word("undeclared name"): canaries.email("undeclared value"),
        }));
    }
    accepted[1]["p"] = properties(canaries).to_string().into();
    let (path, token) = (canaries.word("path in a fragment"), canaries.token("fragment"));
    let route = format!("{ORIGIN}/#/{KEPT}/{path}/{token}?q={}", canaries.word("fragment"));
    accepted.push(json!({ "n": "pageview", "d": SITE, "u": route, "h": 1 }));
    for (event, agent) in accepted.iter().zip(AGENTS) {
        let headers = of_a_browser(canaries, agent);
        assert_eq!(sender.post(&target, &borrowed(&headers), event.to_string().as_bytes()), 202);
    }
    let wrong = [
        json!({ "n": "pageview", "d": SITE, "u": canaries.email("no URL") }).to_string(),
        json!({ "n": { "is": canaries.email("object for a text") }, "d": SITE }).to_string(),
        json!({ "d": SITE, "u": accepted[0]["u"] }).to_string(),
        json!({ "n": "pageview", "d": canaries.word("unknown site") }).to_string(),
        format!("{{\"n\":\"{}\"", canaries.email("unfinished body")),
        format!("{{\"n\":1,\"n\":\"{}\"}}", canaries.email("name twice")),
        canaries.email("text for a body"),
    ];
    for body in &wrong {
        let headers = of_a_browser(canaries, AGENTS[0]);
        assert!(sender.post(&target, &borrowed(&headers), body.as_bytes()) >= 400, "{body}");
    }
    accepted.len() as u64
}

/// As images do; gives how many were accepted.
fn look_at_images(sender: &mut Sender<'_>, canaries: &mut Canaries) -> u64 {
    let mut look = |canaries: &mut Canaries, site: &str, more: &[(&str, &str)]| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("site", site).extend_pairs(more);
        query.append_pair(&canaries.word("undeclared name"), &canaries.email("undeclared value"));
        let mut headers = of_a_browser(canaries, AGENTS[1]);
        // An image is asked for without these.
        headers.retain(|(name, _)| !matches!(*name, "Origin" | "Content-Type"));
        let target = format!("/v1/pixel.gif?{}", query.finish());
        sender.keep(http::send(sender.service.events, "GET", &target, &borrowed(&headers), b""))
    };
    let page = page_view(canaries);
    let url = page["url"].as_str().unwrap();
    let name = canaries.email("value outside a list");
    let purpose = canaries.word("purpose");
    let (tcf, version) = (canaries.token("TC string"), canaries.word("consent version"));
    let at = canaries.word("time of consent");
    let told = [
        ("url", url),
        ("name", name.as_str()),
        ("consent", purpose.as_str()),
        ("gdpr", "1"),
        ("gdpr_consent", tcf.as_str()),
        ("consent_version", version.as_str()),
        ("consent_at", at.as_str()),
    ];
    assert_eq!(look(canaries, SITE, &told), 200);
    // Then the page is that of `Referer`.
    assert_eq!(look(canaries, SITE, &[]), 200);
    let wrong = canaries.email("no URL");
    assert_eq!(look(canaries, SITE, &[("url", &wrong)]), 400);
    assert_eq!(look(canaries, SITE, &[("url", url), ("url", &wrong)]), 400);
    let unknown = canaries.word("unknown site");
    assert_eq!(look(canaries, &unknown, &[("url", url)]), 401);
    2
}

/// As devices and servers do: objects, lists, lines, envelopes, mixed with what is refused.
pub(crate) fn post_under_keys(sender: &mut Sender<'_>, canaries: &mut Canaries) {
    let (device, server) = (sender.place.device_key.clone(), sender.place.server_key.clone());
    let address = canaries.address_6("address of a device");
    let authorization = format!("Bearer {device}");
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/json"),
        ("X-Forwarded-For", &address),
    ];
    let mut common = without_end_user(use_of_device(canaries));
    common.as_object_mut().unwrap().remove("id");
    let envelope = json!({
        "common": common,
        "boot": canaries.number("boot"),
        "sent_uptime_ms": 912_200,
        "note": canaries.email("undeclared in an envelope"),
        "events": [
            { "seq": canaries.number("seq"), "uptime_ms": 880_110, "feature": "implant" },
            { "seq": 8_813, "uptime_ms": 903_450, "feature": "airway", "error": "E042" },
        ],
    });
    assert_eq!(sender.post("/v1/events", &headers, envelope.to_string().as_bytes()), 202);
    let one = without_end_user(use_of_device(canaries));
    assert_eq!(sender.post("/v1/events", &headers, one.to_string().as_bytes()), 202);

    let mut mixed = refused(canaries);
    mixed.push(use_of_device(canaries));
    mixed.push(page_view(canaries));
    let list = Value::Array(mixed.clone()).to_string();
    assert_eq!(sender.under_key(&server, "application/json", list.as_bytes()), 202);
    let mut lines: String = mixed.iter().map(|event| format!("{event}\n")).collect();
    lines.push_str(&format!("{{\"type\":\"web\",\"name\":\"{}\n", canaries.email("broken line")));
    assert_eq!(sender.under_key(&server, "application/x-ndjson", lines.as_bytes()), 202);
    for event in refused(canaries) {
        let status = sender.under_key(&server, "application/json", event.to_string().as_bytes());
        assert_eq!(status, 400, "{event}");
    }
}

/// As the page does, and as visitors do who want to know: everything that the port of readers tells. What it is asked
/// with is nobody's business either.
fn read_everything(sender: &mut Sender<'_>, canaries: &mut Canaries) {
    let statistics = sender.service.statistics;
    let bearer = format!("Bearer {}", sender.place.token);
    let write_key = format!("Bearer {}", sender.place.device_key);
    let mut ask = |path: &str, authorization: Option<&str>| {
        let path = format!("{path}?q={}", canaries.token("query of a reader"));
        let from = [
            ("User-Agent", format!("{}Bot/1.0", canaries.token("user agent of a reader"))),
            ("X-Forwarded-For", canaries.address("address of a reader")),
            ("Referer", format!("https://wiki.example/{}", canaries.word("referer of a reader"))),
        ];
        let mut headers: Vec<_> = from.iter().map(|(name, value)| (*name, &**value)).collect();
        headers.extend(authorization.map(|text| ("Authorization", text)));
        let answer = http::send(statistics, "GET", &path, &headers, b"");
        let json = serde_json::from_str(&answer.body()).unwrap_or(Value::Null);
        (sender.keep(answer), json)
    };
    for path in ["/v1/live", "/v1/policy", "/v1/statistics"] {
        let answers = [Some(&*bearer), None, Some(&*write_key)].map(|text| ask(path, text).0);
        assert_eq!(answers, [200, 401, 403], "{path}");
    }
    for path in ["/", "/privacy", "/assets/index.js"] {
        assert_eq!(ask(path, None).0, 200, "{path}");
    }
    let live = ask("/v1/live", Some(&bearer)).1;
    assert!(live["last_event"].is_string(), "the door counted what it took: {live}");
    let policy = ask("/v1/policy", Some(&bearer)).1;
    let refused = |one: &Value| one["refused"].get("unknown_type").is_some();
    assert!(policy["outcomes"].as_array().unwrap().iter().any(refused), "{policy}");
    // Those of today are not told, so there may be none.
    assert!(policy["keys"].is_array(), "{policy}");

    let unknown = format!("/v1/{}", canaries.token("unknown path of a reader"));
    assert_eq!(sender.keep(http::send(statistics, "GET", &unknown, &[], b"")), 404);
    let wrong = format!("Bearer qr_{}", canaries.token("wrong token"));
    let headers = [("Authorization", &*wrong)];
    assert_eq!(sender.keep(http::send(statistics, "GET", "/v1/live", &headers, b"")), 401);
    let headers = [("Authorization", &*bearer)];
    let question = format!(r#"{{"from":"{}"}}"#, canaries.word("unknown statistic"));
    let answer = http::send(statistics, "POST", "/v1/query", &headers, question.as_bytes());
    assert_eq!(sender.keep(answer), 400);
}

/// What is no request that anybody should send.
pub(crate) fn post_nonsense(sender: &mut Sender<'_>, canaries: &mut Canaries) {
    let key = sender.place.server_key.clone();
    let broken = [
        format!("{{\"type\": \"{}\"", canaries.email("unfinished body")),
        format!("\"{}\"", canaries.email("text for a body")),
        format!("{{\"a\": {}}}", canaries.word("word without quotes")),
        format!("<event>{}</event>", canaries.email("XML")),
        "[".repeat(2_000) + &canaries.email("deep body"),
    ];
    for body in &broken {
        assert!(sender.under_key(&key, "application/json", body.as_bytes()) >= 400, "{body}");
    }
    let mut invalid = format!("{{\"type\":\"web\",\"name\":\"{}", canaries.email("invalid text"));
    invalid.push('\u{e9}');
    let mut invalid = invalid.into_bytes();
    invalid.pop();
    invalid.extend_from_slice(b"\"}");
    assert!(sender.under_key(&key, "application/json", &invalid) >= 400);

    let authorization = format!("Bearer {key}");
    let body = page_view(canaries).to_string();
    let encoding = canaries.word("content encoding");
    for headers in [
        [("Authorization", authorization.as_str()), ("Content-Encoding", "gzip")],
        [("Authorization", authorization.as_str()), ("Content-Encoding", &encoding)],
    ] {
        assert!(sender.post("/v1/events", &headers, body.as_bytes()) >= 400);
    }
    let kind = format!("application/{}", canaries.token("content type"));
    sender.under_key(&key, &kind, body.as_bytes());
    let wrong_key = format!("qd_{}", canaries.token("wrong key"));
    assert_eq!(sender.under_key(&wrong_key, "application/json", body.as_bytes()), 401);
    let large = canaries.email("large body").repeat(300_000);
    assert_eq!(sender.under_key(&key, "application/json", large.as_bytes()), 413);

    let path = format!("/v1/{}", canaries.token("unknown path"));
    assert!(sender.post(&path, &[], body.as_bytes()) >= 400);
    let request =
        format!("{} / HTTP/1.1\r\nConnection: close\r\n\r\n", canaries.token("unknown method"));
    sender.keep(http::exchange(sender.service.events, request.as_bytes()));
    let head = "GET / HTTP/1.1\r\nConnection: close\r\n";
    let request = format!("{head}{}\r\n\r\n", canaries.email("broken head"));
    sender.keep(http::exchange(sender.service.events, request.as_bytes()));
}

/// History, with a canary in every field.
pub(crate) fn import(place: &Place, canaries: &mut Canaries) {
    let input = tempfile::NamedTempFile::new().unwrap();
    let mut file = input.as_file();
    let now = quorate::store::system_clock()();
    for day in 1..=IMPORT_DAYS {
        for mut event in [page_view(canaries), use_of_device(canaries)] {
            event["time"] = now.plus(-day * DAY_MS).to_string().into();
            let address = canaries.address("imported address");
            event["end_user"] =
                json!({ "address": address, "user_agent": canaries.word("imported") });
            writeln!(file, "{event}").unwrap();
        }
    }
    for event in refused(canaries) {
        writeln!(file, "{event}").unwrap();
    }
    writeln!(file, "{{\"type\": \"{}", canaries.email("broken line")).unwrap();
    let path = input.path().to_str().unwrap();
    let output = crate::support::succeed(&mut place.command(&["import", path]));
    std::fs::write(place.outputs().join("import.txt"), [output.stdout, output.stderr].concat())
        .unwrap();
}

/// `quorate try` shows an operator what becomes of an event, and stores nothing of it.
fn try_one(place: &Place, canaries: &mut Canaries) {
    let input = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(input.path(), use_of_device(canaries).to_string()).unwrap();
    crate::support::succeed(&mut place.command(&["try", input.path().to_str().unwrap()]));
}

#[test]
fn nothing_that_was_sent_is_found_in_anything_that_came_out() {
    let (place, mut canaries) = (Place::new(), Canaries::new());
    import(&place, &mut canaries);
    try_one(&place, &mut canaries);

    let service = place.start();
    let mut sender = Sender { place: &place, service: &service, answers: 0 };
    post_as_a_page(&mut sender, &mut canaries);
    let elsewhere =
        post_as_plausible(&mut sender, &mut canaries) + look_at_images(&mut sender, &mut canaries);
    post_under_keys(&mut sender, &mut canaries);
    post_nonsense(&mut sender, &mut canaries);
    for path in ["/metrics", "/status"] {
        assert_eq!(sender.keep(service.operator(path)), 200);
    }
    read_everything(&mut sender, &mut canaries);
    let status = place.print(&["status"]);
    std::fs::write(place.outputs().join("status.txt"), status).unwrap();
    service.stop();

    // They arrived: rows of all doors are there, and refusals of every kind were counted.
    let books = search::outcomes(&place.data());
    // Page views, those that came on other ways, an envelope of two, a single one, two among refused ones (twice, the second time as
    // duplicates), one with a strange type, and the import.
    assert_eq!(
        books["stored"],
        6 + elsewhere + 2 + 1 + 2 + 1 + 2 * IMPORT_DAYS.unsigned_abs(),
        "{books:?}"
    );
    assert_eq!(books["duplicate"], 2, "{books:?}");
    for reason in REASONS {
        assert!(books.contains_key(reason), "{reason}: {books:?}");
    }
    let log = std::fs::read_to_string(place.outputs().join("stderr.txt")).unwrap();
    assert!(
        log.contains("TRACE") || log.contains("DEBUG"),
        "the service was asked to be talkative"
    );
    assert_eq!(search::stores(place.root()).len(), 2, "the log and the index are searched");

    // What is kept by design is found in the tables: the search sees what rows hold.
    let kept = Scanner::new([("kept", KEPT.to_owned())]).unwrap();
    let found = search::told(&search::everything(place.root(), &kept));
    assert!(found.contains("column feature") && found.contains("column page"), "{found}");

    let scanner = Scanner::new(canaries.made).unwrap();
    let report = search::everything(place.root(), &scanner);
    assert!(report.values > 1_000 && report.files > 50, "{} files", report.files);
    assert_eq!(report.found, 0, "\n{}", search::told(&report));
}
