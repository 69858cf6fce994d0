"""Options: what is refused, and what the environment may fill in."""

from __future__ import annotations

from pathlib import Path

import pytest

from castoff.compiler.errors import OptionError, UnsupportedOperator, UnsupportedOperatorError
from castoff.compiler.observe import SHOW_GRAPH, Observer
from castoff.compiler.options import LEVELS, CompileOptions, resolve_options


def test_unknown_options_are_refused_with_the_valid_ones() -> None:
    with pytest.raises(OptionError, match=r"unknown options optlevel, speed; .*opt_level"):
        resolve_options({"speed": 9, "optlevel": 3}, {})


def test_every_value_out_of_range_is_named() -> None:
    with pytest.raises(OptionError) as caught:
        CompileOptions(opt_level=4, target_cpu="pentium", jobs=-1)
    message = str(caught.value)
    assert "opt_level = 4: expected 0, 1, 2 or 3" in message
    assert "x86-64-v3" in message
    assert "jobs = -1" in message


@pytest.mark.parametrize("value", ["3", True, 2.0], ids=["text", "bool", "float"])
def test_values_of_another_type_are_refused(value: object) -> None:
    with pytest.raises(OptionError, match="opt_level"):
        resolve_options({"opt_level": value}, {})


def test_environment_fills_in_what_is_left_open() -> None:
    environment = {"CC": "clang", "CASTOFF_JOBS": "3", "CASTOFF_CACHE": "/c", "CASTOFF_DEBUG": "2"}
    options = resolve_options({"jobs": 5}, environment)
    assert (options.cc, options.jobs, options.cache_folder) == ("clang", 5, "/c")
    assert options.debug_level == 2


def test_environment_switches_the_cache_off() -> None:
    assert resolve_options(None, {"CASTOFF_CACHE": "0"}).cache_path is None


def test_bad_environment_is_named_by_its_variable() -> None:
    with pytest.raises(OptionError, match="CASTOFF_DEBUG = 'lots'"):
        resolve_options(None, {"CASTOFF_DEBUG": "lots"})


def test_levels_are_ordered_and_portable_means_three_and_two_more_for_narrow_products(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")

    def levels(**options: str) -> tuple[str, ...]:
        return CompileOptions(**options).cpu_levels_for(is_narrow=False)  # type: ignore[arg-type]

    assert levels() == LEVELS[:3]
    assert CompileOptions().cpu_levels_for(is_narrow=True) == LEVELS[:5]
    assert levels(target_cpu="x86-64-v3, x86-64") == ("x86-64", "x86-64-v3")
    assert levels(target_cpu="native") == ("native",)


def test_every_level_is_one_the_cpu_target_knows() -> None:
    from castoff.compiler.targets import cpu

    assert set(LEVELS) <= set(cpu.LEVELS)


def test_dumps_are_numbered(tmp_path: Path) -> None:
    observer = Observer(CompileOptions(dump=str(tmp_path / "d")))
    observer.record("program.json", "{}", SHOW_GRAPH)
    with observer.stage("fold"):
        observer.record("after fold.ir", "x", SHOW_GRAPH)
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == [
        "00-program.json",
        "01-after_fold.ir",
    ]
    assert [time.stage for time in observer.times] == ["fold"]


def test_the_library_is_silent_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    observer = Observer(CompileOptions())
    with observer.stage("compile", 3):
        observer.progress.advance("a.o")
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_unsupported_operators_are_reported_together() -> None:
    error = UnsupportedOperatorError(
        [
            UnsupportedOperator("aten.b.default", "model.py:3 in forward (head)"),
            UnsupportedOperator("aten.a.default", "model.py:1 in forward"),
            UnsupportedOperator("aten.b.default", "model.py:9 in forward"),
        ]
    )
    assert str(error) == (
        "the program uses 2 operators that castoff cannot compile:\n"
        "  aten.a.default: 1 use\n      model.py:1 in forward\n"
        "  aten.b.default: 2 uses\n      model.py:3 in forward (head)\n      model.py:9 in forward"
    )
