defmodule ExWebRTC.RTCP.Body do
  @moduledoc false
  # What every packet type knows: its body. The header and padding are `ExWebRTC.RTCP`'s.

  @typedoc "Five bits of the header: a count of blocks, or the format of a feedback message."
  @type count() :: 0..31

  @doc "The body, with the count and the packet type for the header."
  @callback encode_body(struct()) :: {{count(), packet_type :: 0..255}, body :: binary()}

  @doc "Reads a body without padding."
  @callback decode_body(count(), body :: binary()) :: {:ok, struct()} | :error
end
