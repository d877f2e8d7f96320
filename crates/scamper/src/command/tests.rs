//! Every command as text, both ways.

use proptest::prelude::*;

use super::*;

/// Commands as scripts write them, and as they are written here.
const COMMANDS: &[(&str, &str)] = &[
    ("ping 192.0.2.1", "ping 192.0.2.1"),
    ("PING  -c 1   -W 1.0s 2001:db8::1 ", "ping -c 1 -W 1 2001:db8::1"),
    (
        "ping -R -c 4 -i 0.050000s -O dl -O mss=1400 -P TCP-syn -z 0x10 192.0.2.1",
        "ping -c 4 -i 0.05s -O dl -O mss=1400 -P tcp-syn -R -z 16 192.0.2.1",
    ),
    (
        "ping -p f0f -T tsprespec=192.0.2.1,192.0.2.2 192.0.2.9",
        "ping -p 0f0f -T tsprespec=192.0.2.1,192.0.2.2 192.0.2.9",
    ),
    (
        "ping -A 1 -b 10 -C 0xffff -d 80 -F 1234 -m 5 -M 1280 -o 1 -r 192.0.2.2 -s 100 -S 192.0.2.3 -U 7 -y 0 192.0.2.1",
        "ping -A 1 -b 10 -C 65535 -d 80 -F 1234 -m 5 -M 1280 -o 1 -r 192.0.2.2 -s 100 -S 192.0.2.3 -U 7 -y 0 192.0.2.1",
    ),
    ("ping -B 'c0ffee' 192.0.2.1", "ping -B c0ffee 192.0.2.1"),
    (
        "trace -P icmp-paris -w 2s -q 1 -W 5 -MQT 192.0.2.1",
        "trace -M -P icmp-paris -q 1 -Q -T -w 2 -W 5 192.0.2.1",
    ),
    (
        "trace -c 95 -d 0x10 -f 2 -g 3 -G 2 -H 0.5s -l 0 -m 30 -N 3 -o 0 -O ptr -O const-payload -z 192.0.2.5 -z 192.0.2.6 -Z set 192.0.2.1",
        "trace -c 95 -d 16 -f 2 -g 3 -G 2 -H 0.5s -l 0 -m 30 -N 3 -o 0 -O ptr -O const-payload -z 192.0.2.5 -z 192.0.2.6 -Z set 192.0.2.1",
    ),
    (
        "tracelb -c 99 -P icmp-echo -q 3 -Q 500 -w 5 -W 25 192.0.2.1",
        "tracelb -c 99 -P icmp-echo -q 3 -Q 500 -w 5 -W 25 192.0.2.1",
    ),
    (
        "host -r -t ns -s 192.0.2.53 -W 2s -R 0 example.net",
        "host -r -R 0 -s 192.0.2.53 -t NS -W 2 example.net",
    ),
    (
        "host -T -c CHAOS -O nsid -O ecs=192.0.2.0/24 -O mqtypes=A,AAAA -t TXT id.server",
        "host -T -c CH -O nsid -O subnet=192.0.2.0/24 -O mqtypes=A,AAAA -t TXT id.server",
    ),
    ("host -t PTR 192.0.2.1", "host -t PTR 192.0.2.1"),
    (
        "http -H 'Accept: text/html' -H \"X: it's\" -m 10s -O insecure -u 'https://example.net/' 192.0.2.80",
        "http -H 'Accept: text/html' -H 'X: it\\'s' -m 10 -O insecure -u https://example.net/ 192.0.2.80",
    ),
    (
        "udpprobe -d 53 -p 00ff -c 3 -o 2 -O exitfirst 192.0.2.1",
        "udpprobe -c 3 -d 53 -o 2 -O exitfirst -p 00ff 192.0.2.1",
    ),
    ("dealias 192.0.2.1", "dealias 192.0.2.1"),
    (
        "dealias -m ally -p '-P icmp-echo' -q 5 -W 1000 -f 200 -O inseq 192.0.2.1 192.0.2.2",
        "dealias -f 200 -m ally -O inseq -p '-P icmp-echo' -q 5 -W 1000 192.0.2.1 192.0.2.2",
    ),
    ("dealias -m prefixscan 192.0.2.1 192.0.2.2/30", "dealias -m prefixscan 192.0.2.1 192.0.2.2/30"),
    (
        "dealias -m midardisc -@ 1700000000.5 -S 0.5:0:1 -p '-P udp -i 192.0.2.1' -p '-i 192.0.2.2 -t 9' ",
        "dealias -@ 1700000000.5s -m midardisc -p '-i 192.0.2.1 -P udp' -p '-i 192.0.2.2 -t 9' -S 0.5s:0:1",
    ),
    ("neighbourdisc -F -i eth0 -w 500 192.0.2.1", "neighbourdisc -F -i eth0 -w 500 192.0.2.1"),
    ("owamp -c 5 -d TX -i 0.1 -O zero 192.0.2.1", "owamp -c 5 -d tx -i 0.1 -O zero 192.0.2.1"),
    (
        "sniff -S 192.0.2.1 -c 5 -G 10 icmp[icmpid] == 0x20",
        "sniff -c 5 -G 10 -S 192.0.2.1 icmp[icmpid] == 32",
    ),
    ("sting -c 10 -i 100 -m 50 192.0.2.1", "sting -c 10 -i 100 -m 50 192.0.2.1"),
    (
        "tbit -t pmtud -p http -u http://example.net/ -o -5 -O sack 192.0.2.1",
        "tbit -o -5 -O sack -p http -t pmtud -u http://example.net/ 192.0.2.1",
    ),
];

