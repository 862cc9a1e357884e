# One publisher to many viewers: with `forward/5`, in one VM and from one node to another, and with a
# process of Elixir in between. The publisher and the viewers are in a VM of their own, so that the
# CPU time is that of the middle alone; 1,200-byte packets. What arrives at some of the viewers is
# compared with what was sent.
#
#     mix run bench/forward.exs
#
# `BENCH_VIEWERS` (50) and `BENCH_RATES` ("1000 4000") say how much.

[{bench, bench_code}] = Code.require_file("bench.exs", __DIR__)

defmodule Bench.Outside do
  @moduledoc "What runs in the other VM."

  alias ExWebRTC.PeerConnection
  alias ExWebRTC.RTP.Packet

  # The first packet of a VP8 keyframe, so that a forward may begin with any of them.
  def payload(number), do: <<0x10, 0x00, number::32, 0::size(1_194)-unit(8)>>

  defp packet(number) do
    Packet.new(payload(number),
      sequence_number: rem(number, 65_536),
      timestamp: rem(number * 90, 4_294_967_296),
      payload_type: 96
    )
  end

  @doc "Sends `rate` packets a second for `ms`; the number behind the last."
  def publish(pc, track, first, rate, ms) do
    start = System.monotonic_time(:microsecond)
    publish(pc, track, first, first, rate, {start, start + ms * 1_000})
  end

  defp publish(pc, track, first, next, rate, {start, stop} = times) do
    now = System.monotonic_time(:microsecond)
    due = max(next, first + div((min(now, stop) - start) * rate, 1_000_000))

    if due > next,
      do: PeerConnection.send_rtp(pc, for(n <- next..(due - 1), do: {track, packet(n)}))

    if now >= stop do
      due
    else
      receive do
      after
        1 -> publish(pc, track, first, due, rate, times)
      end
    end
  end

  @doc "Controls a viewer and checks every packet: in order, none missing, as it was sent."
  def check(parent, expected) do
    receive do
      {:ex_webrtc, _pc, {:rtp, _track, nil, packet}} ->
        if packet.sequence_number != rem(expected, 65_536) or packet.payload != payload(expected),
          do: raise("packet #{packet.sequence_number} where #{expected} was expected")

        check(parent, expected + 1)

      {:checked?, number} when number == expected ->
        send(parent, {:checked, expected})
        check(parent, expected)

      {:checked?, number} ->
        send(self(), {:checked?, number})
        check(parent, expected)

      {:ex_webrtc, _pc, _other} ->
        check(parent, expected)
    end
  end

  @doc "Packets that these viewers have received."
  def received(pcs) do
    for pc <- pcs,
        {_id, %{type: :inbound_rtp, packets_received: count}} <- PeerConnection.get_stats(pc),
        reduce: 0,
        do: (sum -> sum + count)
  end
end
|> then(fn {:module, module, code, _result} -> Process.put(:outside, {module, code}) end)

