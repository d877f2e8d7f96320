//! scamper's protocols: what a peer sends, in pieces whose length is the first octet.

use std::time::Duration;

use mmn_scamper::remote::{Greeting, Magic, Role, Session};
use mmn_scamper::{Command, control, mux, uu};

fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (size, rest) = bytes.split_first().unwrap_or((&1, &[]));
    rest.chunks(usize::from(*size).max(1))
}

/// Both sides of the mux protocol.
pub(crate) fn mux(bytes: &[u8]) {
    let (mut client, mut server) = (mux::Client::default(), mux::Server::default());
    let (mut client_ended, mut server_ended) = (false, false);
    for piece in pieces(bytes) {
        client_ended = client_ended || client.receive(piece).is_err();
        server_ended = server_ended || server.receive(piece).is_err();
        while let Some(heard) = client.poll() {
            if let mux::Heard::Vp(vp) = heard {
                let mut out = Vec::new();
                mux::Message::VpUpdate(vp.clone()).encode(&mut out);
                let again = mux::Message::decode(out.get(8..).unwrap_or_default());
                assert_eq!(again, Ok(mux::Message::VpUpdate(vp)));
            }
        }
        while let Some(asked) = server.poll() {
            if let mux::Asked::Open { channel, .. } = asked {
                server.send(channel, b"MORE\n");
                server.close(channel);
            }
        }
    }
}

/// Both sides of the control socket.
pub(crate) fn control(bytes: &[u8]) {
    let (mut client, mut server) = (control::Client::attached(), control::Server::interactive());
    for _ in 0..4 {
        client.ask("ping 192.0.2.1");
    }
    for mut piece in pieces(bytes) {
        let _ = client.receive(piece);
        while let Some(request) = server.next(&mut piece) {
            if matches!(request, control::Request::Attach(_)) {
                server.attach();
            }
        }
    }
    if let Ok(octets) = uu::decode(bytes) {
        let mut text = Vec::new();
        uu::encode(&octets, &mut text);
        assert_eq!(uu::decode(&text), Ok(octets));
    }
}

/// Both sides of a remote daemon's connection.
pub(crate) fn remote(bytes: &[u8]) {
    let magic = || Magic::new(*b"01234567");
    let mut greeting = Greeting::default();
    let mut sessions = [Role::Master, Role::Daemon].map(|role| Session::new(role, magic(), Duration::ZERO));
    let [master, daemon] = &mut sessions;
    let channel = master.open(Duration::ZERO);
    master.send(Duration::ZERO, channel, b"ping 192.0.2.1\n");
    for mut piece in pieces(bytes) {
        let _ = (master.receive(Duration::ZERO, piece), daemon.receive(Duration::ZERO, piece));
        let _ = greeting.receive(&mut piece);
    }
    let _ = master.resumed(Duration::ZERO, &daemon.resume());
}

/// The text of a command. What is read is written, and read again the same.
pub(crate) fn command(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(command) = Command::parse(text) {
        assert_eq!(Command::parse(&command.to_string()), Ok(command));
    }
}
