defmodule ExWebRTC.SessionDescription do
  @moduledoc """
  A session description: an offer, an answer, or one of their variants, with its SDP.

  W3C: [RTCSessionDescriptionInit](https://www.w3.org/TR/webrtc/#dom-rtcsessiondescriptioninit).
  """

  @typedoc "The step of the offer/answer exchange (RFC 9429 section 4.1.8)."
  @type description_type() :: :offer | :answer | :pranswer | :rollback

  @type t() :: %__MODULE__{type: description_type(), sdp: String.t()}

  @enforce_keys [:type, :sdp]
  defstruct @enforce_keys

  @types %{
    "offer" => :offer,
    "answer" => :answer,
    "pranswer" => :pranswer,
    "rollback" => :rollback
  }

  @doc """
  The description as a map that any JSON library encodes to what a browser's
  `RTCSessionDescription` takes.

      iex> ExWebRTC.SessionDescription.to_json(%ExWebRTC.SessionDescription{type: :offer, sdp: "v=0"})
      %{"type" => "offer", "sdp" => "v=0"}
  """
  @spec to_json(t()) :: %{String.t() => String.t()}
  def to_json(%__MODULE__{type: type, sdp: sdp}),
    do: %{"type" => Atom.to_string(type), "sdp" => sdp}

  @doc """
  Reads what a browser's `RTCSessionDescription.toJSON()` gives, decoded to a map.

  A rollback may come without `"sdp"`. Raises `ArgumentError` for any other type than the four.

      iex> ExWebRTC.SessionDescription.from_json(%{"type" => "answer", "sdp" => "v=0"})
      %ExWebRTC.SessionDescription{type: :answer, sdp: "v=0"}
  """
  @spec from_json(%{String.t() => String.t()}) :: t()
  def from_json(%{"type" => type} = json) when is_map_key(@types, type) do
    type = Map.fetch!(@types, type)

    case json do
      %{"sdp" => sdp} when is_binary(sdp) ->
        %__MODULE__{type: type, sdp: sdp}

      _no_sdp when type == :rollback ->
        %__MODULE__{type: type, sdp: ""}

      _no_sdp ->
        raise ArgumentError, ~s(expected a map with a string under "sdp", got: #{inspect(json)})
    end
  end

  def from_json(json) do
    raise ArgumentError,
          ~s(expected a map whose "type" is "offer", "answer", "pranswer" or "rollback", ) <>
            "got: #{inspect(json)}"
  end
end
