//! Posts bodies as browsers, devices and servers do: again after 429 and 503, and never after a refusal.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::people::Channel;
use super::post::{Doors, Post};

/// Attempts for one body before giving up.
const ATTEMPTS: u32 = 8;
/// How long to wait where the service does not say.
const WAIT: Duration = Duration::from_millis(250);

/// Under what to post.
#[derive(Clone, Default)]
pub struct Keys {
    /// Key of a server source.
    pub server: Option<String>,
    /// Key of a device source.
    pub device: Option<String>,
    /// Public id of a site, and the origin of its pages.
    pub site: Option<(String, String)>,
}

/// Talks to one service.
pub struct Client {
    agent: ureq::Agent,
    url: String,
    keys: Keys,
}

/// What the service answered to all bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    /// Bodies that were answered for good.
    pub bodies: u64,
    /// Events acknowledged as durable.
    pub accepted: u64,
    /// Events refused.
    pub refused: u64,
    /// Bodies sent again because the service was busy.
    pub repeated: u64,
}

impl Posted {
    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.bodies += other.bodies;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.repeated += other.repeated;
    }
}

impl fmt::Display for Posted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bodies, accepted, refused, repeated } = self;
        write!(out, "{bodies} bodies: {accepted} events accepted, {refused} refused")?;
        if *repeated > 0 {
            write!(out, "; {repeated} bodies sent again")?;
        }
        Ok(())
    }
}

/// The answer to a body; other members do not matter here.
#[derive(Deserialize)]
struct Answer {
    accepted: u64,
}

impl Client {
    /// A client for the service at `url`, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    ///
    /// If the URL is not plain HTTP, or there is no key that could send everything.
    pub fn new(url: &str, keys: Keys) -> anyhow::Result<Self> {
        if !url.starts_with("http://") {
            bail!("events are posted over http:// only: post from the machine of the service");
        }
        if keys.server.is_none() && (keys.device.is_none() || keys.site.is_none()) {
            bail!("give --server-key, or both --device-key and --site");
        }
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into();
        Ok(Self { agent, url: format!("{}/v1/events", url.trim_end_matches('/')), keys })
    }

    /// Which doors this client has a key for.
    #[must_use]
    pub fn doors(&self) -> Doors {
        Doors { site: self.keys.site.is_some(), device: self.keys.device.is_some() }
    }

    /// Posts one body until it is answered for good.
    ///
    /// # Errors
    ///
    /// If the service cannot be reached, stays busy, refuses the key, or is not understood.
    pub fn send(&self, post: &Post) -> anyhow::Result<Posted> {
        for attempt in 0..ATTEMPTS {
            let (status, wait, text) = self.attempt(post)?;
            match status {
                200 | 202 | 400 => {
                    let Answer { accepted } = serde_json::from_str(&text).with_context(|| {
                        format!("the answer with status {status} is not understood: {text}")
                    })?;
                    let refused = post.events.saturating_sub(accepted);
                    let repeated = u64::from(attempt);
                    return Ok(Posted { bodies: 1, accepted, refused, repeated });
                }
                429 | 503 => std::thread::sleep(wait),
                status => bail!("the service answered {status}: {text}"),
            }
        }
        bail!("the service was busy {ATTEMPTS} times in a row")
    }

    fn attempt(&self, post: &Post) -> anyhow::Result<(u16, Duration, String)> {
        let mut request = self.agent.post(&self.url);
        match (post.channel, &self.keys) {
            (Channel::Site, Keys { site: Some((site, origin)), .. }) => {
                request = request.query("site", site).header("Origin", origin);
            }
            (Channel::Device, Keys { device: Some(key), .. })
            | (_, Keys { server: Some(key), .. }) => {
                request = request.header("Authorization", format!("Bearer {key}"));
            }
            _ => bail!("there is no key for these events: give --server-key, too"),
        }
        for (name, value) in &post.headers {
            request = request.header(*name, value);
        }
        let mut response = request
            .send(post.body.as_bytes())
            .with_context(|| format!("cannot post to {}", self.url))?;
        let wait = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let wait = wait.and_then(|value| value.parse().ok()).map_or(WAIT, Duration::from_secs);
        let text = response.body_mut().read_to_string().context("cannot read the answer")?;
        Ok((response.status().as_u16(), wait, text))
    }
}
