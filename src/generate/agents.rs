//! What senders run: user agents of the browsers that people have, of libraries in devices, and of a few robots.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// A share of all senders, and the user agent with `{}` for the major version.
struct Agent {
    weight: u32,
    text: &'static str,
    versions: std::ops::RangeInclusive<u32>,
}

const fn agent(weight: u32, text: &'static str, versions: std::ops::RangeInclusive<u32>) -> Agent {
    Agent { weight, text, versions }
}

/// Browsers by weight.
const AGENTS: [Agent; 14] = [
    agent(
        300,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
        118..=131,
    ),
    agent(
        170,
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Mobile Safari/537.36",
        118..=131,
    ),
    agent(
        160,
        "Mozilla/5.0 (iPhone; CPU iPhone OS {}_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{}.5 Mobile/15E148 Safari/604.1",
        15..=18,
    ),
    agent(
        90,
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
        118..=131,
    ),
    agent(
        70,
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{}.4 Safari/605.1.15",
        15..=18,
    ),
    agent(
        60,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36 Edg/{}.0.0.0",
        118..=131,
    ),
    agent(
        50,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{}.0) Gecko/20100101 Firefox/{}.0",
        115..=132,
    ),
    agent(25, "Mozilla/5.0 (X11; Linux x86_64; rv:{}.0) Gecko/20100101 Firefox/{}.0", 115..=132),
    agent(
        20,
        "Mozilla/5.0 (iPad; CPU OS {}_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{}.5 Mobile/15E148 Safari/604.1",
        15..=17,
    ),
    agent(
        20,
        "Mozilla/5.0 (Linux; Android 13; SAMSUNG SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/{}.0 Chrome/115.0.0.0 Mobile Safari/537.36",
        21..=26,
    ),
    agent(
        15,
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
        118..=131,
    ),
    agent(
        10,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36 OPR/{}.0.0.0",
        104..=114,
    ),
    agent(7, "Mozilla/5.0 (compatible; Googlebot/2.{}; +http://www.google.com/bot.html)", 1..=1),
    agent(3, "Mozilla/5.0 (compatible; bingbot/2.{}; +http://www.bing.com/bingbot.htm)", 0..=0),
];

/// The user agent of a browser.
pub(super) fn browser(random: &mut ChaCha8Rng) -> String {
    let total: u32 = AGENTS.iter().map(|agent| agent.weight).sum();
    let mut drawn = random.random_range(0..total);
    let mut chosen = &AGENTS[0];
    for agent in &AGENTS {
        match drawn.checked_sub(agent.weight) {
            Some(rest) => drawn = rest,
            None => {
                chosen = agent;
                break;
            }
        }
    }
    // The smaller of two draws: most people are up to date, some never are.
    let span = chosen.versions.end() - chosen.versions.start();
    let behind = random.random_range(0..=span).min(random.random_range(0..=span));
    chosen.text.replace("{}", &(chosen.versions.end() - behind).to_string())
}

/// The user agent of a device that posts by itself: an HTTP library's.
pub(super) fn library(random: &mut ChaCha8Rng) -> String {
    ["okhttp/4.12.0", "curl/8.5.0", "ESP32 HTTP Client/1.0", "python-requests/2.32.3"]
        [random.random_range(0..4)]
    .to_owned()
}
