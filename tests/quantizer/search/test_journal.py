import json
from pathlib import Path

from quanary.quantizer.search.journal import Journal, key_of


def test_what_was_added_is_found_after_a_restart(tmp_path: Path) -> None:
    Journal.open(tmp_path, "k").add("recipe", {"drop": 0.25, "sha256": "abc"})
    assert Journal.open(tmp_path, "k").find("recipe") == {"drop": 0.25, "sha256": "abc"}
    assert Journal.open(tmp_path, "k").find("other") is None
    assert Journal.open(tmp_path, "another").find("recipe") is None


def test_numbers_come_back_to_the_last_bit(tmp_path: Path) -> None:
    values: dict[str, float | str] = {"a": 0.1 + 0.2, "b": float("inf"), "c": 1e-300}
    Journal.open(tmp_path, "k").add("recipe", values)
    assert Journal.open(tmp_path, "k").find("recipe") == values


def test_a_journal_cut_anywhere_keeps_every_whole_line(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "k")
    for index in range(3):
        journal.add(f"recipe{index}", {"drop": index})
    whole = journal.path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole)):
        journal.path.write_bytes(whole[:cut])
        opened = Journal.open(tmp_path, "k")
        # A line whole but for its end of line says all it has to say.
        assert len(opened.known) == sum(end - 1 <= cut for end in ends)
        opened.add("next", {"drop": 9})
        assert Journal.open(tmp_path, "k").find("next") == {"drop": 9}


def test_lines_of_anything_else_are_ignored(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, "k")
    journal.path.write_bytes(
        b'[]\n"text"\n{"no": "key"}\n\xff\xfe\n' + json.dumps({"key": "r", "drop": 1}).encode() + b"\n"
    )
    assert Journal.open(tmp_path, "k").known == {"r": {"drop": 1}}


def test_the_key_covers_subject_metric_and_samples_in_order() -> None:
    keys = {
        key_of("s", "agreement", [b"a", b"b"]),
        key_of("t", "agreement", [b"a", b"b"]),
        key_of("s", "accuracy", [b"a", b"b"]),
        key_of("s", "agreement", [b"b", b"a"]),
    }
    assert len(keys) == 4
