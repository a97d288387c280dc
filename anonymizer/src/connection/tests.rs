use super::*;
use crate::fixture::{Bench, DEVICES, NOW, WEB, address, package};
use schemas::time::DAY_MS;

fn connection(from: &str, user_agent: &str) -> Connection {
    Connection {
        address: address(from),
        user_agent: user_agent.into(),
        accept_language: "da".into(),
    }
}

#[test]
fn a_connection_is_reduced() {
    let bench = Bench::new(package());
    let resolver = bench.resolver();
    let resolved =
        resolver.resolve(connection("130.225.0.1", "Firefox/145 Windows"), "s", NOW).unwrap();
    let text = |from| resolved.text(from).map(str::to_owned);
    assert_eq!(text(FromConnection::Country).as_deref(), Some("DK"));
    assert_eq!(text(FromConnection::Browser).as_deref(), Some("Firefox 145"));
    assert_eq!(text(FromConnection::Os).as_deref(), Some("Windows"));
    assert_eq!(text(FromConnection::DeviceClass).as_deref(), Some("desktop"));
    assert_eq!(text(FromConnection::Language).as_deref(), Some("da"));
    let epoch = epoch_of(NOW, 1);
    assert!(resolved.visit(WEB, epoch).is_some());
    assert!(resolved.visit(WEB, epoch + 1).is_none(), "a visit is of its epoch");
    assert!(resolved.visit(DEVICES, epoch).is_none());
}

#[test]
fn nothing_is_known_of_nobody() {
    let resolved = Bench::new(package()).nobody();
    for from in [
        FromConnection::Country,
        FromConnection::Browser,
        FromConnection::Os,
        FromConnection::DeviceClass,
        FromConnection::Language,
    ] {
        assert_eq!(resolved.text(from), None);
    }
    assert!(resolved.visits.is_empty());
}

#[test]
fn visits_differ_by_site_address_agent_and_epoch() {
    let bench = Bench::new(package());
    let resolver = bench.resolver();
    let visit = |from: &str, agent: &str, site: &str, received: Millis| {
        let resolved = resolver.resolve(connection(from, agent), site, received).unwrap();
        resolved.visit(WEB, epoch_of(received, 1)).unwrap().to_vec()
    };
    let here = visit("130.225.0.1", "a", "s", NOW);
    assert_eq!(visit("130.225.0.1", "a", "s", NOW.plus(1)), here);
    assert_ne!(visit("130.225.0.2", "a", "s", NOW), here);
    assert_ne!(visit("130.225.0.1", "b", "s", NOW), here);
    assert_ne!(visit("130.225.0.1", "a", "t", NOW), here);
    assert_ne!(visit("130.225.0.1", "a", "s", NOW.plus(DAY_MS)), here);
    for day in 0..2 * VISIT_KEYS_MAX as i64 {
        visit("130.225.0.1", "a", "s", NOW.plus(day * DAY_MS));
    }
    assert!(resolver.keys.read().unwrap().keys.len() <= VISIT_KEYS_MAX);
    assert_eq!(visit("130.225.0.1", "a", "s", NOW), here);
}

#[test]
fn the_database_can_be_replaced() {
    let bench = Bench::new(package());
    let resolver = bench.resolver();
    let build = resolver.geo_build();
    resolver.reload_geo(Geo::shipped().unwrap());
    assert_eq!(resolver.geo_build(), build);
}
