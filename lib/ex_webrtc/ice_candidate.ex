defmodule ExWebRTC.ICECandidate do
  @moduledoc """
  An ICE candidate as it is exchanged in signaling.

  W3C: [RTCIceCandidateInit](https://www.w3.org/TR/webrtc/#dom-rtcicecandidateinit).
  An empty `candidate` says that no more candidates follow (RFC 8838 section 8.2).
  """

  @typedoc """
  - `candidate`: the text of the SDP attribute, without `a=`
  - `sdp_mid`: the `mid` of the m-line that it belongs to
  - `sdp_m_line_index`: the zero-based index of that m-line
  - `username_fragment`: the ICE generation that it belongs to
  """
  @type t() :: %__MODULE__{
          candidate: String.t() | nil,
          username_fragment: String.t() | nil,
          sdp_mid: String.t() | nil,
          sdp_m_line_index: non_neg_integer() | nil
        }

  defstruct [:candidate, :username_fragment, :sdp_mid, :sdp_m_line_index]

  @doc """
  The candidate as a map that any JSON library encodes to what a browser's `addIceCandidate` takes.

      iex> ExWebRTC.ICECandidate.to_json(%ExWebRTC.ICECandidate{candidate: "", sdp_mid: "0"})
      %{"candidate" => "", "sdpMid" => "0", "sdpMLineIndex" => nil, "usernameFragment" => nil}
  """
  @spec to_json(t()) :: %{String.t() => String.t() | non_neg_integer() | nil}
  def to_json(%__MODULE__{} = candidate) do
    %{
      "candidate" => candidate.candidate,
      "sdpMid" => candidate.sdp_mid,
      "sdpMLineIndex" => candidate.sdp_m_line_index,
      "usernameFragment" => candidate.username_fragment
    }
  end

  @doc """
  Reads what a browser's `RTCIceCandidate.toJSON()` gives, decoded to a map.

  Keys that are missing become `nil`, and a missing candidate the empty string, as W3C defaults it.
  So does JSON's `null`: a browser's last `icecandidate` event has no candidate, and programs send
  that on as it is.

      iex> ExWebRTC.ICECandidate.from_json(%{"candidate" => "candidate:1 1 udp 1 10.0.0.1 9 typ host"})
      %ExWebRTC.ICECandidate{candidate: "candidate:1 1 udp 1 10.0.0.1 9 typ host"}

      iex> ExWebRTC.ICECandidate.from_json(nil)
      %ExWebRTC.ICECandidate{candidate: ""}
  """
  @spec from_json(%{String.t() => String.t() | non_neg_integer() | nil} | nil) :: t()
  def from_json(nil), do: %__MODULE__{candidate: ""}

  def from_json(%{} = json) do
    %__MODULE__{
      candidate: json["candidate"] || "",
      sdp_mid: json["sdpMid"],
      sdp_m_line_index: json["sdpMLineIndex"],
      username_fragment: json["usernameFragment"]
    }
  end
end
