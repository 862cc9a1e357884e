defmodule ExWebRTC.RenegotiationTest do
  # Two connections of ours that negotiate again and again, one by one or both at once.
  use ExUnit.Case, async: true

  import ExWebRTC.Peers

  alias ExWebRTC.{MediaStreamTrack, PeerConnection, PerfectNegotiation}
  alias ExWebRTC.RTP.Packet

  @timeout 10_000
  @rounds 1_000

  defp video, do: MediaStreamTrack.new(:video)

  defp mids(pc),
    do: for(%{stopped: false, mid: mid} <- PeerConnection.get_transceivers(pc), do: mid)

  defp m_lines(pc) do
    %{sdp: sdp} = PeerConnection.get_current_local_description(pc)
    length(String.split(sdp, "\nm=")) - 1
  end

  test "after #{@rounds} exchanges both agree, m-lines were used again, and nothing has grown" do
    {first, second} = start()
    kept = MediaStreamTrack.new(:audio)
    {:ok, _sender} = PeerConnection.add_track(first, kept)
    :ok = connect(first, second)

    sizes =
      for round <- 1..@rounds do
        {offerer, answerer} = if rem(round, 2) == 0, do: {first, second}, else: {second, first}
        change(offerer, rem(round, 5))
        :ok = negotiate(offerer, answerer)
        assert Enum.sort(mids(first)) == Enum.sort(mids(second))
        assert PeerConnection.get_signaling_state(first) == :stable
        assert PeerConnection.get_signaling_state(second) == :stable

        {m_lines(first), length(PeerConnection.get_transceivers(first)),
         length(PeerConnection.get_transceivers(second)),
         map_size(PeerConnection.get_stats(first)), map_size(PeerConnection.get_stats(second))}
      end

    {early, late} = Enum.split(sizes, div(@rounds, 10))
    for {later, before} <- Enum.zip(tallest(late), tallest(early)), do: assert(later <= before)

    [%{receiver: receiver} | _later] = PeerConnection.get_transceivers(second)
    :ok = PeerConnection.send_rtp(first, kept.id, Packet.new("still here", sequence_number: 1))
    id = receiver.track.id
    assert_receive {:ex_webrtc, ^second, {:rtp, ^id, nil, %{payload: "still here"}}}, @timeout
  end

  # Never more than two of them live.
  defp change(pc, 0), do: {:ok, _transceiver} = PeerConnection.add_transceiver(pc, video())
  defp change(pc, 1), do: {:ok, _sender} = PeerConnection.add_track(pc, video())
  defp change(pc, 2), do: redirect(pc, :inactive)
  defp change(pc, 3), do: :ok = PeerConnection.restart_ice(pc)

  defp change(pc, 4) do
    for %{kind: :video, stopped: false} = transceiver <- PeerConnection.get_transceivers(pc),
        do: :ok = PeerConnection.stop_transceiver(pc, transceiver.id)
  end

  defp redirect(pc, direction) do
    for %{kind: :video, stopped: false} = transceiver <- PeerConnection.get_transceivers(pc),
        do: :ok = PeerConnection.set_transceiver_direction(pc, transceiver.id, direction)
  end

  defp tallest(sizes), do: sizes |> Enum.map(&Tuple.to_list/1) |> Enum.zip_with(&Enum.max/1)

  # Of each program.
  @tracks 20

  describe "programs that only follow the W3C's pattern" do
    # A program of its own for each side: what it wants negotiated, it adds, whenever that is.
    defp program(polite?, wishes, parent) do
      {:ok, pc} = PeerConnection.start_link()
      send(parent, {:started, self(), pc})

      receive do
        {:other, other} ->
          side = %PerfectNegotiation{pc: pc, polite?: polite?}
          for track <- wishes, do: send(self(), {:add, track})
          serve(side, other, parent)
      end
    end

    defp serve(%{pc: pc} = side, other, parent) do
      receive do
        {:add, track} ->
          {:ok, _sender} = PeerConnection.add_track(pc, track)

        {:ex_webrtc, ^pc, :negotiation_needed} ->
          for offer <- PerfectNegotiation.offer(side), do: send(other, {:description, offer})

        {:ex_webrtc, ^pc, {:ice_candidate, candidate}} ->
          send(other, {:candidate, candidate})

        {:description, description} ->
          for answer <- PerfectNegotiation.receive_description(side, description),
              do: send(other, {:description, answer})

        # As in the pattern: one of an offer that was ignored is of no use.
        {:candidate, candidate} ->
          assert PeerConnection.add_ice_candidate(pc, candidate) in [
                   :ok,
                   {:error, :invalid_candidate},
                   {:error, :no_remote_description}
                 ]

        {:ex_webrtc, ^pc, {:rtp, _track, nil, packet}} ->
          send(parent, {:heard, self(), packet.payload})

        {:ex_webrtc, ^pc, {:connection_state_change, :connected}} ->
          send(parent, {:connected, self()})

        _other ->
          :ok
      end

      serve(side, other, parent)
    end

    test "both offer at once, often, and end with every track of both" do
      parent = self()
      tracks = for _side <- 1..2, do: for(_track <- 1..@tracks, do: video())

      programs =
        for {wishes, polite?} <- Enum.zip(tracks, [true, false]) do
          program =
            start_supervised!({Task, fn -> program(polite?, wishes, parent) end}, id: polite?)

          assert_receive {:started, ^program, pc}, @timeout
          {program, pc, wishes}
        end

      [{first, first_pc, _}, {second, second_pc, _}] = programs
      send(first, {:other, second})
      send(second, {:other, first})

      for {program, _pc, _wishes} <- programs,
          do: assert_receive({:connected, ^program}, @timeout)

      eventually(fn ->
        Enum.sort(mids(first_pc)) == Enum.sort(mids(second_pc)) and
          Enum.all?([first_pc, second_pc], &done?/1)
      end)

      for {{_program, pc, wishes}, other} <- Enum.zip(programs, [second, first]),
          %{id: id} <- wishes do
        :ok = PeerConnection.send_rtp(pc, id, Packet.new("track #{id}", sequence_number: 1))
        text = "track #{id}"
        assert_receive {:heard, ^other, ^text}, @timeout
      end
    end

    defp done?(pc) do
      sent =
        for %{sender: %{track: %{}}} = sending <- PeerConnection.get_transceivers(pc), do: sending

      PeerConnection.get_signaling_state(pc) == :stable and length(sent) == @tracks and
        Enum.all?(sent, &(&1.current_direction in [:sendrecv, :sendonly]))
    end
  end
end
