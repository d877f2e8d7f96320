//! Routers, cables, vantage points and targets.

use super::{Cable, GenerateError, Transit, World};

/// Addresses of vantage points are below 198.18.16.0, those of targets above, routers and links have 198.19.0.0/16.
const MOST_VPS: usize = 2_000;
const MOST_TARGETS: usize = 230;
const MOST_ROUTERS: usize = 8_000;

/// Metrics are tens of microseconds of delay; going over to another network is dear.
const PEERING_METRIC: u32 = 2_000;

impl World<'_> {
    pub(super) fn network(&mut self) -> Result<(), GenerateError> {
        let (table, bound) = (self.table, |what, count, most| {
            if count > most { Err(GenerateError::TooMany { what, count, most }) } else { Ok(()) }
        });
        bound("vantage points", table.city.values().map(|city| city.vps).sum(), MOST_VPS)?;
        bound("targets", table.targets, MOST_TARGETS)?;
        let cities = table.transit.iter().flat_map(|transit| &transit.cities);
        let named = cities.chain(table.cable.iter().flat_map(|cable| &cable.between)).chain(&table.peering);
        for city in named {
            if !table.city.contains_key(city) {
                return Err(GenerateError::City(city.as_str().into()));
            }
        }
        for transit in &table.transit {
            for city in &transit.cities {
                self.core(transit, city);
            }
        }
        for transit in &table.transit {
            for cable in &table.cable {
                if cable.between.iter().all(|city| transit.cities.contains(city)) {
                    self.cable(transit, cable);
                }
            }
        }
        for city in &table.peering {
            self.peer(city);
        }
        self.vps()?;
        self.targets()?;
        bound("routers", self.routers, MOST_ROUTERS)
    }

    /// A router of a transit network, with manners that are drawn.
    fn core(&mut self, transit: &Transit, city: &str) {
        let name = format!("{city}.{}", transit.name);
        let mut manners = String::new();
        if transit.mpls && self.percent(70) {
            manners.extend(["mpls = [", &(16_000 + self.routers).to_string(), "]\n"]);
        }
        if self.percent(6) {
            manners += "silent = true\n";
        } else if self.percent(10) {
            let pps = (100 + 50 * self.below(4)).to_string();
            manners.extend(["icmp_pps = ", &pps, "\nicmp_burst = 50\n"]);
        }
        let ids = ["", "", "", "", "", "ipid = \"separate\"\n", "ipid = \"random\"\n", "ipid = \"zero\"\n"];
        let kind = ids.get(self.below(ids.len())).copied().unwrap_or_default();
        manners += kind;
        if kind.is_empty() {
            manners.extend(["ipid_pps = ", &(5 + self.below(200)).to_string(), "\n"]);
        }
        if self.percent(4) {
            manners += "lb = \"per-packet\"\n";
        }
        self.router(&name, city, transit.asn, &manners);
    }

    fn router(&mut self, name: &str, city: &str, asn: u32, manners: &str) {
        self.routers += 1;
        let number = self.routers;
        let addresses =
            format!("[\"198.19.{}.{}\", \"2001:db8:ffff:{number:x}::1\"]", number / 250, number % 250 + 1);
        let text =
            format!("\n[[router]]\nname = \"{name}\"\naddr = {addresses}\ncity = \"{city}\"\nasn = {asn}");
        self.line(&text);
        self.text += manners;
    }

    /// The addresses of the next link.
    fn link_addresses(&mut self) -> String {
        let number = 2 * self.links;
        self.links += 1;
        let address = |number: usize| format!("198.19.{}.{}", 64 + number / 250, number % 250 + 1);
        format!("a_addr = \"{}\"\nb_addr = \"{}\"", address(number), address(number + 1))
    }

    fn cable(&mut self, transit: &Transit, cable: &Cable) {
        let [a, b] = &cable.between;
        let stretch = cable.stretch.unwrap_or(1.6);
        let metric = self.distance_metric(a, b, stretch);
        for _ in 0..cable.parallel.unwrap_or(1) {
            let addresses = self.link_addresses();
            let name = &transit.name;
            let text = format!(
                "\n[[link]]\na = \"{a}.{name}\"\nb = \"{b}.{name}\"\n{addresses}\nstretch = {stretch}\nmetric = {metric}"
            );
            self.line(&text);
            let weather = match self.below(20) {
                0 => "jitter_ms = 2\nab = { loss = 0.01 }\n",
                1 => "loss = 0.002\n",
                2 => "reorder = 0.005\nreorder_ms = 3\n",
                3 => "dup = 0.001\n",
                4..10 => "jitter_ms = 0.2\n",
                _ => "",
            };
            self.text += weather;
        }
    }

    fn distance_metric(&self, a: &str, b: &str, stretch: f64) -> u32 {
        let (Some(a), Some(b)) = (self.table.city.get(a), self.table.city.get(b)) else { return 1 };
        let km = crate::plan::great_circle_km((a.lat, a.lon), (b.lat, b.lon));
        // Tens of kilometres: about twenty microseconds each.
        whole(km * stretch / 10.0).max(1)
    }

    /// All networks of a city meet there.
    fn peer(&mut self, city: &str) {
        let here: Vec<_> =
            self.table.transit.iter().filter(|transit| transit.cities.iter().any(|c| c == city)).collect();
        for (number, one) in here.iter().enumerate() {
            for other in here.iter().skip(number + 1) {
                let addresses = self.link_addresses();
                let text = format!(
                    "\n[[link]]\na = \"{city}.{}\"\nb = \"{city}.{}\"\n{addresses}\ndelay_ms = 0.3\nmetric = {PEERING_METRIC}",
                    one.name, other.name
                );
                self.line(&text);
            }
        }
    }

    /// A router of a city that belongs to whoever asks for one, in turn.
    fn home(&self, city: &str, turn: usize) -> Result<(String, u32), GenerateError> {
        let here: Vec<_> = self
            .table
            .transit
            .iter()
            .filter(|transit| transit.cities.iter().any(|own| own == city))
            .collect();
        match here.get(turn % here.len().max(1)) {
            Some(transit) => Ok((format!("{city}.{}", transit.name), transit.asn)),
            None => Err(GenerateError::Island(city.into())),
        }
    }

    fn vps(&mut self) -> Result<(), GenerateError> {
        let mut count = 0;
        for (name, city) in &self.table.city {
            for number in 1..=city.vps {
                count += 1;
                let (home, _) = self.home(name, count)?;
                let asn = 65_200 + u32::try_from(count).unwrap_or(0);
                let access = format!("{name}.a{number}");
                self.router(&access, name, asn, "");
                let addresses = self.link_addresses();
                self.line(&format!(
                    "\n[[link]]\na = \"{home}\"\nb = \"{access}\"\n{addresses}\ndelay_ms = 0.4\nmetric = 10"
                ));
                // Who lives there: an office, a home with DSL, a home with fibre.
                let (line, tag) = match count % 3 {
                    0 => ("delay_ms = 0.2", "office"),
                    1 => ("delay_ms = 8\njitter_ms = 0.5\nup = { mbps = 40 }\ndown = { mbps = 100 }", "dsl"),
                    _ => ("delay_ms = 1.5\njitter_ms = 0.1", "fibre"),
                };
                let address =
                    format!("\"198.18.{}.{}\", \"2001:db8:1:{count:x}::1\"", count / 250, count % 250 + 1);
                self.line(&format!(
                    "\n[[vp]]\nname = \"{name}{number}\"\naddr = [{address}]\nat = \"{access}\"\nasn = {asn}\ntags = [\"{tag}\"]\n{line}"
                ));
            }
        }
        Ok(())
    }

    /// Targets by the weights of cities, four to an edge router.
    fn targets(&mut self) -> Result<(), GenerateError> {
        let cities: Vec<_> = self.table.city.iter().filter(|(_, city)| city.weight > 0).collect();
        let total: usize = cities.iter().map(|(_, city)| city.weight).sum();
        let (mut passed, mut made) = (0, 0);
        for (name, city) in cities {
            passed += city.weight;
            let until = self.table.targets * passed / total.max(1);
            for (place, number) in (made..until).enumerate() {
                let edge = format!("{name}.e{}", place / self.table.targets_per_edge.max(1) + 1);
                if place % self.table.targets_per_edge.max(1) == 0 {
                    let (home, asn) = self.home(name, number)?;
                    self.router(&edge, name, asn + 300, "");
                    let addresses = self.link_addresses();
                    self.line(&format!(
                        "\n[[link]]\na = \"{home}\"\nb = \"{edge}\"\n{addresses}\ndelay_ms = 0.5\nmetric = 10"
                    ));
                }
                self.target(name, &edge, number);
            }
            made = until;
        }
        Ok(())
    }

    fn target(&mut self, city: &str, edge: &str, number: usize) {
        let name = format!("target{number:03}");
        let third = 16 + number;
        let address = format!("198.18.{third}.1");
        let manners = match self.below(16) {
            0 => "echo = false\ntcp = [80, 443]\n",
            1 => "filtered = true\ntcp = [443]\n",
            2 => "rejected = [22, 25]\ntcp = [80]\n",
            3 => "timestamp = true\ntcp = [22, 80]\n",
            4 => "udp = [7]\ntcp = [22]\n",
            5 => "ipid = \"random\"\n",
            6 => "ipid = \"zero\"\ntcp = [80, 443]\n",
            7 => "mtu = 1400\ntcp = [80]\n",
            _ => "tcp = [80, 443]\n",
        };
        self.line(&format!(
            "\n[[host]]\nname = \"{name}\"\naddr = [\"{address}\", \"2001:db8:2:{number:x}::1\"]\nat = \"{edge}\"\nprefix = [\"198.18.{third}.0/24\", \"2001:db8:2:{number:x}::/64\"]"
        ));
        self.text += manners;
        self.hosts.push((name, city.to_owned(), address));
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "distances on Earth in tens of kilometres; the cast saturates"
)]
const fn whole(number: f64) -> u32 {
    number.round() as u32
}
