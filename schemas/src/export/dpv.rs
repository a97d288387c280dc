//! The package in the W3C Data Privacy Vocabulary, as JSON-LD: a process for each family and purpose.

use serde_json::{Map, Value, json};

use super::vocabulary::{ADDRESS, of_basis, of_field, of_word, reads_address};
use crate::eea;
use crate::load::words::span_text;
use crate::model::{
    Basis, ContributorSource, Family, Field, Package, Purpose, PurposeSet, Receives, Recipient,
    Role, Transform,
};
use crate::time::{DAY_MS, HOUR_MS};
use crate::words;

/// The package as one JSON-LD document, its context inline.
#[must_use]
pub fn dpv_json_ld(package: &Package) -> String {
    let mut graph = vec![controller(package)];
    graph.extend(package.recipients.iter().map(|one| recipient(package, one)));
    for family in &package.families {
        graph.extend(
            family
                .fields
                .iter()
                .filter(|field| !matches!(field.transform, Transform::Drop))
                .map(|field| data(family, field)),
        );
        if (0..package.purposes.len()).any(|index| reads_address(family, index)) {
            graph.push(address(family));
        }
    }
    for family in &package.families {
        for (index, purpose) in package.purposes.iter().enumerate() {
            graph.extend(process(package, family, index, purpose));
        }
    }
    graph.push(prohibition(package));
    let document = json!({
        "@context": {
            "@base": format!("urn:quorate:{}", package.digest),
            "dpv": "https://w3id.org/dpv#",
            "pd": "https://w3id.org/dpv/pd#",
            "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
            "dcat": "http://www.w3.org/ns/dcat#",
            "dct": "http://purl.org/dc/terms/",
            "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
            "xsd": "http://www.w3.org/2001/XMLSchema#",
        },
        "@graph": graph,
    });
    format!("{document:#}\n")
}

fn node(id: &str, types: &[&str]) -> Map<String, Value> {
    let mut node = Map::new();
    node.insert("@id".to_owned(), json!(format!("#{id}")));
    node.insert("@type".to_owned(), json!(types));
    node
}

fn reference(id: &str) -> Value {
    json!({ "@id": format!("#{id}") })
}

fn terms(names: &[&str]) -> Value {
    json!(names.iter().map(|name| json!({ "@id": name })).collect::<Vec<_>>())
}

fn text(text: &str) -> Value {
    json!(text.chars().map(words::visible).collect::<String>())
}

fn set(node: &mut Map<String, Value>, key: &str, value: Value) {
    node.insert(key.to_owned(), value);
}

fn controller(package: &Package) -> Value {
    let mut node = node("controller", &["dpv:DataController"]);
    set(&mut node, "dpv:hasName", text(&package.controller));
    if let Some(contact) = &package.contact {
        set(&mut node, "dpv:hasContact", text(contact));
    }
    if let Some(authority) = &package.authority {
        let authority =
            json!({ "@type": "dpv:DataProtectionAuthority", "dpv:hasName": text(authority) });
        set(&mut node, "dpv:hasAuthority", authority);
    }
    Value::Object(node)
}

fn recipient_id(recipient: &Recipient) -> String {
    format!("recipient-{}", recipient.key)
}

fn recipient(package: &Package, one: &Recipient) -> Value {
    let role = match one.role {
        Role::Processor => "dpv:DataProcessor",
        Role::ThirdParty => "dpv:ThirdParty",
        Role::Public => "dpv:Recipient",
    };
    let mut node = node(&recipient_id(one), &[role]);
    set(&mut node, "dpv:hasName", text(&one.name));
    let about = format!("{}; receives {}", one.about, one.receives.name());
    set(&mut node, "dct:description", text(&about));
    if let Some(country) = &one.country {
        set(&mut node, "dpv:hasCountry", text(country));
        let outside = !eea::contains(country) && package.residency.as_deref() != Some(country);
        if let (true, Some(safeguard)) = (outside, &one.safeguard) {
            let measure = json!({ "@type": "dpv:SafeguardForDataTransfer", "dct:description": text(safeguard) });
            set(&mut node, "dpv:hasLegalMeasure", measure);
        }
    }
    Value::Object(node)
}

fn data_id(family: &Family, name: &str) -> String {
    format!("data-{}-{name}", family.name)
}

fn data(family: &Family, field: &Field) -> Value {
    let mut types = vec![of_field(family, field).dpv];
    if matches!(field.transform, Transform::Pseudonym) {
        types.push("dpv:PseudonymisedData");
    }
    let mut node = node(&data_id(family, &field.name), &types);
    set(&mut node, "dct:title", text(&field.name));
    let kept = words::kept(family, field).unwrap_or_default();
    set(&mut node, "dct:description", text(&format!("{}; kept: {kept}", field.about)));
    Value::Object(node)
}

/// Read while the connection stands, and written nowhere. A name of a field has no point.
fn address(family: &Family) -> Value {
    let mut node = node(&data_id(family, ".address"), &[ADDRESS.dpv]);
    set(&mut node, "dct:title", json!("network address"));
    set(&mut node, "dct:description", json!("used in memory; kept: nothing"));
    Value::Object(node)
}

