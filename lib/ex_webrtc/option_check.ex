defmodule ExWebRTC.OptionCheck do
  @moduledoc false
  # What an option has to be: said in one way, before anything is made of it.

  @typedoc "A range, the values there are, or a test and what it stands for."
  @type expectation() ::
          Range.t() | [term(), ...] | {(term() -> as_boolean(term())), String.t()}

  @doc "Raises `ArgumentError` for the first option that is not as expected; `nil` where it is missing."
  @spec check!(keyword(), keyword(expectation())) :: keyword()
  def check!(opts, expected) do
    for {name, expectation} <- expected, not met?(opts[name], expectation) do
      raise ArgumentError,
            "expected #{inspect(name)} to be #{describe(expectation)}, got: #{inspect(opts[name])}"
    end

    opts
  end

  @doc "Of a file."
  @spec path() :: expectation()
  def path, do: {&(is_binary(&1) or (is_list(&1) and &1 != [])), "a path"}

  defp met?(value, first..last), do: is_integer(value) and value in first..last
  defp met?(value, values) when is_list(values), do: value in values
  defp met?(value, {met?, _text}), do: met?.(value)

  defp describe(first..last), do: "in #{first}..#{last}"
  defp describe(values) when is_list(values), do: "one of #{inspect(values)}"
  defp describe({_met?, text}), do: text
end
