defmodule ExWebRTC.WHIP.SDPFragment do
  @moduledoc """
  `application/trickle-ice-sdpfrag` bodies (RFC 8840, section 9): candidates that arrive after
  the offer, and the credentials of an ICE restart (RFC 9725, section 4.3).
  """

  @enforce_keys []
  defstruct ufrag: nil, pwd: nil, candidates: [], end_of_candidates: false

  @typedoc """
    * `:ufrag`, `:pwd` - of the ICE session the candidates belong to; of the first media section
      that has them, else of the session level
    * `:candidates` - attribute values (`"candidate:…"`) with the media section they are for
    * `:end_of_candidates` - the peer has no more
  """
  @type t :: %__MODULE__{
          ufrag: String.t() | nil,
          pwd: String.t() | nil,
          candidates: [%{candidate: String.t(), mid: String.t() | nil}],
          end_of_candidates: boolean()
        }

  # A browser with several interfaces, TCP and relays sends some tens of candidates.
  @max_candidates 256

  @doc """
  Parses a fragment.

  `{:error, reason}`, with a reason for people, where a line is no SDP line or the fragment says
  nothing about ICE. Unknown attributes are skipped, as RFC 8840 asks.
  """
  @spec parse(binary()) :: {:ok, t()} | {:error, String.t()}
  def parse(body) do
    if String.valid?(body) do
      body
      |> String.split(["\r\n", "\n"], trim: true)
      |> Enum.reduce_while({:ok, %__MODULE__{}, nil}, &parse_line/2)
      |> finish()
    else
      {:error, "the fragment is not UTF-8"}
    end
  end

  defp parse_line(<<type, ?=, value::binary>>, {:ok, fragment, mid}) when type in ?a..?z do
    case attribute(type, value, fragment, mid) do
      {:error, _reason} = error -> {:halt, error}
      {fragment, mid} -> {:cont, {:ok, fragment, mid}}
    end
  end

  defp parse_line(line, _state), do: {:halt, {:error, "not an SDP line: #{inspect(line)}"}}

  defp attribute(?m, _value, fragment, _mid), do: {fragment, nil}
  defp attribute(?a, "mid:" <> mid, fragment, _mid), do: {fragment, mid}

  defp attribute(?a, "ice-ufrag:" <> ufrag, fragment, mid),
    do: {%{fragment | ufrag: ufrag}, mid}

  defp attribute(?a, "ice-pwd:" <> pwd, fragment, mid), do: {%{fragment | pwd: pwd}, mid}

  defp attribute(?a, "end-of-candidates", fragment, mid),
    do: {%{fragment | end_of_candidates: true}, mid}

  defp attribute(?a, "candidate:" <> _rest = candidate, fragment, mid) do
    if length(fragment.candidates) < @max_candidates do
      entry = %{candidate: candidate, mid: mid}
      {%{fragment | candidates: [entry | fragment.candidates]}, mid}
    else
      {:error, "more than #{@max_candidates} candidates"}
    end
  end

  defp attribute(_type, _value, fragment, mid), do: {fragment, mid}

  defp finish({:error, _reason} = error), do: error

  defp finish({:ok, %{candidates: [], end_of_candidates: false, ufrag: nil}, _mid}),
    do: {:error, "neither candidates nor ICE credentials"}

  defp finish({:ok, %{ufrag: ufrag, pwd: pwd}, _mid}) when is_nil(ufrag) and is_binary(pwd),
    do: {:error, "ice-pwd without ice-ufrag"}

  defp finish({:ok, fragment, _mid}),
    do: {:ok, %{fragment | candidates: Enum.reverse(fragment.candidates)}}

  @doc """
  Whether the fragment starts a new ICE session: its credentials are not those of `remote_sdp`.
  """
  @spec restart?(t(), String.t()) :: boolean()
  def restart?(%__MODULE__{ufrag: ufrag, pwd: pwd}, _remote_sdp)
      when is_nil(ufrag) or is_nil(pwd),
      do: false

  def restart?(%__MODULE__{ufrag: ufrag}, remote_sdp) do
    ufrag not in values(remote_sdp, "a=ice-ufrag:")
  end

  @doc """
  Whether the fragment's candidates belong to the ICE session of `remote_sdp`.

  A late candidate of before a restart does not (RFC 8838, section 4).
  """
  @spec current?(t(), String.t()) :: boolean()
  def current?(%__MODULE__{ufrag: nil}, _remote_sdp), do: true
  def current?(%__MODULE__{ufrag: ufrag}, sdp), do: ufrag in values(sdp, "a=ice-ufrag:")

  @doc """
  The offer that an ICE restart by fragment stands for: `remote_sdp` with the fragment's
  credentials, the fragment's candidates in place of the old ones, and the next session version.
  """
  @spec restart_offer(t(), String.t()) :: String.t()
  def restart_offer(%__MODULE__{} = fragment, remote_sdp) do
    kept =
      remote_sdp
      |> lines()
      |> Enum.reject(&String.starts_with?(&1, ["a=candidate:", "a=end-of-candidates"]))
      |> Enum.map(fn
        "a=ice-ufrag:" <> _ -> "a=ice-ufrag:" <> fragment.ufrag
        "a=ice-pwd:" <> _ -> "a=ice-pwd:" <> fragment.pwd
        "o=" <> origin -> "o=" <> next_version(origin)
        line -> line
      end)

    # Everything is bundled, so the candidates count for the transport wherever they stand;
    # after the first media section's `mid` they are where a browser writes them.
    {before, rest} = Enum.split_while(kept, &(not String.starts_with?(&1, "a=mid:")))
    candidates = Enum.map(fragment.candidates, &("a=" <> &1.candidate))

    case rest do
      [mid | rest] -> join(before ++ [mid] ++ candidates ++ rest)
      [] -> join(before ++ candidates)
    end
  end

  @doc """
  The fragment that tells the peer our side of a restart: credentials and candidates of the
  first media section of `local_sdp`.
  """
  @spec from_description(String.t()) :: String.t()
  def from_description(local_sdp) do
    {session, media} =
      local_sdp |> lines() |> Enum.split_while(&(not String.starts_with?(&1, "m=")))

    section =
      case media do
        [m_line | rest] -> [m_line | Enum.take_while(rest, &(not String.starts_with?(&1, "m=")))]
        [] -> []
      end

    wanted = [
      "m=",
      "a=mid:",
      "a=ice-ufrag:",
      "a=ice-pwd:",
      "a=candidate:",
      "a=end-of-candidates"
    ]

    session_wanted = ["a=ice-lite", "a=ice-options:", "a=group:", "a=ice-ufrag:", "a=ice-pwd:"]

    join(
      Enum.filter(session, &String.starts_with?(&1, session_wanted)) ++
        Enum.filter(section, &String.starts_with?(&1, wanted))
    )
  end

  defp next_version(origin) do
    with [user, id, version | rest] <- String.split(origin, " "),
         {version, ""} <- Integer.parse(version) do
      Enum.join([user, id, Integer.to_string(version + 1) | rest], " ")
    else
      _other -> origin
    end
  end

  defp values(sdp, prefix) do
    for line <- lines(sdp), String.starts_with?(line, prefix) do
      String.replace_prefix(line, prefix, "")
    end
  end

  defp lines(sdp), do: String.split(sdp, ["\r\n", "\n"], trim: true)
  defp join(lines), do: Enum.map_join(lines, &(&1 <> "\r\n"))
end
