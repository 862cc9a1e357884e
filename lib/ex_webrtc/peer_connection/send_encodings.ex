defmodule ExWebRTC.PeerConnection.SendEncodings do
  @moduledoc false
  # The option `send_encodings` of `ExWebRTC.PeerConnection.add_transceiver/3`
  # ([W3C](https://www.w3.org/TR/webrtc/#dom-rtcrtptransceiverinit-sendencodings)): what is wrong
  # with it raises, and each encoding gets every key.

  @keys [:rid, :active, :max_bitrate, :max_framerate, :scale_resolution_down_by]
  # RFC 8851 section 10, and no more characters than the W3C allows.
  @rid ~r/\A[a-zA-Z0-9_-]{1,16}\z/
  # As the engine: more layers than any encoder makes.
  @max_encodings 16

  @doc "The encodings with every key: of maps, or of rids alone."
  @spec parse!(term(), :audio | :video) :: [ExWebRTC.PeerConnection.encoding_parameters()]
  def parse!(encodings, kind) when is_list(encodings) do
    parsed = Enum.map(encodings, &encoding!/1)
    rids = for %{rid: rid} when rid != nil <- parsed, do: rid
    count = length(parsed)

    cond do
      kind == :audio and count > 1 ->
        invalid!("one encoding, as only video has layers", encodings)

      count > @max_encodings ->
        invalid!("at most #{@max_encodings} encodings", encodings)

      count > 1 and length(rids) < count ->
        invalid!("a :rid in each of several encodings", encodings)

      Enum.uniq(rids) != rids ->
        invalid!("each :rid once", encodings)

      true ->
        parsed
    end
  end

  def parse!(other, _kind), do: invalid!("a list of maps", other)

  defp encoding!(rid) when is_binary(rid), do: encoding!(%{rid: rid})

  defp encoding!(%{} = encoding) do
    if Map.keys(encoding) -- @keys != [],
      do: invalid!("maps with keys of #{inspect(@keys)}", encoding)

    Map.new(@keys, fn key -> {key, value!(key, Map.get(encoding, key), encoding)} end)
  end

  defp encoding!(other), do: invalid!("a list of maps", other)

  defp value!(:active, nil, encoding) when not is_map_key(encoding, :active), do: true
  defp value!(:active, value, _encoding) when is_boolean(value), do: value
  defp value!(:active, _value, encoding), do: invalid!(":active to be a boolean", encoding)
  defp value!(_key, nil, _encoding), do: nil

  defp value!(:rid, rid, encoding) do
    if is_binary(rid) and rid =~ @rid,
      do: rid,
      else: invalid!(":rid to be 1 to 16 letters, digits, - or _", encoding)
  end

  defp value!(:max_bitrate, bits, _encoding) when bits in 0..0xFFFFFFFF, do: bits

  defp value!(:max_bitrate, _bits, encoding),
    do: invalid!(":max_bitrate to be bits per second in 0..4294967295", encoding)

  defp value!(:max_framerate, frames, _encoding) when is_number(frames) and frames >= 0,
    do: frames / 1

  defp value!(:max_framerate, _frames, encoding),
    do: invalid!(":max_framerate to be 0.0 or more", encoding)

  defp value!(:scale_resolution_down_by, scale, _encoding)
       when is_number(scale) and scale >= 1,
       do: scale / 1

  defp value!(:scale_resolution_down_by, _scale, encoding),
    do: invalid!(":scale_resolution_down_by to be 1.0 or more", encoding)

  @spec invalid!(String.t(), term()) :: no_return()
  defp invalid!(expected, got) do
    raise ArgumentError,
          "invalid value for option :send_encodings: expected #{expected}, got: #{inspect(got)}"
  end
end
