//! Distances on the globe.

/// The mean radius of the earth in kilometres (IUGG).
const EARTH_KM: f64 = 6371.0088;

/// The greatest distance of two points on it, in kilometres, rounded up.
pub(super) const MAX_DISTANCE_KM: f64 = 20_038.0;

/// A circle around a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Circle {
    pub(super) radius_km: f64,
    pub(super) latitude: f64,
    pub(super) longitude: f64,
}

impl Circle {
    /// The circle, or what is wrong with it.
    pub(super) fn new(radius_km: f64, latitude: f64, longitude: f64) -> Result<Self, &'static str> {
        if !(radius_km > 0.0 && radius_km <= MAX_DISTANCE_KM) {
            return Err("expected a radius above 0 and up to 20038km");
        }
        if !(-90.0..=90.0).contains(&latitude) {
            return Err("expected a latitude from -90 to 90");
        }
        if !(-180.0..=180.0).contains(&longitude) {
            return Err("expected a longitude from -180 to 180");
        }
        Ok(Self { radius_km, latitude, longitude })
    }

    /// Whether a point, in degrees north and east, lies inside.
    pub(super) fn contains(&self, latitude: f64, longitude: f64) -> bool {
        distance_km((self.latitude, self.longitude), (latitude, longitude)) <= self.radius_km
    }
}

/// The distance of two points on a sphere (haversine formula), in kilometres.
fn distance_km((lat1, lon1): (f64, f64), (lat2, lon2): (f64, f64)) -> f64 {
    let (phi1, phi2) = (lat1.to_radians(), lat2.to_radians());
    let half_phi = ((lat2 - lat1).to_radians() / 2.0).sin();
    let half_lambda = ((lon2 - lon1).to_radians() / 2.0).sin();
    let a = half_phi * half_phi + phi1.cos() * phi2.cos() * half_lambda * half_lambda;
    2.0 * EARTH_KM * a.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_atlas() {
        let amsterdam = (52.37, 4.90);
        let cases = [
            ((52.52, 13.40), 577.0),
            ((51.51, -0.13), 357.0),
            ((-33.87, 151.21), 16_640.0),
            ((52.37, 4.90), 0.0),
        ];
        for (other, km) in cases {
            let distance = distance_km(amsterdam, other);
            assert!((distance - km).abs() <= km * 0.01, "{other:?}: {distance}");
        }
        // Across the date line it is near.
        assert!(distance_km((0.0, 179.9), (0.0, -179.9)) < 25.0);
    }

    #[test]
    fn circles_have_bounds() {
        for (radius, lat, lon) in [
            (0.0, 0.0, 0.0),
            (f64::NAN, 0.0, 0.0),
            (1.0, 91.0, 0.0),
            (1.0, 0.0, f64::INFINITY),
            (3e4, 0.0, 0.0),
        ] {
            assert!(Circle::new(radius, lat, lon).is_err());
        }
    }
}
