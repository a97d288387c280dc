//! What belongs together within one event: knowledge of the default package, without effect on others.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

/// Makes a drawn event of a web site plausible as a whole: most are page views, engagement alone says how long and
/// how deep, an outbound link alone whither, and only the first event of a sitting has a referrer.
pub(super) fn tidy(event: &mut Map<String, Value>, is_first: bool, random: &mut ChaCha8Rng) {
    let is_web = event.contains_key("url") && event.get("name").is_some_and(Value::is_string);
    if !is_web {
        return;
    }
    let usual = match random.random_range(0..100) {
        0..80 if is_first => Some("pageview"),
        0..50 => Some("pageview"),
        50..75 if !is_first => Some("engagement"),
        _ => None,
    };
    if let Some(name) = usual {
        event.insert("name".to_owned(), json!(name));
    }
    let is_engagement = event.get("name").is_some_and(|name| name == "engagement");
    if !is_engagement {
        event.remove("engaged");
        event.remove("scroll_depth");
    }
    if event.get("name").is_none_or(|name| name != "outbound_link") {
        event.remove("target");
    }
    if !is_first {
        event.remove("referrer");
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn engagement_alone_says_how_long_and_links_alone_whither() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let drawn = json!({"url": "/", "name": "outbound_link", "engaged": 5, "referrer": "https://a.example/", "target": "https://b.example"});
        for round in 0..50 {
            let mut event = drawn.as_object().cloned().unwrap();
            tidy(&mut event, round % 2 == 0, &mut random);
            assert_eq!(event.contains_key("engaged"), event["name"] == "engagement");
            assert_eq!(event.contains_key("target"), event["name"] == "outbound_link");
            assert_eq!(event.contains_key("referrer"), round % 2 == 0);
        }
    }

    #[test]
    fn other_families_are_left_alone() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut event = json!({"name": "drill", "engaged": 5}).as_object().cloned().unwrap();
        tidy(&mut event, false, &mut random);
        assert_eq!(event.len(), 2);
    }
}
