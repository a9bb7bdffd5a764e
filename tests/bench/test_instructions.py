from bench.instructions import counted


def test_each_threads_instructions_are_read_of_the_part_that_is_asked_for(tmp_path):
    out = tmp_path / "gateway.callgrind"
    for name, text in (
        ("1-01", "events: Ir\nsummary: 7\n"),
        ("2-01", "fn=a\n1 2\ntotals: 40\n"),
        ("2-08", "totals: 2\n"),
        ("2-09", ""),
    ):
        (tmp_path / f"gateway.callgrind.{name}").write_text(text)
    assert (counted(out, 1), counted(out, 2)) == ({1: 7}, {1: 40, 8: 2, 9: 0})
