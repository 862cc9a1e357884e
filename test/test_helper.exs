# Tests with other peers are asked for: `mix test --include interop`. Those of them that need network
# namespaces also need root.
asked_for? = Enum.any?(ExUnit.configuration()[:include], &(&1 == :interop))
namespaces? = ExWebRTC.NetworkNamespace.allowed?()

if asked_for? and not namespaces?,
  do:
    IO.puts(
      "NOT RUN: the tests tagged :namespace. They need root, ip (iproute2) and nft (nftables)."
    )

ExUnit.start(
  exclude: if(asked_for? and namespaces?, do: [:interop], else: [:interop, :namespace])
)