fn process(package: &Package, family: &Family, index: usize, purpose: &Purpose) -> Option<Value> {
    let fields: Vec<&Field> = family
        .fields
        .iter()
        .filter(|field| field.purposes.has(index) && !matches!(field.transform, Transform::Drop))
        .collect();
    if !family.purposes.has(index) && fields.is_empty() {
        return None;
    }
    let mut node = node(&format!("process-{}-{}", family.name, purpose.name), &["dpv:Process"]);
    let what = family.about.as_deref().unwrap_or("events of this kind");
    set(&mut node, "dct:title", text(&format!("{} for {}", family.name, purpose.name)));
    set(&mut node, "dct:description", text(&format!("{what}, {}", purpose.notice)));
    set(&mut node, "dcat:version", text(&package.version));
    set(&mut node, "dpv:hasDataController", reference("controller"));
    let called = match family.contributor.source {
        ContributorSource::Visit => "dpv:Visitor",
        ContributorSource::Field(_) => "dpv:User",
    };
    set(&mut node, "dpv:hasDataSubject", terms(&[called]));
    set(&mut node, "dpv:hasPurpose", purpose_node(purpose));
    let [ground, article, _] = of_basis(purpose.basis);
    set(&mut node, "dpv:hasLegalBasis", terms(&[ground, article]));
    let mut data: Vec<Value> =
        fields.iter().map(|field| reference(&data_id(family, &field.name))).collect();
    if reads_address(family, index) {
        data.push(reference(&data_id(family, ".address")));
    }
    set(&mut node, "dpv:hasPersonalData", json!(data));
    let processing = ["dpv:Collect", "dpv:Pseudonymise", "dpv:Store", "dpv:Aggregate", "dpv:Erase"];
    set(&mut node, "dpv:hasProcessing", terms(&processing));
    let measures = [
        "dpv:DeterministicPseudonymisation",
        "dpv:HashMessageAuthenticationCode",
        "dpv:CryptographicKeyManagement",
        "dpv:SymmetricEncryption",
        "dpv:StorageDeletion",
    ];
    set(&mut node, "dpv:hasTechnicalMeasure", terms(&measures));
    set(&mut node, "dpv:hasStorageCondition", storage(package, family, index));
    let receivers: Vec<Value> = package
        .recipients
        .iter()
        .filter(|one| one.receives != Receives::Nothing)
        .map(|one| reference(&recipient_id(one)))
        .collect();
    if !receivers.is_empty() {
        set(&mut node, "dpv:hasRecipient", json!(receivers));
    }
    set(&mut node, "dpv:hasRight", terms(&rights(purpose.basis)));
    Some(Value::Object(node))
}

fn purpose_node(purpose: &Purpose) -> Value {
    let term = purpose.dpv.as_deref().unwrap_or("Purpose");
    json!({
        "@id": format!("#purpose-{}", purpose.name),
        "@type": format!("dpv:{term}"),
        "dct:description": text(&purpose.notice),
    })
}

/// How long rows live, or the values in them that are for this purpose alone.
fn storage(package: &Package, family: &Family, index: usize) -> Value {
    let own =
        package.kept_days(PurposeSet::default().with(index)).map(|days| i64::from(days) * DAY_MS);
    let rows = words::gone_after_ms(family);
    let longest = own.map_or(rows, |own| own.min(rows));
    let mut node = json!({
        "@type": "dpv:StorageCondition",
        "dct:description": format!("deleted after {} at the latest", span_text(longest)),
        "dpv:hasDuration": {
            "@type": "dpv:TemporalDuration",
            "rdf:value": { "@type": "xsd:duration", "@value": duration(longest) },
        },
    });
    if let Some(residency) = &package.residency {
        node["dpv:hasLocation"] = text(residency);
    }
    node
}

fn duration(ms: i64) -> String {
    if ms % DAY_MS == 0 { format!("P{}D", ms / DAY_MS) } else { format!("PT{}H", ms / HOUR_MS) }
}

fn rights(basis: Basis) -> Vec<&'static str> {
    let mut rights =
        vec!["eu-gdpr:A15", "eu-gdpr:A16", "eu-gdpr:A17", "eu-gdpr:A18", "eu-gdpr:A77"];
    match basis {
        Basis::Consent => rights.extend(["eu-gdpr:A20", "eu-gdpr:A7-3"]),
        Basis::Contract => rights.push("eu-gdpr:A20"),
        Basis::LegitimateInterest | Basis::PublicInterest => rights.push("eu-gdpr:A21"),
        Basis::LegalObligation | Basis::VitalInterests => {}
    }
    rights
}

/// What is never taken.
fn prohibition(package: &Package) -> Value {
    let mut node = node("refused", &["dpv:Prohibition"]);
    let refused: Vec<Value> = package
        .refused
        .categories
        .iter()
        .map(|category| json!({ "@type": of_word(*category).dpv, "dct:title": category.name() }))
        .collect();
    set(&mut node, "dct:description", json!("is not collected"));
    set(&mut node, "dpv:hasPersonalData", json!(refused));
    set(&mut node, "dpv:hasProcessing", terms(&["dpv:Collect"]));
    Value::Object(node)
}
