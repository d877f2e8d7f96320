//! Name servers, resolvers and web servers.

use super::World;

/// Where the anycast name server and the anycast resolver have sites.
const SITES: [&str; 8] = ["fra", "lon", "nyc", "sjc", "sao", "jnb", "sin", "tyo"];
/// Targets that have pages: every eighth.
const EVERY: usize = 8;

impl World<'_> {
    pub(super) fn services(&mut self) {
        let sites: Vec<_> = SITES.into_iter().filter(|site| self.table.city.contains_key(*site)).collect();
        for (address, kind) in [("198.18.250.53", "ns"), ("198.18.251.53", "resolver")] {
            for (number, site) in sites.iter().enumerate() {
                let Some(at) = self.router_of(site) else { continue };
                self.line(&format!(
                    "\n[[host]]\nname = \"{kind}.{site}\"\naddr = \"{address}\"\nat = \"{at}\"\nanycast = true"
                ));
                let what = if kind == "ns" {
                    // One site of four is a minute behind.
                    let lag = if number % 4 == 3 { "\nlag_s = 60" } else { "" };
                    format!("zones = [\"lab.test\", \"example.test\"]{lag}")
                } else {
                    "recursive = true\nmiss_ms = 30".to_owned()
                };
                self.line(&format!(
                    "\n[[dns]]\nhost = \"{kind}.{site}\"\nidentity = \"{kind}1.{site}.lab.test\"\n{what}"
                ));
            }
        }
        self.zones();
        self.webs();
    }

    fn router_of(&self, city: &str) -> Option<String> {
        let mut transits = self.table.transit.iter();
        let transit = transits.find(|transit| transit.cities.iter().any(|own| own == city))?;
        Some(format!("{city}.{}", transit.name))
    }

    fn zones(&mut self) {
        let mut records = vec!["@ 3600 NS ns".to_owned(), "ns 3600 A 198.18.250.53".to_owned()];
        for (number, (name, city, address)) in self.hosts.iter().enumerate() {
            records.push(format!("{name} A {address}"));
            records.push(format!("{name} AAAA 2001:db8:2:{number:x}::1"));
            records.push(format!("{name} TXT \\\"in {city}\\\""));
        }
        self.zone("lab.test", 2_026_010_101, &records);
        let mut records = vec![
            "@ NS ns.lab.test.".to_owned(),
            "@ MX 10 mail".to_owned(),
            "mail 60 A 198.18.16.1".to_owned(),
        ];
        for (number, (name, _, address)) in self.hosts.iter().enumerate().step_by(EVERY) {
            records.push(format!("www{number} 30 CNAME {name}.lab.test."));
            records.push(format!("web{number} 30 A {address}"));
        }
        self.zone("example.test", 7, &records);
    }

    fn zone(&mut self, name: &str, serial: u32, records: &[String]) {
        self.line(&format!("\n[[zone]]\nname = \"{name}\"\nserial = {serial}\nttl = 300"));
        self.line(&format!("updates = [{{ at_s = 120, serial = {} }}]\nrecords = [", serial + 1));
        for record in records {
            self.line(&format!("  \"{record}\","));
        }
        self.line("]");
    }

    fn webs(&mut self) {
        let hosts: Vec<_> =
            self.hosts.iter().enumerate().step_by(EVERY).map(|(n, host)| (n, host.0.clone())).collect();
        for (turn, (number, host)) in hosts.into_iter().enumerate() {
            let tls = ["valid", "valid", "valid", "expired", "wrong-name", "self-signed"];
            let tls = tls.get(turn % tls.len()).copied().unwrap_or("valid");
            self.line(&format!(
                "\n[[web]]\nhost = \"{host}\"\nnames = [\"www{number}.example.test\", \"web{number}.example.test\", \"{host}.lab.test\"]\ntls = \"{tls}\""
            ));
            self.line(&format!("[[web.page]]\ntype = \"text/html\"\nbody = \"<title>{host}</title>\""));
            self.line("[[web.page]]\npath = \"/large\"\nbytes = 1000000");
            self.line("[[web.page]]\npath = \"/moved\"\nlocation = \"/\"");
            let special = [
                "path = \"/slow\"\nwait_ms = 2000\nmbps = 1\nbytes = 100000",
                "path = \"/broken\"\nbroken = \"cut\"\nbytes = 1000",
                "path = \"/broken\"\nbroken = \"reset\"",
                "path = \"/broken\"\nbroken = \"garbage\"",
                "path = \"/broken\"\nbroken = \"hang\"",
            ];
            let special = special.get(turn % special.len()).copied().unwrap_or_default();
            self.line(&format!("[[web.page]]\n{special}"));
        }
    }
}
