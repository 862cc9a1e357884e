defmodule Mix.Tasks.Webrtc.DemoTest do
  use ExUnit.Case, async: true

  alias Mix.Tasks.Webrtc.Demo

  test "listens on localhost:4000 unless told otherwise" do
    assert Demo.parse([]) == %{ip: {127, 0, 0, 1}, port: 4000, pc_options: [], open?: false}

    arguments = ~w(--port 0 --host ::1 --stun stun:a:1 --stun stun:b:2 --open)

    assert Demo.parse(arguments) == %{
             ip: {0, 0, 0, 0, 0, 0, 0, 1},
             port: 0,
             pc_options: [ice_servers: [%{urls: ["stun:a:1", "stun:b:2"]}]],
             open?: true
           }

    assert Demo.parse(~w(--host localhost)).ip == {127, 0, 0, 1}
  end

  test "says what it does not understand" do
    for {arguments, words} <- [
          {~w(--port x), ~r/--port/},
          {~w(--port 70000), ~r/0 to 65535/},
          {~w(--host nowhere), ~r/IP address/},
          {~w(--colour red), ~r/--colour/},
          {~w(4000), ~r/no argument/}
        ] do
      assert_raise Mix.Error, words, fn -> Demo.parse(arguments) end
    end
  end

  test "says which port it cannot have, and what to do" do
    {:ok, listener} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(listener)

    assert_raise Mix.Error, ~r/port #{port}: it is taken. Choose another with --port/, fn ->
      Demo.run(["--port", "#{port}"])
    end

    :gen_tcp.close(listener)
  end
end
