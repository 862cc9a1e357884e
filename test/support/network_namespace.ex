defmodule ExWebRTC.NetworkNamespace do
  @moduledoc """
  A network namespace for the other peer of a test, behind a router that loses datagrams, is a NAT,
  is slow or goes down (nftables, tc). Needs root, `ip`, `nft` and `tc`.

  ```text
  here 198.18.N.1 ── 198.18.N.2 router 10.77.N.1 ── 10.77.N.2 there
  ```
  """

  @enforce_keys [:number]
  defstruct @enforce_keys

  @type t :: %__MODULE__{number: 1..250}

  @doc "Whether this may be done here."
  @spec allowed?() :: boolean()
  def allowed? do
    match?({"0\n", 0}, System.cmd("id", ["-u"])) and
      Enum.all?(["ip", "nft", "tc"], &System.find_executable/1)
  end

  @doc "Makes a namespace that goes with the test."
  @spec create() :: t()
  def create do
    # All that run tests on this machine share the numbers: the kernel knows which is free.
    namespace = Enum.find_value(Enum.shuffle(1..250), &try_create/1)
    ExUnit.Callbacks.on_exit(fn -> delete(namespace) end)
    build(namespace)
    await_address(filter(namespace))
    namespace
  end

  # The kernel says a moment later that a link is up, and we ask it a few times a second at most.
  defp await_address(filter),
    do: ExWebRTC.Peers.eventually(fn -> Enum.any?(ExWebRTC.Native.host_addresses(), filter) end)

  defp try_create(number) do
    namespace = %__MODULE__{number: number}

    case System.cmd("ip", ["netns", "add", name(namespace)], stderr_to_stdout: true) do
      {_output, 0} -> namespace
      {_exists, _status} -> nil
    end
  end

  defp build(%{number: number} = namespace) do
    [there, router, link] = [name(namespace), router(namespace), link(namespace)]
    ip(~w(netns add #{router}))
    ip(~w(link add #{link} type veth peer name out netns #{router}))
    ip(~w(-n #{router} link add in type veth peer name eth netns #{there}))

    ip(~w(addr add #{here(namespace)}/24 dev #{link}))
    ip(~w(-n #{router} addr add 198.18.#{number}.2/24 dev out))
    ip(~w(-n #{router} addr add 10.77.#{number}.1/24 dev in))
    ip(~w(-n #{there} addr add #{there(namespace)}/24 dev eth))

    # What we send as one burst (GSO) is cut before the link, so that packets are lost one by one.
    ip(~w(link set #{link} gso_max_segs 1 up))
    for device <- ["out", "in", "lo"], do: ip(~w(-n #{router} link set #{device} up))
    for device <- ["eth", "lo"], do: ip(~w(-n #{there} link set #{device} gso_max_segs 1 up))

    ip(~w(route add 10.77.#{number}.0/24 via 198.18.#{number}.2))
    ip(~w(-n #{there} route add default via 10.77.#{number}.1))
    run("ip", ~w(netns exec #{router} sysctl -qw net.ipv4.ip_forward=1))

    nft(namespace, "add table inet loss")
    nft(namespace, "add chain inet loss forward { type filter hook forward priority 10 ; }")
    nft(namespace, "add table ip nat")
    nft(namespace, "add chain ip nat out { type nat hook postrouting priority 100 ; }")
  end

  defp name(namespace), do: "webrtc-test-#{namespace.number}"
  defp router(namespace), do: "webrtc-router-#{namespace.number}"
  defp link(namespace), do: "webrtc#{namespace.number}"

  @doc "This side's address."
  @spec here(t()) :: String.t()
  def here(namespace), do: "198.18.#{namespace.number}.1"

  @doc "The other side's address."
  @spec there(t()) :: String.t()
  def there(namespace), do: "10.77.#{namespace.number}.2"

  @doc "Both sides have IPv6 addresses, and no others, from now on."
  @spec only_ipv6(t()) :: :ok
  def only_ipv6(%{number: number} = namespace) do
    [there, router, link] = [name(namespace), router(namespace), link(namespace)]
    {outer, inner} = {"fd00:198:#{number}:", "fd00:77:#{number}:"}
    ip(~w(addr flush dev #{link}))
    ip(~w(addr add #{outer}:1/64 dev #{link} nodad))
    ip(~w(-n #{router} addr add #{outer}:2/64 dev out nodad))
    ip(~w(-n #{router} addr add #{inner}:1/64 dev in nodad))
    ip(~w(-n #{there} addr flush dev eth))
    ip(~w(-n #{there} addr add #{inner}:2/64 dev eth nodad))
    run("ip", ~w(netns exec #{router} sysctl -qw net.ipv6.conf.all.forwarding=1))
    ip(~w(route add #{inner}:/64 via #{outer}:2))
    ip(~w(-n #{there} route add default via #{inner}:1))
    await_address(ipv6_filter(namespace))
  end

  @doc "As `filter/1`, after `only_ipv6/1`."
  @spec ipv6_filter(t()) :: (:inet.ip_address() -> boolean())
  def ipv6_filter(namespace) do
    here = {0xFD00, 0x198, String.to_integer("#{namespace.number}", 16), 0, 0, 0, 0, 1}
    &(&1 == here)
  end

  @doc "An `ice_ip_filter` that leaves only this side of the link."
  @spec filter(t()) :: (:inet.ip_address() -> boolean())
  def filter(namespace) do
    {:ok, here} = namespace |> here() |> String.to_charlist() |> :inet.parse_address()
    &(&1 == here)
  end

  @doc "What a command is put behind to run there."
  @spec within(t()) :: [String.t()]
  def within(namespace), do: ["ip", "netns", "exec", name(namespace)]

  @doc "Of a hundred datagrams in either direction this many are lost from now on."
  @spec lose(t(), 0..100) :: :ok
  def lose(namespace, percent) do
    nft(namespace, "flush chain inet loss forward")
    share = if percent < 100, do: "numgen random mod 100 < #{percent}"
    rule = "add rule inet loss forward meta l4proto udp #{share} counter drop"
    if percent > 0, do: nft(namespace, rule)
    :ok
  end

  @doc """
  What goes to the other side passes at so many kbit/s from now on, behind a queue of 200 ms.
  """
  @spec limit(t(), pos_integer()) :: :ok
  def limit(namespace, kilobits) do
    queue = ~w(tbf rate #{kilobits}kbit burst 2kb latency 200ms)
    run("tc", ~w(-n #{router(namespace)} qdisc replace dev in root) ++ queue)
  end

  @doc """
  The router becomes a NAT for the other side: `:port_restricted` keeps the port of a socket for
  all destinations, `:symmetric` gives each destination another one (RFC 4787 section 4.1). Either
  lets nothing in from where nothing was sent to.
  """
  @spec translate(t(), :port_restricted | :symmetric) :: :ok
  def translate(namespace, kind) do
    random = if kind == :symmetric, do: "fully-random"
    nft(namespace, "add rule ip nat out oifname out masquerade #{random}")
    # As everywhere outside: there is no way to an address behind the NAT.
    ip(~w(route del 10.77.#{namespace.number}.0/24))
  end

  @doc "The other side gets another address, which `there/1` does not say."
  @spec move(t()) :: :ok
  def move(%{number: number} = namespace) do
    ip(~w(-n #{name(namespace)} addr flush dev eth))
    ip(~w(-n #{name(namespace)} addr add 10.77.#{number}.77/24 dev eth))
    ip(~w(-n #{name(namespace)} route add default via 10.77.#{number}.1))
  end

  # The links go with the namespaces.
  defp delete(namespace) do
    for name <- [name(namespace), router(namespace)],
        do: System.cmd("ip", ["netns", "del", name], stderr_to_stdout: true)
  end

  defp ip(arguments), do: run("ip", arguments)

  defp nft(namespace, rule), do: run("ip", ~w(netns exec #{router(namespace)} nft) ++ [rule])

  defp run(command, arguments) do
    case System.cmd(command, arguments, stderr_to_stdout: true) do
      {_output, 0} -> :ok
      {output, status} -> raise "#{command} #{Enum.join(arguments, " ")}: #{status} #{output}"
    end
  end
end
