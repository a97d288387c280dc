use proptest::prelude::*;

use super::*;
use crate::fixture;

const WINDOWS_CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
const MAC_SAFARI: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15";
const LINUX_FIREFOX: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
const WINDOWS_EDGE: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1";
const ANDROID: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36";
const ANDROID_TABLET: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
const IPAD: &str = "Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1 Mobile/15E148 Safari/604.1";
const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const CHROMEBOOK: &str = "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

fn of(agents: &Agents, user_agent: &str) -> (String, String, &'static str) {
    let agent = agents.parse(bounded(user_agent));
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (text(&agent.browser), text(&agent.os), agent.class.map_or("", DeviceClass::name))
}

#[test]
fn the_shipped_patterns_know_what_people_use() {
    let agents = Agents::shipped().unwrap();
    for (user_agent, browser, os, class) in [
        (WINDOWS_CHROME, "Chrome 142", "Windows", "desktop"),
        (MAC_SAFARI, "Safari 26", "Mac OS X", "desktop"),
        (LINUX_FIREFOX, "Firefox 145", "Linux", "desktop"),
        (WINDOWS_EDGE, "Edge 142", "Windows", "desktop"),
        (CHROMEBOOK, "Chrome 142", "Chrome OS", "desktop"),
        (IPHONE, "Mobile Safari 26", "iOS", "mobile"),
        (ANDROID, "Chrome Mobile 142", "Android", "mobile"),
        (ANDROID_TABLET, "Chrome 142", "Android", "tablet"),
        (IPAD, "Mobile Safari 12", "iOS", "tablet"),
        (GOOGLEBOT, "Googlebot 2", "Other", "bot"),
        ("curl/8.5.0", "curl 8", "Other", "other"),
        ("X1/3.8.1 (serial X1-2031-000417)", "Other", "Other", "other"),
        ("", "", "", ""),
    ] {
        let expected = (browser.to_owned(), os.to_owned(), class);
        assert_eq!(of(&agents, user_agent), expected, "{user_agent}");
    }
    assert!((500..2_000).contains(&agents.browsers.len()), "{}", agents.browsers.len());
    assert!((50..300).contains(&agents.systems.len()), "{}", agents.systems.len());
}

/// Patterns repeat what they capture: user agents made so that a captured group holds somebody.
#[test]
fn a_captured_name_does_not_leave() {
    let agents = Agents::shipped().unwrap();
    for user_agent in [
        "JensJensenBot/1.0",
        "jens.jensen.example.com crawler/1.0",
        "Mozilla/5.0 (Windows NT 6.1) jensjensenspider/1.0",
        "com.jensjensen.app/1 CFNetwork/978",
        "JensJensen/4520123456 CFNetwork/1.0 Darwin/1.0",
        "Mozilla/5.0 (jensjensen; jensjensen) jensjensen/417",
        "Chrome/4520123456.0.0.0",
        "Firefox/4520123456.0",
    ] {
        let (browser, os, _) = of(&agents, user_agent);
        let out = format!("{browser} {os}").to_lowercase();
        assert!(!out.contains("jens") && !out.contains("452012"), "{out} from {user_agent}");
    }
}

#[test]
fn names_are_spelled_out_by_patterns() {
    let of = |regex: &str, replacement: Option<&str>| spelled_out(regex, replacement).join(", ");
    assert_eq!(of(r"(Firefox|Chrome)/(\d+)", None), "Firefox, Chrome");
    assert_eq!(
        of(r"^(?:a|b) (K-Meleon|Mail\.RU_Bot|Vo[il]a|x\d|archive.{0,3}|y(?:z|)|Plain One)", None),
        "K-Meleon, Mail.RU_Bot, Plain One"
    );
    assert_eq!(of(r"(\w+)Browser", None), "");
    assert_eq!(of(r"([a-z(|)]+) (Chrome)", None), "");
    assert_eq!(of(r"anything", Some("Edge")), "Edge");
    assert_eq!(of(r"(Collector|[a-z]+)-x", Some("$1 for ArcGIS")), "Collector for ArcGIS");
    assert_eq!(of(r"(a)(b)", Some("$1 $2")), "");
    assert_eq!(of("(", None), "");
    assert_eq!(of("\\", None), "");
}

#[test]
fn long_user_agents_are_cut_and_remembered_cut() {
    let agents = fixture::agents();
    let long = format!("{}Firefox/145", "\u{e9}".repeat(600));
    assert_eq!(bounded(&long).len(), USER_AGENT_BYTES_MAX);
    assert_eq!(of(&agents, &long).0, "Other", "what comes after is not looked at");
    for number in 0..3 * CACHE_ENTRIES {
        agents.parse(&format!("Firefox/{number}"));
    }
    assert!(agents.cache.len() <= CACHE_ENTRIES + CACHE_ENTRIES / 8);
}

#[test]
fn files_that_are_no_patterns_are_refused() {
    for text in [
        "",
        "browsers: []",
        "user_agent_parsers:\n  - regex: '('\nos_parsers: []\ndevice_parsers: []\n",
    ] {
        assert!(matches!(Agents::of(text, "given"), Err(Error::Agents { .. })), "{text}");
    }
    assert!(matches!(Agents::open(Path::new("/nowhere/at/all")), Err(Error::Io { .. })));
}

proptest! {
    #[test]
    fn only_listed_names_leave(user_agent in "(Firefox|Chrome|[A-Za-z]{1,12})(Bot|Browser|/)[0-9]{1,12}.{0,40}") {
        let agents = fixture::agents();
        let (browser, os, class) = of(&agents, &user_agent);
        let family = browser.rsplit_once(' ').map_or(browser.as_str(), |(family, _)| family);
        prop_assert!(["Firefox", "Chrome", "Other"].contains(&family), "{}", browser);
        prop_assert!(["Windows", "Android", "Other"].contains(&os.as_str()), "{}", os);
        prop_assert!(browser.len() <= "Firefox 999".len());
        prop_assert!(["desktop", "mobile", "tablet", "bot", "other"].contains(&class));
    }
}
