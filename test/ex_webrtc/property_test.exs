defmodule ExWebRTC.PropertyTest do
  use ExUnit.Case, async: true
  use ExWebRTC.Property

  alias ExWebRTC.Property

  property "holds for every generated value", [number <- :proper_types.non_neg_integer()] do
    number >= 0
  end

  test "a failure names the smallest counterexample, the cause and the seed" do
    error =
      assert_raise ExUnit.AssertionError, fn ->
        Property.check([:proper_types.non_neg_integer()], fn [number] -> assert number < 3 end)
      end

    assert error.message =~ "does not hold for:\n\n3\n"
    assert error.message =~ "assert number < 3"
    assert error.message =~ ~r/PROPERTY_SEED=\d+,\d+,\d+/
  end

  test "the same seed generates the same values" do
    run = fn ->
      test = self()
      Property.check([:proper_types.binary()], &send(test, {:value, &1}), seed: {1, 2, 3})
      received([])
    end

    values = run.()
    assert length(Enum.uniq(values)) > 1
    assert values == run.()
  end

  defp received(values) do
    receive do
      {:value, value} -> received([value | values])
    after
      0 -> values
    end
  end
end