#[test]
fn commands_are_read_and_written() {
    for (text, written) in COMMANDS {
        let command = Command::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(command.to_string(), *written);
        assert_eq!(Command::parse(written).unwrap(), command, "{written}");
        assert_eq!(command.word(), written.split(' ').next().unwrap());
    }
}

#[test]
fn what_is_wrong_is_said() {
    for (text, reason) in [
        ("dance 192.0.2.1", "could not determine command type: 'dance' is no measurement"),
        ("ping", "ping: expected an address to measure"),
        ("ping example.net", "ping: invalid destination address 'example.net'"),
        ("ping -c 0 192.0.2.1", "-c failed: attempts must be within 1 - 65535, not 0"),
        ("ping -c 1 -c 2 192.0.2.1", "repeated option -c"),
        ("ping -c x 192.0.2.1", "could not parse ping command: -c takes a number, not 'x'"),
        ("ping -x 192.0.2.1", "could not parse ping command: unknown option -x"),
        ("ping -i 0.0005 192.0.2.1", "-i failed: inter-probe delay must be within 0.001s - 20s, not 0.0005"),
        ("ping -i fast 192.0.2.1", "-i failed: malformed inter-probe delay: fast"),
        ("ping -B abc 192.0.2.1", "-B failed: an even number of hexadecimal digits is needed"),
        ("ping -O mss=100 192.0.2.1", "mss is for tcp-syn alone"),
        ("ping -S 2001:db8::1 192.0.2.1", "the source address is of another family than the destination"),
        ("trace -w 2.5s 192.0.2.1", "-w failed: timeout must be a multiple of 1s, not 2.5s"),
        ("trace -c 90 192.0.2.1", "-c failed: confidence must be 95 or 99, not 90"),
        (
            "trace -P magic 192.0.2.1",
            "-P failed: unknown trace method 'magic': there are udp, tcp, icmp, icmp-paris, udp-paris, tcp-ack",
        ),
        ("host -t PTR example.net", "PTR is asked for an address, not for 'example.net'"),
        ("host", "host: expected a name to ask for"),
        ("http 192.0.2.1", "the URL is missing: -u"),
        ("udpprobe -p 00 192.0.2.1", "the destination port is missing: -d"),
        ("dealias -m ally 192.0.2.1", "ally wants other addresses"),
        ("dealias -p '-x' 192.0.2.1", "-p failed: could not parse probe command: unknown option -x in '-x'"),
    ] {
        assert_eq!(Command::parse(text).unwrap_err().to_string(), reason, "{text}");
    }
}

proptest! {
    /// Words of commands in any order: what is read is written, and read again the same.
    #[test]
    fn what_is_read_is_written(
        word in "ping|trace|tracelb|host|http|udpprobe|dealias|tbit|sting|sniff|owamp|neighbourdisc",
        options in proptest::collection::vec(("[A-Za-z@]", "[0-9]{1,4}|[0-9]\\.[0-9]{1,2}m?s|192\\.0\\.2\\.[0-9]|[a-f0-9]{2,6}|udp|'a b'"), 0..4),
        target in "192\\.0\\.2\\.[0-9]|2001:db8::1|example.net",
    ) {
        let options: Vec<_> = options.into_iter().map(|(letter, value)| format!("-{letter} {value}")).collect();
        if let Ok(command) = Command::parse(&format!("{word} {} {target}", options.join(" "))) {
            prop_assert_eq!(Command::parse(&command.to_string()), Ok(command));
        }
    }

    #[test]
    fn anything_is_read_or_refused(text in "\\PC{0,80}") {
        if let Ok(command) = Command::parse(&text) {
            prop_assert_eq!(Command::parse(&command.to_string()), Ok(command));
        }
    }
}
