# The media toolkit: nanoseconds of CPU a packet, for packets of about 1,200 bytes. A payloader
# is given frames of ten packets; a depayloader the packets of such a frame. No connection is made.
defmodule Bench.Toolkit do
  alias ExWebRTC.Media.LEB128
  alias ExWebRTC.RTCP
  alias ExWebRTC.RTP.{Depayloader, JitterBuffer, Munger, Packet, Payloader}
  alias ExWebRTC.RTP.Packet.Extension
  alias ExWebRTC.RTPCodecParameters

  @packet_size 1200
  @packets 10
  @runs 7
  @limit_ns 3000

  def run do
    IO.puts(
      "\n### Media toolkit\n\n| what | ns a packet, median | fastest | slowest |\n|---|---|---|---|"
    )

    slow =
      Enum.filter(codec_rows() ++ packet_rows() ++ rtcp_rows(), fn {name, count, fun} ->
        times = for _run <- 1..@runs, do: measure(fun) / count
        median = times |> Enum.sort() |> Enum.at(div(@runs, 2))

        IO.puts(
          "| #{name} | #{round(median)} | #{round(Enum.min(times))} | #{round(Enum.max(times))} |"
        )

        median > @limit_ns
      end)

    if slow != [], do: raise("above #{@limit_ns} ns: #{Enum.map_join(slow, ", ", &elem(&1, 0))}")
  end

  # Nanoseconds of CPU of a call; each run lasts about a fifth of a second and begins without garbage.
  defp measure(fun) do
    {once, _result} = :timer.tc(fn -> for _n <- 1..100, do: fun.() end)
    rounds = max(10, div(200_000 * 100, max(once, 1)))

    Task.async(fn ->
      before = :erlang.statistics(:runtime) |> elem(0)
      :ok = repeat(fun, rounds)
      used = (:erlang.statistics(:runtime) |> elem(0)) - before
      used * 1_000_000 / rounds
    end)
    |> Task.await(:infinity)
  end

  defp repeat(_fun, 0), do: :ok

  defp repeat(fun, rounds) do
    fun.()
    repeat(fun, rounds - 1)
  end

  defp codec_rows do
    for {mime_type, frame} <- frames(),
        codec = %RTPCodecParameters{payload_type: 96, mime_type: mime_type, clock_rate: 90_000},
        {:ok, payloader} = Payloader.new(codec, max_payload_size: @packet_size),
        {:ok, depayloader} = Depayloader.new(codec),
        {packets, _payloader} = Payloader.payload(payloader, frame),
        packets = number(packets),
        row <- [
          {"payload #{mime_type}", length(packets),
           fn -> Payloader.payload(payloader, frame) end},
          {"depayload #{mime_type}", length(packets),
           fn -> Enum.reduce(packets, depayloader, &elem(Depayloader.depayload(&2, &1), 1)) end}
        ],
        do: row
  end

  defp number(packets) do
    for {packet, n} <- Enum.with_index(packets), do: %{packet | sequence_number: n, timestamp: 9}
  end

  defp frames do
    data = for _n <- 1..(@packet_size * @packets), into: <<>>, do: <<:rand.uniform(255)>>
    audio = binary_part(data, 0, @packet_size)

    [
      {"video/VP8", <<0x10>> <> data},
      {"video/VP9", <<0x82>> <> data},
      {"video/H264", <<0, 0, 0, 1, 0x65>> <> data},
      {"video/H265", <<0, 0, 0, 1, 0x26, 1>> <> data},
      {"video/AV1",
       <<0x12, 0, 0x0A, 1, 0, 0x32, LEB128.encode(byte_size(data))::binary>> <> data},
      {"audio/opus", audio},
      {"audio/PCMU", audio},
      {"audio/PCMA", audio},
      {"audio/G722", audio},
      {"audio/telephone-event", %{event: "5", duration: 400}}
    ]
  end

  defp packet_rows do
    packet =
      "x"
      |> :binary.copy(@packet_size)
      |> Packet.new(payload_type: 96, sequence_number: 1, timestamp: 2, ssrc: 3)

    extended =
      packet
      |> Packet.add_extension(Extension.new(1, <<1, 2, 3>>))
      |> Packet.add_extension(Extension.new(4, "0"))

    bytes = Packet.encode(packet)
    extended_bytes = Packet.encode(extended)
    in_order = for n <- 1..100, do: %{packet | sequence_number: n}
    reordered = in_order |> Enum.chunk_every(2) |> Enum.flat_map(&Enum.reverse/1)

    {[], timer, buffer} =
      JitterBuffer.insert(JitterBuffer.new(), %{packet | sequence_number: 0}, 0)

    {[_first], nil, buffer} = JitterBuffer.handle_timeout(buffer, timer)
    vp8 = %{packet | payload: <<0x90, 0xE0, 0x81, 0x02, 7, 0x40>> <> packet.payload}

    [
      {"encode", 1, fn -> Packet.encode(packet) end},
      {"encode with 2 extensions", 1, fn -> Packet.encode(extended) end},
      {"decode", 1, fn -> Packet.decode(bytes) end},
      {"decode with 2 extensions", 1, fn -> Packet.decode(extended_bytes) end},
      {"jitter buffer, in order", 100, fn -> insert(buffer, in_order) end},
      {"jitter buffer, pairs swapped", 100, fn -> insert(buffer, reordered) end},
      {"munge H264", 1, munge(:h264, packet)},
      {"munge VP8", 1, munge(:vp8, vp8)}
    ]
  end

  # A report with the name of its sender, and feedback on 100 packets.
  defp rtcp_rows do
    report = %RTCP.ReceptionReport{
      ssrc: 1,
      fraction_lost: 0,
      total_lost: 0,
      last_sequence_number: 7,
      jitter: 3,
      last_sr: 5,
      delay: 6
    }

    sender = %RTCP.SenderReport{
      ssrc: 2,
      ntp_timestamp: 1,
      rtp_timestamp: 2,
      packet_count: 3,
      octet_count: 4,
      reports: [report]
    }

    item = %RTCP.SourceDescription.Item{type: :cname, text: "someone@example.org"}

    names = %RTCP.SourceDescription{
      chunks: [%RTCP.SourceDescription.Chunk{ssrc: 2, items: [item]}]
    }

    compound = [sender, names]

    feedback = %RTCP.TransportCC{
      sender_ssrc: 1,
      media_ssrc: 2,
      base_sequence_number: 9,
      packet_status_count: 100,
      reference_time: 7,
      fb_pkt_count: 1,
      packet_chunks: [%RTCP.TransportCC.RunLength{status_symbol: :small_delta, run_length: 100}],
      recv_deltas: List.duplicate(4, 100)
    }

    for {name, packets, count} <- [
          {"SR and SDES", compound, 1},
          {"feedback, each of 100 packets it tells of", [feedback], 100}
        ],
        bytes = RTCP.encode(packets),
        {:ok, ^packets} = RTCP.decode(bytes),
        row <- [
          {"encode RTCP: #{name}", count, fn -> RTCP.encode(packets) end},
          {"decode RTCP: #{name}", count, fn -> RTCP.decode(bytes) end}
        ],
        do: row
  end

  defp insert(buffer, packets) do
    Enum.reduce(packets, buffer, fn packet, buffer ->
      {_packets, _timer, buffer} = JitterBuffer.insert(buffer, packet, 1000)
      buffer
    end)
  end

  defp munge(codec, packet) do
    # After a switch: before it, there is nothing to rewrite.
    {_packet, munger} = Munger.munge(Munger.new(codec, 90_000), packet, 0)
    {_packet, munger} = Munger.munge(Munger.update(munger), packet, 0)
    fn -> Munger.munge(munger, packet, 1) end
  end
end

Bench.Toolkit.run()
