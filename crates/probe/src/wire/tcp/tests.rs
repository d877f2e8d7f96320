use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn survives_anything(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = decode(&bytes);
        prop_assert!(options(&bytes).count() <= bytes.len());
        let _ = Offer::of(&bytes);
    }

    #[test]
    fn reads_what_it_writes(
        ports: (u16, u16), numbers: (u32, u32), flags: u8, window: u16, urgent: u16, mss: Option<u16>,
        payload in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let header = Header {
            source_port: ports.0, destination_port: ports.1, seq: numbers.0, ack: numbers.1, flags, window, urgent,
        };
        let option = mss.map(mss_option);
        let written = option.as_ref().map_or(&[][..], |option| option);
        let bytes = [&encode(&header, written.len())[..], written, &payload].concat();
        prop_assert_eq!(decode(&bytes), Ok(Segment { header, options: written, payload: &payload }));
        prop_assert_eq!(Offer::of(written), Offer { mss, ..Offer::default() });
    }
}

#[test]
fn options_end_where_they_make_no_sense() {
    assert_eq!(options(&[1, 1, 2, 4, 5, 0xb4]).collect::<Vec<_>>(), [TcpOption::MaximumSegmentSize(1460)]);
    assert_eq!(options(&[0, 2, 4, 5, 0xb4]).count(), 0);
    assert_eq!(options(&[2, 0, 5]).count(), 0);
    assert_eq!(options(&[2, 1, 5]).count(), 0);
    assert_eq!(options(&[2, 9, 5]).count(), 0);
    assert_eq!(options(&[2]).count(), 0);
    let odd = TcpOption::Other { kind: 3, data: &[1, 2] };
    assert_eq!(
        options(&[3, 4, 1, 2, 254, 2]).collect::<Vec<_>>(),
        [odd, TcpOption::Other { kind: 254, data: &[] }]
    );
}

#[test]
fn an_offer_is_read_as_it_was_made() {
    let made = Offer { mss: Some(1400), window_scale: Some(7), sack_permitted: true, timestamp: Some(9) };
    assert_eq!(Offer::of(&offer(1400, 9)), made);
}
