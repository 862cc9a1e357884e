defmodule ExWebRTC.Comparison do
  @moduledoc """
  Compares what two sides say of the same call, row by row.

  A row is `{what, ours, theirs, rule}`. The rule is `:same`, or says how far apart the values may
  be and why: `{:within, difference, reason}`, `{:at_most, reason}` (ours is not the larger one),
  `{:subset, reason}` (of lists: theirs are all among ours).
  """

  @type rule ::
          :same | {:within, number(), String.t()} | {:at_most, String.t()} | {:subset, String.t()}
  @type row :: {String.t(), term(), term(), rule()}

  @doc "The rows that do not hold. A value that is missing on either side never holds."
  @spec mismatches([row()]) :: [row()]
  def mismatches(rows), do: Enum.reject(rows, &holds?/1)

  defp holds?({_what, ours, theirs, _rule}) when is_nil(ours) or is_nil(theirs), do: false
  defp holds?({_what, ours, theirs, :same}), do: ours == theirs
  defp holds?({_what, ours, theirs, {:within, by, _why}}), do: abs(ours - theirs) <= by
  defp holds?({_what, ours, theirs, {:at_most, _why}}), do: ours <= theirs
  defp holds?({_what, ours, theirs, {:subset, _why}}), do: theirs -- ours == [] and theirs != []

  @doc "The table, for people."
  @spec to_text([row()]) :: String.t()
  def to_text(rows) do
    Enum.map_join(rows, "", fn {what, ours, theirs, rule} = row ->
      mark = if holds?(row), do: "  ", else: "! "

      "#{mark}#{String.pad_trailing(what, 44)} #{short(ours)} | #{short(theirs)} | #{why(rule)}\n"
    end)
  end

  defp why(:same), do: "the same"
  defp why({:within, by, why}), do: "within #{by}: #{why}"
  defp why({:at_most, why}), do: "not more: #{why}"
  defp why({:subset, why}), do: "theirs among ours: #{why}"

  defp short(value), do: inspect(value, printable_limit: 60)

  @doc "Compares again and again, as reports are on their way, until every row holds or `tries` are over."
  @spec settle((() -> [row()]), pos_integer()) :: [row()]
  def settle(take, tries \\ 40) do
    rows = take.()

    if mismatches(rows) == [] or tries == 1 do
      rows
    else
      receive after: (250 -> settle(take, tries - 1))
    end
  end
end
