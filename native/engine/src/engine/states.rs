//! The states of the transports, and the connection state that follows from them
//! (W3C webrtc-pc section 4.4.3, `RTCPeerConnectionState`).

use crate::w3c::{ConnectionState, DtlsState, IceConnectionState, IceGatheringState};

/// What the getters answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct States {
    ice: IceConnectionState,
    gathering: IceGatheringState,
    dtls: DtlsState,
    connection: ConnectionState,
}

impl States {
    pub(super) const fn new() -> Self {
        Self {
            ice: IceConnectionState::New,
            gathering: IceGatheringState::New,
            dtls: DtlsState::New,
            connection: ConnectionState::New,
        }
    }

    pub(super) const fn ice(&self) -> IceConnectionState {
        self.ice
    }

    pub(super) const fn gathering(&self) -> IceGatheringState {
        self.gathering
    }

    pub(super) const fn dtls(&self) -> DtlsState {
        self.dtls
    }

    pub(super) const fn connection(&self) -> ConnectionState {
        self.connection
    }

    pub(super) fn is_closed(&self) -> bool {
        self.connection == ConnectionState::Closed
    }

    /// Each setter says whether the state is new.
    pub(super) fn set_ice(&mut self, state: IceConnectionState) -> bool {
        std::mem::replace(&mut self.ice, state) != state
    }

    pub(super) fn set_gathering(&mut self, state: IceGatheringState) -> bool {
        std::mem::replace(&mut self.gathering, state) != state
    }

    pub(super) fn set_dtls(&mut self, state: DtlsState) -> bool {
        std::mem::replace(&mut self.dtls, state) != state
    }

    /// The connection state, if it changed.
    pub(super) fn derive(&mut self) -> Option<ConnectionState> {
        let state = connection_state(self.ice, self.dtls);
        (!self.is_closed() && std::mem::replace(&mut self.connection, state) != state)
            .then_some(state)
    }

    /// `close()` sets every state without an event.
    pub(super) fn close(&mut self) {
        self.ice = IceConnectionState::Closed;
        self.dtls = DtlsState::Closed;
        self.connection = ConnectionState::Closed;
    }
}

/// The table of the specification, for the one bundled transport. `Closed` is not in it: only
/// `close()` leads there.
const fn connection_state(ice: IceConnectionState, dtls: DtlsState) -> ConnectionState {
    use IceConnectionState as Ice;
    match (ice, dtls) {
        (Ice::Failed, _) | (_, DtlsState::Failed) => ConnectionState::Failed,
        (Ice::Disconnected, _) => ConnectionState::Disconnected,
        (Ice::New | Ice::Closed, DtlsState::New | DtlsState::Closed) => ConnectionState::New,
        (Ice::Connected | Ice::Completed, DtlsState::Connected | DtlsState::Closed) => {
            ConnectionState::Connected
        }
        _ => ConnectionState::Connecting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_connect_goes_through_new_connecting_connected_once_each() {
        let mut states = States::new();
        let mut seen = vec![states.connection()];
        states.set_ice(IceConnectionState::Checking);
        seen.extend(states.derive());
        states.set_ice(IceConnectionState::Connected);
        seen.extend(states.derive());
        states.set_dtls(DtlsState::Connecting);
        seen.extend(states.derive());
        states.set_dtls(DtlsState::Connected);
        seen.extend(states.derive());
        states.set_ice(IceConnectionState::Completed);
        seen.extend(states.derive());
        assert_eq!(
            seen,
            [
                ConnectionState::New,
                ConnectionState::Connecting,
                ConnectionState::Connected
            ]
        );
    }

    #[test]
    fn a_close_notify_closes_only_the_dtls_state() {
        assert_eq!(
            connection_state(IceConnectionState::Completed, DtlsState::Closed),
            ConnectionState::Connected
        );
    }

    #[test]
    fn a_failed_transport_fails_the_connection_whatever_the_other_says() {
        for ice in IceConnectionState::ALL {
            assert_eq!(
                connection_state(*ice, DtlsState::Failed),
                ConnectionState::Failed
            );
        }
        for dtls in DtlsState::ALL {
            assert_eq!(
                connection_state(IceConnectionState::Failed, *dtls),
                ConnectionState::Failed
            );
        }
    }

    #[test]
    fn nothing_leaves_closed() {
        let mut states = States::new();
        states.close();
        states.set_ice(IceConnectionState::Failed);
        assert_eq!(states.derive(), None);
        assert!(states.is_closed());
    }
}
