//! A plan as a picture: an SVG of a world map's grid with cities, routers, links, vantage points and hosts. No script.

use std::fmt::Write as _;

use crate::ids::{Id as _, NodeId};
use crate::plan::{NodeKind, Plan};

/// Draws a plan. Nodes without a city stand in a row below the map.
pub fn svg(plan: &Plan) -> String {
    let spots = spots(plan);
    let spot = |node: NodeId| spots.get(node.index()).copied().unwrap_or_default();
    let mut svg = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" font-family=\"sans-serif\" font-size=\"9\">\n\
         <style>.g{{stroke:#ddd}}.l{{stroke:#47a;stroke-opacity:.55}}.w{{stroke:#c52}}.a{{stroke:#aaa;stroke-width:.5}}\
         .r{{fill:#245}}.q{{fill:#999}}.v{{fill:#d40}}.h{{fill:#2a4}}text{{fill:#333}}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>",
        HEIGHT + ROW * 2.0
    );
    grid(&mut svg);
    for (id, link) in plan.links.pairs() {
        let (a, b) = (spot(link.a), spot(link.b));
        let leaf = link.a.index() >= plan.routers;
        let way = &plan.ways[crate::ids::WayId::new(2 * id.index())];
        let class = match () {
            () if leaf => "a",
            () if way.is_plain() => "l",
            () => "l w",
        };
        let title = escaped(&format!(
            "{} - {}, {} ms",
            plan.name(link.a),
            plan.name(link.b),
            std::time::Duration::from(way.delay).as_secs_f64() * 1e3
        ));
        let _ = writeln!(
            svg,
            "<path class=\"{class}\" fill=\"none\" d=\"M{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}\"><title>{title}</title></path>",
            a.x,
            a.y,
            f64::midpoint(a.x, b.x),
            f64::midpoint(a.y, b.y) - (a.x - b.x).abs() / 12.0,
            b.x,
            b.y
        );
    }
    for (id, node) in plan.nodes.pairs() {
        let Spot { x, y } = spot(id);
        let title = escaped(&node.name);
        let _ = match node.kind {
            NodeKind::Router => {
                let class = if node.manners.silent { "q" } else { "r" };
                writeln!(
                    svg,
                    "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.2\"><title>{title}</title></circle>"
                )
            }
            NodeKind::Vp(_) => writeln!(
                svg,
                "<path class=\"v\" d=\"M{x:.1} {:.1}l3.5 6h-7z\"><title>{title}</title></path>",
                y - 4.0
            ),
            NodeKind::Host(_) => writeln!(
                svg,
                "<rect class=\"h\" x=\"{:.1}\" y=\"{:.1}\" width=\"2\" height=\"2\"><title>{title}</title></rect>",
                x - 1.0,
                y - 1.0
            ),
        };
    }
    for city in &plan.cities {
        let Spot { x, y } = place(city.latitude, city.longitude);
        let _ =
            writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 6.0, y - 5.0, escaped(&city.name));
    }
    svg += "</svg>\n";
    svg
}

const WIDTH: f64 = 1_440.0;
const HEIGHT: f64 = 720.0;
/// What is below the map.
const ROW: f64 = 40.0;

#[derive(Clone, Copy, Debug, Default)]
struct Spot {
    x: f64,
    y: f64,
}

/// Where a point is on an equirectangular map.
fn place(latitude: f64, longitude: f64) -> Spot {
    Spot { x: (longitude + 180.0) / 360.0 * WIDTH, y: (90.0 - latitude) / 180.0 * HEIGHT }
}

/// Where each node stands: around its city, or in a row.
fn spots(plan: &Plan) -> Vec<Spot> {
    let mut here = vec![0_u32; plan.cities.len()];
    let nowhere = plan.nodes.iter().filter(|node| node.city.is_none()).count();
    let step = (WIDTH - ROW) / f64::from(u32::try_from(nowhere.max(1)).unwrap_or(u32::MAX));
    let mut x = ROW / 2.0;
    let spot = |node: &crate::plan::Node| {
        let city = node.city.and_then(|city| Some((plan.cities.at(city)?, here.get_mut(city.index())?)));
        let Some((city, turn)) = city else {
            let spot = Spot { x, y: HEIGHT + if node.kind == NodeKind::Router { ROW } else { ROW * 1.6 } };
            x += step;
            return spot;
        };
        // A spiral: the golden angle leaves no two at one place.
        let number = f64::from(*turn);
        *turn += 1;
        let (angle, radius) = (number * 2.399_963, 2.6 * number.sqrt());
        let centre = place(city.latitude, city.longitude);
        Spot { x: centre.x + radius * angle.cos(), y: centre.y + radius * angle.sin() }
    };
    plan.nodes.iter().map(spot).collect()
}

/// A line for each 30 degrees.
fn grid(svg: &mut String) {
    for number in 0..=12_u32 {
        let x = f64::from(number) / 12.0 * WIDTH;
        let _ = writeln!(svg, "<path class=\"g\" d=\"M{x} 0V{HEIGHT}\"/>");
    }
    for number in 0..=6_u32 {
        let y = f64::from(number) / 6.0 * HEIGHT;
        let _ = writeln!(svg, "<path class=\"g\" d=\"M0 {y}H{WIDTH}\"/>");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_in_the_picture() {
        let plan = Plan::parse(
            "test",
            r#"
city = { ams = { lat = 52.37, lon = 4.90 } }
router = [{ name = "r1", addr = "198.19.0.1", city = "ams" }, { name = "r2", addr = "198.19.0.2", silent = true }]
link = [{ a = "r1", b = "r2", delay_ms = 1.5, loss = 0.1 }]
vp = [{ name = "home", addr = "198.18.0.1", at = "r1" }]
host = [{ name = "www", addr = "198.18.1.1", at = "r2" }]
"#,
        );
        let svg = svg(&plan.unwrap());
        for part in [
            "r1 - r2, 1.5 ms",
            "class=\"l w\"",
            "class=\"q\"",
            "<title>home</title>",
            "<title>www</title>",
            ">ams<",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert_eq!(svg.matches('<').count(), svg.matches('>').count());
    }
}
