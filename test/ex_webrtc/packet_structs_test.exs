defmodule ExWebRTC.PacketStructsTest do
  use ExUnit.Case, async: true

  alias ExWebRTC.{FreshVM, PacketExchange, PacketStructs, RTCP, RTP}
  alias ExWebRTC.RTP.Packet.Extension

  describe "without ex_rtp and ex_rtcp" do
    test "packets are our structs" do
      assert {%RTP.Packet{payload: "frame", marker: true}, %RTCP.PLI{}} =
               PacketExchange.run(RTP.Packet, RTP.Packet.Extension, RTCP.PLI)
    end

    @tag :tmp_dir
    test "the toolkit has our structs", %{tmp_dir: directory} do
      assert {[RTP.Packet], _frame, size} = PacketExchange.toolkit(directory)
      assert size > 3_010
    end

    test "RTCP packets of theirs are encoded like ours, parts included" do
      report = %{ssrc: 7, fraction_lost: 1, total_lost: 2, last_sequence_number: 3}
      report = Map.merge(report, %{jitter: 4, last_sr: 5, delay: 6})
      ours = %RTCP.ReceiverReport{ssrc: 9, reports: [struct!(RTCP.ReceptionReport, report)]}

      theirs = %{
        Map.put(ours, :__struct__, ExRTCP.Packet.ReceiverReport)
        | reports: [Map.put(report, :__struct__, ExRTCP.Packet.ReceptionReport)]
      }

      assert PacketStructs.to_ours(theirs) == ours
      assert RTCP.encode([theirs]) == RTCP.encode(ours)
    end

    test "NACKs and header extensions of theirs are read like ours" do
      nack = RTCP.NACK.from_sequence_numbers(1, 2, [7, 9])
      theirs = Map.put(nack, :__struct__, ExRTCP.Packet.TransportFeedback.NACK)
      assert RTCP.NACK.to_sequence_numbers(theirs) == [7, 9]

      for extension <- [
            Extension.AbsSendTime.new(5),
            Extension.AudioLevel.new(true, 5),
            Extension.SourceDescription.new("0"),
            Extension.TWCC.new(5),
            Extension.VideoOrientation.new(rotation: 90)
          ] do
        raw = extension.__struct__.to_raw(extension, 3)
        theirs = Map.put(raw, :__struct__, ExRTP.Packet.Extension)
        assert {:ok, extension} == extension.__struct__.from_raw(theirs)
      end
    end

    test "RTP packets of theirs go through the functions for ours" do
      packet = RTP.Packet.new("frame", sequence_number: 7)
      theirs = Map.put(packet, :__struct__, ExRTP.Packet)
      extension = %{__struct__: ExRTP.Packet.Extension, id: 3, data: "x"}

      theirs = RTP.Packet.add_extension(theirs, extension)
      assert theirs.__struct__ == ExRTP.Packet
      assert {:ok, ^extension} = RTP.Packet.fetch_extension(theirs, 3)

      assert {:ok, %RTP.Packet{sequence_number: 7}} =
               theirs |> RTP.Packet.encode() |> RTP.Packet.decode()

      assert %{extensions: nil} = RTP.Packet.remove_extension(theirs, 3)
    end
  end

  # The modules would change what every other test receives: they are loaded in a VM of their own.
  @tag :tmp_dir
  test "where ex_rtp and ex_rtcp are loaded when the application starts, packets are theirs, in the " <>
         "toolkit as well",
       %{tmp_dir: directory} do
    vm = FreshVM.start()

    _modules =
      FreshVM.call(vm, Code, :compile_file, [
        Path.expand("../fixtures/packet_packages.exs", __DIR__)
      ])

    assert {:ok, _started} = FreshVM.call(vm, Application, :ensure_all_started, [:ex_webrtc])

    {rtp, pli} =
      FreshVM.call(vm, PacketExchange, :run, [
        ExRTP.Packet,
        ExRTP.Packet.Extension,
        ExRTCP.Packet.PayloadFeedback.PLI
      ])

    assert %{__struct__: ExRTP.Packet, payload: "frame", marker: true, timestamp: 90_000} = rtp
    # The MID, for one, is negotiated and so written into each packet.
    assert [%{__struct__: ExRTP.Packet.Extension} | _] = rtp.extensions
    assert Map.keys(rtp) == RTP.Packet.__struct__() |> Map.keys()
    assert %{__struct__: ExRTCP.Packet.PayloadFeedback.PLI, media_ssrc: media_ssrc} = pli
    assert media_ssrc == rtp.ssrc

    assert {[ExRTP.Packet], frame, size} = FreshVM.call(vm, PacketExchange, :toolkit, [directory])
    assert byte_size(frame) == 3_010
    assert size > 3_010
  end
end
