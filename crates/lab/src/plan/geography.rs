//! Distances on Earth, and how long light in glass takes for them.

use mmn_probe::time::Nanos;

use super::City;
use super::units::millis;

/// The radius of the sphere with the surface of the Earth, in kilometres.
const EARTH_KM: f64 = 6_371.0;
/// What light travels in glass in a millisecond: two thirds of its speed in vacuum, in kilometres.
const GLASS_KM_PER_MS: f64 = 299.792_458 * 2.0 / 3.0;

/// The distance between two points, given as degrees north and east, along the surface, in kilometres.
pub fn great_circle_km(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (lat1, lat2) = (from.0.to_radians(), to.0.to_radians());
    let half = |difference: f64| (difference / 2.0).sin().powi(2);
    let h = half(lat2 - lat1) + lat1.cos() * lat2.cos() * half((to.1 - from.1).to_radians());
    2.0 * EARTH_KM * h.sqrt().min(1.0).asin()
}

/// How long light takes between two cities along a cable that is `stretch` times as long as it need be; to the
/// microsecond, so that every machine comes to the same.
pub(super) fn cable_delay(from: &City, to: &City, stretch: f64) -> Option<Nanos> {
    let km = great_circle_km((from.latitude, from.longitude), (to.latitude, to.longitude));
    let ms = km * stretch / GLASS_KM_PER_MS;
    millis((ms * 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cities_are_as_far_apart_as_they_are() {
        let (london, new_york) = ((51.507, -0.128), (40.713, -74.006));
        assert!((great_circle_km(london, new_york) - 5_570.0).abs() < 5.0);
        assert!(great_circle_km(london, london).abs() < 1e-9);
        assert!((great_circle_km((0.0, 0.0), (0.0, 180.0)) - 20_015.0).abs() < 1.0);
    }
}
