defmodule ExWebRTC.AnyOrderTest do
  # Whatever two programs do, in whatever order, and whenever their descriptions arrive: with the
  # W3C's perfect negotiation both end stable and agree, and what they agreed on flows.
  use ExUnit.Case, async: true
  use ExWebRTC.Property

  import ExWebRTC.Directions

  alias ExWebRTC.{MediaStreamTrack, PeerConnection, PerfectNegotiation, SessionDescription}
  alias ExWebRTC.PeerConnection.Configuration
  alias ExWebRTC.RTP.Packet

  # For a machine that is busy with other tests.
  @timeout 10_000

  @options [video_codecs: [:vp8, :vp9, :h264], audio_codecs: [:opus, :pcmu]]

  property "any order of calls ends stable, in agreement, and what was agreed flows",
           [steps <- steps()],
           runs: 40 do
    play(steps)
  end

  ## What is generated

  defp steps, do: :proper_types.list(step())

  defp step do
    :proper_types.frequency([
      {2, call(:add_transceiver, [kind(), direction(), layers()])},
      {2, call(:add_track, [kind()])},
      {1, call(:remove_track, [pick()])},
      {2, call(:replace_track, [pick(), :proper_types.boolean()])},
      {2, call(:set_direction, [pick(), direction()])},
      {2, call(:stop_transceiver, [pick()])},
      {1, call(:set_codec_preferences, [pick(), pick(), pick()])},
      {1, call(:set_sender_codec, [pick(), pick()])},
      {1, call(:pause, [pick(), :proper_types.boolean()])},
      {1, call(:restart_ice, [])},
      {1, call(:create_data_channel, [:proper_types.boolean()])},
      {4, call(:offer, [])},
      {6, call(:deliver, [:proper_types.boolean()])},
      {1, call(:answer, [])},
      {1, call(:roll_back, [])}
    ])
  end

  # `{side, name, arguments}`: shrinks to fewer steps, then to simpler ones.
  defp call(name, arguments),
    do:
      :proper_types.tuple([
        side(),
        :proper_types.exactly(name),
        :proper_types.fixed_list(arguments)
      ])

  defp side, do: :proper_types.union([0, 1])
  defp kind, do: :proper_types.union([:audio, :video])
  defp direction, do: :proper_types.union([:sendrecv, :sendonly, :recvonly, :inactive])
  defp layers, do: :proper_types.union([[], ["l"], ["l", "h"]])
  defp pick, do: :proper_types.range(0, 5)

  ## How it is played

  defp play(steps) do
    {:ok, first} = PeerConnection.start(@options)
    {:ok, second} = PeerConnection.start(@options)

    state = %{
      sides: {
        %PerfectNegotiation{pc: first, polite?: true},
        %PerfectNegotiation{pc: second, polite?: false}
      },
      # What is on its way to each side, oldest first.
      inboxes: %{0 => [], 1 => []},
      channels: []
    }

    try do
      steps
      |> Enum.reduce(state, fn {side, name, arguments}, state ->
        step(name, side, arguments, state)
      end)
      |> settle()
      |> check()
    after
      PeerConnection.stop(first)
      PeerConnection.stop(second)
      flush([first, second])
    end

    true
  end

  defp pc(state, side), do: elem(state.sides, side).pc

  defp step(:offer, side, [], state),
    do: post(state, side, PerfectNegotiation.offer(elem(state.sides, side)))

  defp step(:deliver, side, [provisional?], state) do
    case state.inboxes[side] do
      [] ->
        state

      [description | rest] ->
        sent =
          state.sides
          |> elem(side)
          |> PerfectNegotiation.receive_description(description, provisional?)

        post(%{state | inboxes: %{state.inboxes | side => rest}}, side, sent)
    end
  end

  defp step(:answer, side, [], state),
    do: post(state, side, PerfectNegotiation.answer(elem(state.sides, side)))

  # An offer is taken back at both sides, when nothing else is on its way.
  defp step(:roll_back, side, [], state) do
    {pc, other} = {pc(state, side), pc(state, 1 - side)}

    if state.inboxes == %{0 => [], 1 => []} and stable?(pc) and stable?(other) do
      {:ok, offer} = PeerConnection.create_offer(pc)
      :ok = PeerConnection.set_local_description(pc, offer)
      :ok = PeerConnection.set_remote_description(other, offer)
      rollback = %SessionDescription{type: :rollback, sdp: ""}
      :ok = PeerConnection.set_local_description(pc, rollback)
      :ok = PeerConnection.set_remote_description(other, rollback)
    end

    state
  end

  defp step(:create_data_channel, side, [ordered?], state) do
    label = "channel #{length(state.channels)}"
    {:ok, channel} = PeerConnection.create_data_channel(pc(state, side), label, ordered: ordered?)
    %{state | channels: [{side, channel} | state.channels]}
  end

  defp step(name, side, arguments, state) do
    pc = pc(state, side)
    transceivers = PeerConnection.get_transceivers(pc)

    case arguments do
      [at | rest] when is_integer(at) and transceivers != [] ->
        transceiver = Enum.at(transceivers, rem(at, length(transceivers)))
        act(name, pc, transceiver, rest)

      [at | _rest] when is_integer(at) ->
        :ok

      _none ->
        act(name, pc, arguments)
    end

    state
  end

  defp act(:add_transceiver, pc, [kind, direction, layers]) do
    layers = if kind == :video, do: Enum.map(layers, &%{rid: &1}), else: []

    assert {:ok, %{direction: ^direction}} =
             PeerConnection.add_transceiver(pc, MediaStreamTrack.new(kind),
               direction: direction,
               send_encodings: layers
             )
  end

  defp act(:add_track, pc, [kind]),
    do: assert({:ok, _sender} = PeerConnection.add_track(pc, MediaStreamTrack.new(kind)))

  defp act(:restart_ice, pc, []), do: assert(:ok = PeerConnection.restart_ice(pc))

  defp act(:remove_track, pc, transceiver, []),
    do: assert(:ok = PeerConnection.remove_track(pc, transceiver.sender.id))

  defp act(:replace_track, pc, transceiver, [some?]) do
    track = if some?, do: MediaStreamTrack.new(transceiver.kind)
    result = PeerConnection.replace_track(pc, transceiver.sender.id, track)
    assert result in [:ok, {:error, :invalid_transceiver_direction}, {:error, :invalid_state}]
    if transceiver.stopped, do: assert(result == {:error, :invalid_state})
  end

  defp act(:set_direction, pc, transceiver, [direction]) do
    result = PeerConnection.set_transceiver_direction(pc, transceiver.id, direction)
    assert result == live(transceiver)
  end

  defp act(:stop_transceiver, pc, transceiver, []),
    do: assert(:ok = PeerConnection.stop_transceiver(pc, transceiver.id))

  defp act(:set_codec_preferences, pc, transceiver, [from, count]) do
    codecs = configured(pc, transceiver.kind)
    {last, first} = Enum.split(codecs, rem(from, length(codecs)))
    chosen = Enum.take(first ++ last, count)
    assert :ok = PeerConnection.set_codec_preferences(pc, transceiver.id, chosen)
  end

  defp act(:set_sender_codec, pc, transceiver, [at]) do
    codecs = configured(pc, transceiver.kind)
    codec = Enum.at(codecs, rem(at, length(codecs)))
    result = PeerConnection.set_sender_codec(pc, transceiver.sender.id, codec)

    assert result in [
             :ok,
             {:error, :invalid_codec},
             {:error, :invalid_transceiver_direction},
             {:error, :invalid_state}
           ]
  end

  # Paused and at once active again: the round trip of the parameters.
  defp act(:pause, pc, transceiver, [_active?]) do
    for active? <- [false, true] do
      {:ok, parameters} = PeerConnection.get_sender_parameters(pc, transceiver.sender.id)
      encodings = Enum.map(parameters.encodings, &%{&1 | active: active?})
      wanted = %{parameters | encodings: encodings}
      result = PeerConnection.set_sender_parameters(pc, transceiver.sender.id, wanted)
      assert result == live(transceiver)
    end
  end

  defp live(%{stopped: false, stopping: false}), do: :ok
  defp live(_stopped), do: {:error, :invalid_state}

  defp configured(pc, kind) do
    %Configuration{} = configuration = PeerConnection.get_configuration(pc)
    if kind == :audio, do: configuration.audio_codecs, else: configuration.video_codecs
  end

  defp stable?(pc), do: PeerConnection.get_signaling_state(pc) == :stable

  defp post(state, from, descriptions) do
    %{state | inboxes: Map.update!(state.inboxes, 1 - from, &(&1 ++ descriptions))}
  end

  ## How it ends

  # Everything arrives, and each side has offered once more: all that was asked for is negotiated.
  defp settle(state) do
    state = Enum.reduce([0, 1], state, &step(:answer, &1, [], &2)) |> deliver_all()
    {:ok, _sender} = PeerConnection.add_track(pc(state, 0), MediaStreamTrack.new(:audio))
    {:ok, _sender} = PeerConnection.add_track(pc(state, 1), MediaStreamTrack.new(:audio))
    state = Enum.reduce([0, 1], state, &(step(:offer, &1, [], &2) |> deliver_all()))
    connect(state, MapSet.new([0, 1]))
    state
  end

  defp deliver_all(%{inboxes: %{0 => [], 1 => []}} = state), do: state

  defp deliver_all(state) do
    state = Enum.reduce([0, 1], state, &step(:deliver, &1, [false], &2))
    deliver_all(Enum.reduce([0, 1], state, &step(:answer, &1, [], &2)))
  end

  # Candidates of descriptions that were taken back are of no use: their user fragment says so.
  defp connect(state, waiting) do
    {first, second} = {pc(state, 0), pc(state, 1)}

    if MapSet.size(waiting) > 0 do
      receive do
        {:ex_webrtc, pc, {:ice_candidate, candidate}} when pc in [first, second] ->
          other = if pc == first, do: second, else: first
          result = PeerConnection.add_ice_candidate(other, candidate)
          assert result in [:ok, {:error, :invalid_candidate}]
          connect(state, waiting)

        {:ex_webrtc, pc, {:connection_state_change, :connected}} when pc in [first, second] ->
          connect(state, MapSet.delete(waiting, if(pc == first, do: 0, else: 1)))
      after
        @timeout -> flunk("no connection: #{inspect(waiting)} of #{inspect({first, second})}")
      end
    end
  end

  defp check(state) do
    [ours, theirs] =
      for side <- [0, 1] do
        pc = pc(state, side)
        assert PeerConnection.get_signaling_state(pc) == :stable
        transceivers = pc |> PeerConnection.get_transceivers() |> Enum.reject(& &1.stopped)
        refute Enum.any?(transceivers, & &1.stopping)
        Map.new(transceivers, &{&1.mid, &1})
      end

    assert Map.keys(ours) == Map.keys(theirs)
    refute Map.has_key?(ours, nil)
    for {mid, transceiver} <- ours, do: check_pair(transceiver, theirs[mid])

    # Silence first: what must not arrive would come before what must.
    for speaks? <- [false, true], mid <- Map.keys(ours) do
      check_flow(pc(state, 0), pc(state, 1), ours[mid], theirs[mid], speaks?)
      check_flow(pc(state, 1), pc(state, 0), theirs[mid], ours[mid], speaks?)
    end

    for side <- [0, 1], pc = pc(state, side) do
      refute_received {:ex_webrtc, ^pc, {:rtp, _track, _rid, _packet}}
      refute_received {:ex_webrtc, ^pc, {:connection_state_change, :failed}}
    end

    Enum.each(state.channels, &check_channel(state, &1))
  end

  defp check_pair(ours, theirs) do
    assert ours.kind == theirs.kind
    assert ours.current_direction == reversed(theirs.current_direction)
    assert ours.current_direction == both(ours.direction, reversed(theirs.direction))

    for {from, to} <- [{ours, theirs}, {theirs, ours}], sends?(from.current_direction) do
      taken = for codec <- to.codecs, do: {codec.payload_type, codec.mime_type}
      assert {from.sender.codec.payload_type, from.sender.codec.mime_type} in taken
    end
  end

  defp check_flow(from, to, sending, receiving, speaks?) do
    if sending.sender.track && sends?(sending.current_direction) == speaks? do
      text = "#{sending.mid} of #{inspect(from)}"
      packet = Packet.new(text, sequence_number: 1, timestamp: 1)
      :ok = PeerConnection.send_rtp(from, sending.sender.track.id, packet)

      if speaks? do
        id = receiving.receiver.track.id

        assert_receive {:ex_webrtc, ^to, {:rtp, ^id, _rid, %{payload: ^text}}},
                       @timeout,
                       "#{inspect(sending)} to #{inspect(receiving)}"
      end
    end
  end

  defp check_channel(state, {side, channel}) do
    {pc, other, label} = {pc(state, side), pc(state, 1 - side), channel.label}

    assert_receive {:ex_webrtc, ^pc, {:data_channel_state_change, ref, :open}}
                   when ref == channel.ref,
                   @timeout

    assert_receive {:ex_webrtc, ^other, {:data_channel, %{label: ^label, ref: theirs}}}, @timeout
    assert :ok = PeerConnection.send_data(pc, channel.ref, label)
    assert_receive {:ex_webrtc, ^other, {:data, ^theirs, ^label}}, @timeout
  end

  defp flush(pcs) do
    receive do
      {:ex_webrtc, pc, _message} when is_pid(pc) -> flush(pcs)
    after
      0 -> :ok
    end
  end
end
