defmodule ExWebRTC do
  @moduledoc """
  WebRTC for the BEAM: the W3C API in Elixir, over an engine in Rust.

  A connection is a process, `ExWebRTC.PeerConnection`. Its functions are those of the browser's
  `RTCPeerConnection` in snake_case; what a browser fires as an event comes as a message.

      {:ok, pc} = ExWebRTC.PeerConnection.start_link()
      {:ok, _sender} = ExWebRTC.PeerConnection.add_track(pc, ExWebRTC.MediaStreamTrack.new(:video))
      {:ok, offer} = ExWebRTC.PeerConnection.create_offer(pc)
      :ok = ExWebRTC.PeerConnection.set_local_description(pc, offer)

  ## Where things are

  | | |
  |---|---|
  | `ExWebRTC.PeerConnection` | a connection: every function, every message |
  | `ExWebRTC.PeerConnection.Configuration` | every option, with its default |
  | `ExWebRTC.UDPMux` | many connections on one UDP port |
  | `ExWebRTC.SessionDescription`, `ExWebRTC.ICECandidate` | what signaling exchanges, to and from JSON |
  | `ExWebRTC.MediaStreamTrack` | what is sent and received |
  | `ExWebRTC.RTPTransceiver`, `ExWebRTC.RTPSender`, `ExWebRTC.RTPReceiver`, `ExWebRTC.RTPCodecParameters` | how it is sent and received |
  | `ExWebRTC.DataChannel` | messages between peers |
  | `ExWebRTC.RTP.Packet`, `ExWebRTC.RTCP` | packets, to and from bytes |
  | `ExWebRTC.RTP.Payloader`, `ExWebRTC.RTP.Depayloader` | frames, to and from packets |

  ## Settings of the application

      config :ex_webrtc, shards: 4

  `shards` is the number of native threads that all connections of the node share, each for its whole
  life on one of them. Four that are opened one after the other share a thread, since they talk to each
  other as a rule; then the thread with the fewest has its turn. Read when `:ex_webrtc` is started for
  the first time in a VM. Default: the number of cores that the VM may use.

  The native engine is built from source when the application is compiled: it needs Rust
  (https://rustup.rs).
  """
end
