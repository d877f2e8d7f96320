//! A record of each type, octet by octet, and what is in it.
//!
//! *Written by scamper* means that release of scamper, while it measured. *By hand* means put together after the layout
//! that its documentation and its readers agree on: no scamper of today writes such a record on Linux.

#![expect(clippy::unwrap_used, clippy::too_many_lines, reason = "what is wrong here ends the test")]

use mmn_warts::{Kind, Record, json};
use serde_json::{Value, json};

struct Golden {
    kind: Kind,
    octets: &'static str,
    /// Fields of `json::fields`.
    fields: Value,
}

fn golden() -> Vec<Golden> {
    let golden = |kind, octets, fields| Golden { kind, octets, fields };
    vec![
        // Written by scamper 20260420.
        golden(
            Kind::List,
            "120500010000001b 00000001 00000000 64656661756c7400 01 0008 64656661756c7400",
            json!({ "id": 1, "user_id": 0, "name": "default", "descr": "default" }),
        ),
        // Written by scamper 20260420.
        golden(
            Kind::CycleStart,
            "1205000200000016 00000001 00000001 00000000 6b023ad5 02 0003 766d00",
            json!({ "id": 1, "list": 1, "user_id": 0, "start": 1_795_308_245_u32, "hostname": "vm" }),
        ),
        // By hand: as a start, with the end.
        golden(
            Kind::CycleDef,
            "1205000300000017 00000002 00000001 00000007 6b023ad5 01 0004 6b023ae5",
            json!({ "id": 2, "list": 1, "user_id": 7, "start": 1_795_308_245_u32, "stop": 1_795_308_261_u32 }),
        ),
        // Written by scamper 20260420.
        golden(Kind::CycleStop, "1205000400000009 00000001 6b023ae5 00", json!({ "id": 1, "stop": 1_795_308_261_u32 })),
        // By hand: a number, a type, the address.
        golden(Kind::Address, "1205000500000006 01 01 c0000201", json!({ "id": 1, "address": "192.0.2.1" })),
        // Written by scamper 20211212.
        golden(
            Kind::Trace,
            "120500060000003e
             f3feff3f003400000001000000016b0396f70005abdd0500010005002cb25a829b010001010001010200000200000401
             0a4d01010401c000020100000000",
            json!({ "src": "10.77.1.1", "dst": "192.0.2.1", "stop_reason": 5, "probe_type": 5, "hops": [] }),
        ),
        // Written by scamper 20260420.
        golden(
            Kind::Ping,
            "1205000700000062
             f3bc67002900000001000000016b023ad20001051e01000001005401400001057b6a04010a08000104010a0900050001
             fe9326002d274000280e00000000090000b72cb45100000000016b023ad2000105200028509200285092002850920176
             4100",
            json!({ "src": "10.8.0.1", "dst": "10.9.0.5", "probe_size": 84, "ping_sent": 1, "stop_reason": 1 }),
        ),
        // Written by scamper 20211212.
        golden(
            Kind::Tracelb,
            "1205000800000088
             f3ffff01003600000001000000016b0396f70005c4d9b25d829b002804010119025f00000200010000000200000bb803
             04010a4d010104010a4d02021e000a0100010104010a4d01021600080000000000000001070005000000010101000200
             011f000e6b0396f7000a5c72b25d02000001af0800126b0396f7000a5c9c00003f03140000000001",
            json!({ "confidence": 95, "gaplimit": 3, "probec": 2 }),
        ),
        // Written by scamper 20211212.
        golden(
            Kind::Dealias,
            "1205000900000059
             2f001500000001000000016b0396f9000715b501000000010300020305d80c001203ffb35d829b04010a4d020104010a
             4d01010e000c6b0396f9000716150001ffffbe0400136b0396f90007162b41b1400303ff0000000000",
            json!({ "method": 1 }),
        ),
        // Written by scamper 20260420.
        golden(
            Kind::Neighbourdisc,
            "1205000a0000005b fbff01 0039 00000001 00000001 764100 6b023ae5000ef04d 01 03e8 00 0001 0000 04010a080001
             0603324c990bc2bf 04010a080002 06036a43fcb9ff3a 0001 03 000a 6b023ae5000f1d91 0001 03 000d 6b023ae5000f1dad
             0000000003",
            json!({ "ifname": "vA", "method": 1, "wait": 1000, "dst_ip": "10.8.0.2", "dst_mac": "6a:43:fc:b9:ff:3a" }),
        ),
        // Written by scamper 20260420, which could not do it.
        golden(
            Kind::Tbit,
            "1205000b0000006e
             fbff8501004b000000010000000104010a08000104010a080002fb7200506b023ae5000f1e480004030105b400000303
             00000000636f756c64206e6f7420676574206669726577616c6c20656e747279000001000000010000020000000e0300
             0b31302e382e302e32002f000000",
            json!({ "src": "10.8.0.1", "dst": "10.8.0.2", "dport": 80, "test": 3, "errmsg": "could not get firewall entry" }),
        ),
        // By hand.
        golden(
            Kind::Sting,
            "1205000c00000054
             f9ffff01003c000000010401c00002010401c0000202100000500030006407d00105050300034745546b023ad5000000
             0500000000000000fa002f000100000001010f000f016b023ad50000012c000445000004",
            json!({ "src": "192.0.2.1", "dport": 80, "count": 48, "data": "474554", "dataackc": 47, "holec": 1, "result": 1 }),
        ),
        // Written by scamper 20260420.
        golden(
            Kind::Sniff,
            "1205000d0000002f fb0f 002b 00000001 00000001 04010a080001 6b023ae5000f1dd0 6b023ae7000f1f72 02 00000064 0002
             00000000 0005",
            json!({ "src": "10.8.0.1", "stop_reason": 2, "limit_pktc": 100, "limit_time": 2, "icmpid": 5, "pkts": [] }),
        ),
        // Written by scamper 20211212.
        golden(
            Kind::Host,
            "1205000e00000049
             bb7b0030000000010000000104010a4d010104010a4d02026b0396f90007181703e802000100016578616d706c652e63
             6f6d00010700126b0396f90007181e00000000000000000001",
            json!({ "qname": "example.com", "qtype": 1, "qclass": 1, "wait": 1000, "stop": 2 }),
        ),
        // Written by scamper 20260420.
        golden(
            Kind::Http,
            "1205000f00000038 bb9f04 0033 00000001 00000001 04010a080001 04010a080002 04dd 6b023ae5000f1f64 02 01
             31302e382e302e3200 2f00 0000003c00000000",
            json!({ "dst": "10.8.0.2", "sport": 1245, "stop": 2, "scheme": 1, "host": "10.8.0.2", "file": "/" }),
        ),
        // Written by scamper 20260420.
        golden(
            Kind::Udpprobe,
            "1205001000000093
             fbfb1c004e000000010000000104010a08000104010a080002fb7200356b023ae5000ee91c001e848001001f00010100
             00010000000000000161076578616d706c6503636f6d00000100010101fb72000f42400f003d6b023ae5000eebae002f
             0001858000010001000000000161076578616d706c6503636f6d0000010001c00c000100010000012c0004c000020101
             764100",
            json!({ "p0_sport": 64370, "dport": 53, "wait_timeout": 2_000_000, "stop": 1 }),
        ),
        // By hand: two packets, of which one was received.
        golden(
            Kind::Owamp,
            "120500110000007c
             98d3ec01002e0401c00002010401c00002026b023ad5000000056b023ad6000000000000000201000000fa0122382239
             0000000201000800000000000186a03b00146b023ad6000000006b023ad6000000070201020117000c6b023ad6000000
             5a020207400700146b023ad6000186a06b023ad6000186a400000001",
            json!({ "dst": "192.0.2.2", "attempts": 2, "dir": 1, "hsrtt": 250, "udp_dport": 8761, "result": 1 }),
        ),
    ]
}

