"""The three ways to a scan are timed at each length."""

from seqsuite.bench.scan_ways import WAYS, time_ways


def test_each_way_has_a_time_at_each_length() -> None:
    found = time_ways((8, 16))
    assert [(row["way"], row["seqlen"]) for row in found["rows"]] == [
        (way, seqlen) for seqlen in (8, 16) for way in WAYS.values()
    ]
    assert all(row["seconds"] > 0 for row in found["rows"])
    assert "cores" in found["machine"]
