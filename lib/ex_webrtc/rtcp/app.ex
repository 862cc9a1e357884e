defmodule ExWebRTC.RTCP.APP do
  @moduledoc """
  A message of the application's own (RFC 3550 section 6.7).
  """

  @behaviour ExWebRTC.RTCP.Body

  import ExWebRTC.RTP.Packet.Wire

  @typedoc "`name`: four bytes; `data`: whole words."
  @type t() :: %__MODULE__{
          subtype: 0..31,
          ssrc: 0..0xFFFFFFFF,
          name: <<_::32>>,
          data: binary()
        }

  @enforce_keys [:ssrc, :name]
  defstruct @enforce_keys ++ [subtype: 0, data: <<>>]

  @impl true
  def encode_body(%__MODULE__{subtype: subtype, ssrc: ssrc, data: data} = app)
      when subtype in 0..31 and is_uint32(ssrc) and is_binary(data),
      do: {{subtype, 204}, <<ssrc::32, encode_name(app.name)::binary, data::binary>>}

  def encode_body(%__MODULE__{} = app),
    do: raise_wrong_field!(app, subtype: 0..31, ssrc: 0..0xFFFFFFFF, data: :binary)

  defp encode_name(<<name::binary-size(4)>>), do: name

  defp encode_name(name),
    do: raise(ArgumentError, "the name of an APP packet is four bytes, got: #{inspect(name)}")

  @impl true
  def decode_body(subtype, <<ssrc::32, name::binary-size(4), data::binary>>),
    do: {:ok, %__MODULE__{subtype: subtype, ssrc: ssrc, name: name, data: data}}

  def decode_body(_subtype, _body), do: :error
end