fn octets(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|digit| !digit.is_ascii_whitespace()).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(octet).collect()
}

#[test]
fn each_type_is_read_and_written_to_the_octet() {
    let golden = golden();
    let numbers: Vec<u16> = golden.iter().map(|golden| golden.kind.number()).collect();
    assert_eq!(numbers, (1..=17).collect::<Vec<_>>());
    for golden in golden {
        let octets = octets(golden.octets);
        let record =
            Record::from_octets(&octets).unwrap_or_else(|error| panic!("{:?}: {error:?}", golden.kind));
        assert_eq!(record.kind(), golden.kind);
        let fields = json::fields(&record);
        for (name, value) in golden.fields.as_object().unwrap() {
            assert_eq!(fields.get(name), Some(value), "{name} of {fields}");
        }
        assert_eq!(record.to_octets().unwrap(), octets, "{record:?}");
        // A record that ends early is refused, wherever it ends.
        for end in 8..octets.len() {
            let mut short = octets[..end].to_vec();
            let length = u32::try_from(end - 8).unwrap().to_be_bytes();
            short[4..8].copy_from_slice(&length);
            let may_end = matches!(golden.kind, Kind::Address | Kind::Http);
            assert!(Record::from_octets(&short).is_err() || may_end, "{:?} up to {end}", golden.kind);
        }
    }
}

/// Release 20211212 says that a probe has two octets more than it has, and its own programs can't read it.
#[test]
fn a_probe_that_says_too_long_a_length_is_read() {
    let written = octets(
        "1205000a0000005d
         fbff01003900000001000000016131006b0396f9000718960103e8000001000004010a4d010106038e1d96d265120401
         0a4d01020603b29f39f0e951000103000c6b0396f90007320d000103000d6b0396f90007322900000000030000",
    );
    let record = Record::from_octets(&written).unwrap();
    let Record::Neighbourdisc(found) = &record else { panic!("{record:?}") };
    assert_eq!(found.probes.len(), 1);
    assert_eq!(found.probes[0].replies[0].mac, found.dst_mac);
    assert_eq!(Record::from_octets(&record.to_octets().unwrap()).unwrap(), record);
}
