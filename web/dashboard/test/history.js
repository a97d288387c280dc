// Made-up history of both families, of which every number is known: the same people and devices on each of some days.
const DAY = 86_400_000;

/** Milliseconds of the beginning of the day so many days ago. */
export const daysAgo = (days) => (Math.floor(Date.now() / DAY) - days) * DAY;
export const date = (time) => new Date(time).toISOString().slice(0, 10);

const PRODUCTS = { scanner: 40, viewer: 25, tablet: 6, watch: 7 };

/** What devices do in a day: one event each, of 12 s; every fourth scanner fails. */
export function devices(day) {
  return Object.entries(PRODUCTS).flatMap(([product, count]) =>
    Array.from({ length: count }, (_, index) => ({
      type: "device_usage",
      id: `${date(day)}-${product}-${index}`,
      time: new Date(day + 36_000_000).toISOString(),
      serial_number: `${product}-${index}`,
      product,
      version: "3.8.1",
      feature: "preview",
      duration: 12_000,
      ...(product === "scanner" && index % 4 === 0 && { error: "E42" }),
      end_user: { address: `79.200.235.${index}` },
    })),
  );
}

const AGENTS = [
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
  "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
];

/** What visitors do in a day: each sees a page for 41 s; the address says who. */
export function visits(day, visitors = 48) {
  return Array.from({ length: visitors }, (_, index) => {
    const shared = {
      type: "web",
      time: new Date(day + 36_000_000).toISOString(),
      url: "https://www.example.org/blog/first?utm_source=news&utm_medium=mail&utm_campaign=spring",
      end_user: { address: `79.200.235.${index}`, language: "de-DE,de;q=0.9", user_agent: AGENTS[index % 2] },
    };
    return [
      { ...shared, id: `${date(day)}-${index}`, name: "pageview", referrer: "https://search.example/" },
      { ...shared, id: `${date(day)}-${index}-stay`, name: "engagement", engaged: 41_000, scroll_depth: 80 },
    ];
  }).flat();
}

export const lines = (events) => events.map((event) => JSON.stringify(event)).join("\n");
