defmodule Bench do
  @moduledoc """
  What the benchmarks share: connected pairs, CPU time and memory of this VM, and the table.

  Everything is measured on this machine over real sockets; CPU is that of the whole VM (both
  peers and the script), read from `/proc/self/stat`.
  """

  alias ExWebRTC.{MediaStreamTrack, PeerConnection}

  @doc """
  Runs a benchmark in a process of its own: the one that evaluates a script drags the script's
  environment through every garbage collection.
  """
  def run(fun), do: fun |> Task.async() |> Task.await(:infinity)

  @doc """
  Two connections with one host candidate each, connected.

  `setup` runs on the first before its offer, `answering` on the second before its answer. `options`
  are those of both, or a tuple with those of each.
  """
  def pair(setup, options \\ [], answering \\ fn _pc -> :ok end) do
    {a, b} = start_pair(setup, options, answering)
    await_connected([a, b])
    {a, b}
  end

  @doc "Like `pair/3` without waiting: candidates come to the caller, which must forward them."
  def start_pair(setup, options, answering \\ fn _pc -> :ok end) do
    address = one_address()
    {first, second} = if is_tuple(options), do: options, else: {options, options}
    start = &PeerConnection.start(Keyword.put_new(&1, :ice_ip_filter, fn ip -> ip == address end))
    {:ok, a} = start.(first)
    {:ok, b} = start.(second)
    setup.(a)
    {:ok, offer} = PeerConnection.create_offer(a)
    :ok = PeerConnection.set_local_description(a, offer)
    :ok = PeerConnection.set_remote_description(b, offer)
    answering.(b)
    {:ok, answer} = PeerConnection.create_answer(b)
    :ok = PeerConnection.set_local_description(b, answer)
    :ok = PeerConnection.set_remote_description(a, answer)
    Process.put({:other, a}, b)
    Process.put({:other, b}, a)
    {a, b}
  end

  @doc "Forwards candidates until every one of `pcs` is connected. Raises when one fails."
  def await_connected([]), do: :ok

  def await_connected(pcs) do
    receive do
      {:ex_webrtc, pc, {:ice_candidate, candidate}} ->
        PeerConnection.add_ice_candidate(Process.get({:other, pc}), candidate)
        await_connected(pcs)

      {:ex_webrtc, pc, {:connection_state_change, :connected}} ->
        await_connected(List.delete(pcs, pc))

      {:ex_webrtc, pc, {:connection_state_change, :failed}} ->
        raise "#{inspect(pc)} failed to connect"
    after
      30_000 -> raise "#{length(pcs)} connections were not up after 30 s"
    end
  end

  @doc "A video track on a send-only transceiver, as `setup` of `pair/2`."
  def video_track do
    track = MediaStreamTrack.new(:video)

    setup = fn pc ->
      {:ok, _transceiver} = PeerConnection.add_transceiver(pc, track, direction: :sendonly)
    end

    {track, setup}
  end

  @doc """
  Sets pairs up and closes them, `rate` a second, in a process of its own until that is sent `:stop`.

  Returns the process, and a function that says how many a second it were, once it has stopped.
  """
  def come_and_go(rate) do
    start = System.monotonic_time(:millisecond)
    parent = self()
    others = spawn_link(fn -> send(parent, {:came, self(), come_and_go(rate, start, 0)}) end)

    count = fn ->
      receive do
        {:came, ^others, pairs} -> 1000 * pairs / (System.monotonic_time(:millisecond) - start)
      end
    end

    {others, count}
  end

  defp come_and_go(rate, start, pairs) do
    due = start + div(1000 * pairs, rate)

    receive do
      :stop -> pairs
    after
      max(0, due - System.monotonic_time(:millisecond)) ->
        {_track, setup} = video_track()
        {a, b} = pair(setup)
        stop([a, b])
        come_and_go(rate, start, pairs + 1)
    end
  end

  @doc "Stops connections and forgets their messages."
  def stop(pcs) do
    Enum.each(pcs, &PeerConnection.stop/1)
    flush()
  end

  def flush do
    receive do
      {:ex_webrtc, _pc, _message} -> flush()
    after
      0 -> :ok
    end
  end

  @doc "The first address that is not loopback, or loopback: one host candidate a peer."
  def one_address do
    with nil <- :persistent_term.get(__MODULE__, nil) do
      address = find_address()
      :persistent_term.put(__MODULE__, address)
      address
    end
  end

  defp find_address do
    {:ok, interfaces} = :inet.getifaddrs()

    addresses =
      for {_name, properties} <- interfaces,
          :up in Keyword.get(properties, :flags, []),
          {:addr, {_, _, _, _} = address} <- properties,
          do: address

    Enum.find(addresses, &(elem(&1, 0) != 127)) || {127, 0, 0, 1}
  end

  @doc "CPU time of this VM so far, in µs."
  def cpu_us, do: cpu_by_thread() |> Map.values() |> Enum.sum()

  @doc """
  CPU time of each kind of thread so far, in µs: ours by name, the BEAM's by role.

  From `schedstat`, which counts nanoseconds; the ticks of `stat` are 10 ms long.
  """
  def cpu_by_thread do
    for task <- File.ls!("/proc/self/task"),
        {:ok, name} <- [File.read("/proc/self/task/#{task}/comm")],
        {:ok, stat} <- [File.read("/proc/self/task/#{task}/schedstat")],
        reduce: %{} do
      sums ->
        [nanoseconds | _] = String.split(stat)
        us = String.to_integer(nanoseconds) / 1000
        Map.update(sums, thread_role(name), us, &(&1 + us))
    end
  end

  @doc "The roles that `cpu_by_thread/0` knows."
  def thread_roles, do: ["native shards", "BEAM schedulers", "other threads"]

  defp thread_role("ex_webrtc" <> _), do: "native shards"
  # The name ends with the scheduler's number: `1_scheduler` before OTP 26, `erts_sched_1` since.
  defp thread_role("erts_sched_" <> _), do: "BEAM schedulers"

  defp thread_role(name),
    do: if(name =~ ~r/^\d+_scheduler/, do: "BEAM schedulers", else: "other threads")

  @doc "How often the native threads have gone to sleep so far: each wake-up ends a sleep."
  def native_wakeups do
    for task <- File.ls!("/proc/self/task"),
        {:ok, "ex_webrtc" <> _} <- [File.read("/proc/self/task/#{task}/comm")],
        {:ok, status} <- [File.read("/proc/self/task/#{task}/status")],
        [_, switches] <- [Regex.run(~r/^voluntary_ctxt_switches:\s+(\d+)/m, status)],
        reduce: 0,
        do: (sum -> sum + String.to_integer(switches))
  end

  @doc "Resident memory of this VM in KiB."
  def rss_kib do
    [pages] = Regex.run(~r/^\d+ (\d+)/, File.read!("/proc/self/statm"), capture: :all_but_first)
    String.to_integer(pages) * 4
  end

  @doc """
  Runs `fun` and returns its result, the wall clock time and the CPU time, both in µs. Reading the
  CPU times costs 3 to 4 ms of CPU itself, half of which counts: `fun` should run for much longer.
  """
  def measure(fun) do
    {result, wall, cpu, _split} = measure_threads(fun)
    {result, wall, cpu}
  end

  @doc "Like `measure/1`, and the CPU time of each kind of thread."
  def measure_threads(fun) do
    before = cpu_by_thread()
    start = System.monotonic_time(:microsecond)
    result = fun.()
    wall = System.monotonic_time(:microsecond) - start
    split = Map.new(cpu_by_thread(), fn {role, us} -> {role, us - Map.get(before, role, 0)} end)
    {result, wall, split |> Map.values() |> Enum.sum(), split}
  end

  @doc "The value below which `percent` of `values` lie."
  def percentile(values, percent) do
    sorted = Enum.sort(values)
    Enum.at(sorted, min(length(sorted) - 1, div(length(sorted) * percent, 100)))
  end

  @doc "How often each figure is taken: `BENCH_RUNS`, default 3."
  def runs, do: String.to_integer(System.get_env("BENCH_RUNS", "3"))

  @doc "Takes a figure several times and prints its median and spread."
  def row(name, unit, fun) do
    values = for _run <- 1..runs(), do: fun.()
    print(name, unit, values)
  end

  @doc "Prints one line of the table: median, and the lowest and highest."
  def print(name, unit, values) do
    [low, median, high] =
      Enum.map([Enum.min(values), percentile(values, 50), Enum.max(values)], &format/1)

    IO.puts("| #{name} | #{median} #{unit} | #{low} – #{high} |")
  end

  def header(title) do
    IO.puts("\n### #{title}\n\n| | median | lowest – highest |\n|---|---|---|")
  end

  defp format(value) when is_float(value), do: :erlang.float_to_binary(value, decimals: 1)
  defp format(value), do: to_string(value)
end
