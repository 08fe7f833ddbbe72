"""What the controller renders is what a program reads."""

from dataclasses import MISSING, fields
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quanary.wire.launch import Arguments, FetchArguments, QuantizeArguments, RepositoryArguments, ServeArguments

PROGRAMS: tuple[type[Arguments], ...] = (ServeArguments, FetchArguments, RepositoryArguments, QuantizeArguments)
# argparse swallows a value that is `--` and nothing else; no name, path or URI is.
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])).filter(lambda word: word != "--")
# A positional word that begins with a dash is an option to argparse; a path or a URI never does.
POSITIONAL = WORDS.filter(lambda word: not word.startswith("-"))


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Whatever a field of that type may hold."""
    if get_origin(hint) is tuple:
        return st.lists(values(get_args(hint)[0]), max_size=3).map(tuple)
    return {
        bool: st.booleans(),
        int: st.integers(min_value=0),
        float: st.floats(min_value=0, allow_nan=False, allow_infinity=False),
        str: WORDS,
    }[hint]


def arguments(program: type[Arguments]) -> st.SearchStrategy[Arguments]:
    """Any arguments of a program, each at its default now and then."""
    hints = get_type_hints(program)
    chosen = {}
    for each in fields(program):  # type: ignore[arg-type]
        drawn = POSITIONAL if each.metadata["positional"] else values(hints[each.name])
        chosen[each.name] = drawn if each.default is MISSING else st.just(each.default) | drawn
    return st.builds(program, **chosen)


@pytest.mark.parametrize("program", PROGRAMS)
@given(data=st.data())
def test_arguments_survive_the_command_line(program: type[Arguments], data: st.DataObject) -> None:
    given_arguments = data.draw(arguments(program))
    assert program.parse(given_arguments.render()) == given_arguments


@pytest.mark.parametrize("program", PROGRAMS)
def test_defaults_are_left_out(program: type[Arguments]) -> None:
    needed = {
        each.name: {str: "x", float: 0.5}[get_type_hints(program)[each.name]]
        for each in fields(program)  # type: ignore[arg-type]
        if each.default is MISSING
    }
    words = program(**needed).render()
    flags = [word for word in words if word.startswith("--")]
    positional = [each for each in fields(program) if each.metadata["positional"]]  # type: ignore[arg-type]
    assert len(flags) == len(needed) - len(positional)
    assert len(words) == len(flags) + len(positional)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_argument_says_what_it_is(program: type[Arguments]) -> None:
    for each in fields(program):  # type: ignore[arg-type]
        assert len(each.metadata["help"]) > 8, each.name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "required: model, --name"),
        (["m.onnx", "--name", "m", "--http-port", "many"], "--http-port: invalid int value: 'many'"),
        (["m.onnx", "--name", "m", "--colour", "red"], "unrecognized arguments: --colour red"),
    ],
)
def test_misuse_is_named(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        ServeArguments.parse(words)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_a_repeated_flag_gathers_its_values() -> None:
    parsed = FetchArguments.parse(
        ["oci://r.example/m", "--sha256", "0", "--out", "/m", "--insecure-host", "a:1", "--insecure-host", "b"]
    )
    assert parsed.insecure_host == ("a:1", "b")
    assert parsed.render()[-2:] == ["--insecure-host=a:1", "--insecure-host=b"]


def test_a_value_that_looks_like_a_flag_stays_a_value() -> None:
    words = FetchArguments(uri="oci://r.example/m", sha256="0", out="--help").render()
    assert FetchArguments.parse(words).out == "--help"