defmodule Bench.Forward do
  @moduledoc "The middle."

  alias ExWebRTC.{MediaStreamTrack, PeerConnection}

  def other_vm(name, modules) do
    unless Node.alive?() do
      System.cmd("epmd", ["-daemon"])
      {:ok, _pid} = Node.start(:"bench#{System.pid()}@127.0.0.1", :longnames)
    end

    {:ok, _peer, node} =
      :peer.start_link(%{
        name: :"#{name}#{System.pid()}",
        host: ~c"127.0.0.1",
        longnames: true,
        args: [~c"-setcookie", Atom.to_charlist(Node.get_cookie()), ~c"+sbwt", ~c"none"]
      })

    :ok = :rpc.call(node, :code, :add_paths, [:code.get_path()])
    {:ok, _started} = :rpc.call(node, Application, :ensure_all_started, [:ex_webrtc])

    for {module, code} <- modules,
        do: {:module, _} = :rpc.call(node, :code, :load_binary, [module, ~c"bench", code])

    node
  end

  def publisher(node, delivery) do
    {outside, middle} = start(node, :none, delivery)
    track = MediaStreamTrack.new(:video)
    {:ok, _} = PeerConnection.add_transceiver(outside, track, direction: :sendonly)
    connect(outside, middle)

    receive do
      {:ex_webrtc, ^middle, {:track, received}} ->
        %{pc: outside, middle: middle, track: track.id, received: received.id}
    end
  end

  @doc "A viewer whose other end, the sink, is on the node `middle`."
  def viewer(node, delivery, middle) do
    {outside, middle} = start(node, delivery, :none, middle)
    track = MediaStreamTrack.new(:video)
    {:ok, transceiver} = PeerConnection.add_transceiver(middle, track, direction: :sendonly)
    connect(middle, outside)
    %{pc: outside, middle: middle, track: track.id, sender: transceiver.sender.id}
  end

  # One candidate each; functions do not cross nodes, so that of the other VM finds its own.
  defp start(outside_node, outside_delivery, middle_delivery, middle_node \\ node()) do
    options = [video_codecs: [:vp8], controlling_process: self()]
    outside = [rtp_delivery: outside_delivery] ++ options
    {:ok, outside} = :rpc.call(outside_node, PeerConnection, :start, [outside])
    address = Bench.one_address()
    filter = if middle_node == node(), do: [ice_ip_filter: &(&1 == address)], else: []
    middle = [rtp_delivery: middle_delivery] ++ filter ++ options
    {:ok, middle} = :rpc.call(middle_node, PeerConnection, :start, [middle])
    {outside, middle}
  end

  defp connect(offerer, answerer) do
    {:ok, offer} = PeerConnection.create_offer(offerer)
    :ok = PeerConnection.set_local_description(offerer, offer)
    :ok = PeerConnection.set_remote_description(answerer, offer)
    {:ok, answer} = PeerConnection.create_answer(answerer)
    :ok = PeerConnection.set_local_description(answerer, answer)
    :ok = PeerConnection.set_remote_description(offerer, answer)
    Process.put({:other, offerer}, answerer)
    Process.put({:other, answerer}, offerer)
    Bench.await_connected([offerer, answerer])
  end

  @doc "The room: what takes the place of `forward/5` without it."
  def room(middle, viewers) do
    receive do
      {:ex_webrtc, ^middle, {:rtp_batch, batch}} ->
        for %{middle: sink, track: track} <- viewers,
            do:
              PeerConnection.send_rtp(
                sink,
                for({_id, _rid, packet} <- batch, do: {track, packet})
              )

        room(middle, viewers)

      {:ex_webrtc, _pc, _other} ->
        room(middle, viewers)
    end
  end

  @doc """
  Publishes for `ms`: the CPU time of the middle for each packet that a viewer got, and what was lost.
  The sinks are on `far`, this node or another one.
  """
  def measure(node, far, publisher, viewers, first, rate, ms) do
    pcs = Enum.map(viewers, & &1.pc)
    received = fn -> :rpc.call(node, Bench.Outside, :received, [pcs]) end
    before = received.()
    arguments = [publisher.pc, publisher.track, first, rate, ms]

    far_cpu = fn -> if far == node(), do: 0, else: :rpc.call(far, Bench, :cpu_us, []) end
    far_before = far_cpu.()

    {next, _wall, cpu, split} =
      Bench.measure_threads(fn -> :rpc.call(node, Bench.Outside, :publish, arguments) end)

    Process.sleep(500)
    delivered = received.() - before
    sent = (next - first) * length(viewers)

    %{
      next: next,
      cpu: (cpu + far_cpu.() - far_before) / delivered,
      shards: Map.get(split, "native shards", 0) / delivered,
      lost: 100 * (sent - delivered) / sent,
      rate: delivered * 1_000 / ms
    }
  end

  def run(name, {node, far}, publisher, viewers, checkers, rates) do
    last =
      for rate <- rates, reduce: 0 do
        first ->
          runs =
            Enum.scan(1..Bench.runs(), %{next: first}, fn _run, %{next: first} ->
              measure(node, far, publisher, viewers, first, rate, 3_000)
            end)

          name = "#{name}, #{rate}/s to #{length(viewers)}"
          Bench.print("#{name}: CPU for each packet", "µs", Enum.map(runs, & &1.cpu))
          Bench.print("#{name}: of that the shards", "µs", Enum.map(runs, & &1.shards))
          Bench.print("#{name}: delivered", "/s", Enum.map(runs, &round(&1.rate)))
          Bench.print("#{name}: lost", "%", Enum.map(runs, & &1.lost))
          List.last(runs).next
      end

    for checker <- checkers do
      send(checker, {:checked?, last})

      receive do
        {:checked, ^last} -> :ok
      after
        5_000 -> IO.puts("#{name}: a viewer that is checked did not get every packet")
      end
    end
  end
end

alias ExWebRTC.PeerConnection

outside = Process.get(:outside)

Bench.run(fn ->
  modules = [{bench, bench_code}, outside]
  node = Bench.Forward.other_vm("outside", modules)
  far = Bench.Forward.other_vm("far", modules)
  true = :rpc.call(node, Node, :connect, [far])
  count = String.to_integer(System.get_env("BENCH_VIEWERS", "50"))

  rates =
    "BENCH_RATES"
    |> System.get_env("1000 4000")
    |> String.split()
    |> Enum.map(&String.to_integer/1)

  Bench.header("One publisher to #{count} viewers in another VM, 1,200 bytes")

  start = fn delivery, middle, count ->
    publisher = Bench.Forward.publisher(node, delivery)

    viewers =
      for n <- 1..count,
          do: Bench.Forward.viewer(node, if(n > 2, do: :none, else: :packet), middle)

    checkers =
      for viewer <- Enum.take(viewers, 2) do
        checker = Node.spawn_link(node, Bench.Outside, :check, [self(), 0])
        :ok = PeerConnection.controlling_process(viewer.pc, checker)
        checker
      end

    {publisher, viewers, checkers}
  end

  stop = fn publisher, viewers ->
    for %{pc: pc, middle: middle} <- [publisher | viewers] do
      PeerConnection.stop(pc)
      PeerConnection.stop(middle)
    end
  end

  for {name, middle, rates} <- [
        {"forward/5", node(), rates},
        {"forward/5 to another node", far, Enum.take(rates, 1)}
      ] do
    {publisher, viewers, checkers} = start.(:none, middle, count)

    for viewer <- viewers do
      {:ok, _ref} =
        PeerConnection.forward(
          publisher.middle,
          publisher.received,
          viewer.middle,
          viewer.sender
        )
    end

    Bench.Forward.run(name, {node, middle}, publisher, viewers, checkers, rates)
    stop.(publisher, viewers)
  end

  {publisher, viewers, checkers} = start.({:batch, 64}, node(), count)
  room = spawn_link(fn -> Bench.Forward.room(publisher.middle, viewers) end)
  :ok = PeerConnection.controlling_process(publisher.middle, room)
  name = "a room process"
  Bench.Forward.run(name, {node, node()}, publisher, viewers, checkers, Enum.take(rates, 1))
end)
