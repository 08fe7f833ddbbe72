"""Settings out of the environment that the chart renders."""

from dataclasses import fields
from datetime import timedelta

import pytest

from quanary.controller.settings import Settings


def test_an_empty_environment_means_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


def test_every_kind_of_value_is_read() -> None:
    settings = Settings.from_environment(
        {
            "QUANARY_RUNTIME_IMAGE": "registry.example/runtime:1",
            "QUANARY_TICK": "2s",
            "QUANARY_FAST_TICK": "500ms",
            "QUANARY_ALPHA": "0.001",
            "QUANARY_WORKERS": "8",
            "QUANARY_ALLOWED_HOSTS": "models.example, data.example:8443",
            "PATH": "/bin",
        }
    )
    assert settings == Settings(
        runtime_image="registry.example/runtime:1",
        tick=timedelta(seconds=2),
        fast_tick=timedelta(milliseconds=500),
        alpha=0.001,
        workers=8,
        allowed_hosts=("models.example", "data.example:8443"),
    )


def test_an_empty_list_is_no_list_of_nothing() -> None:
    assert Settings.from_environment({"QUANARY_ALLOWED_IMAGES": ""}).allowed_images == ()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("QUANARY_TICK", "5"),
        ("QUANARY_RESYNC", "often"),
        ("QUANARY_ALPHA", "1%"),
        ("QUANARY_WORKERS", "4.5"),
        ("QUANARY_METRICS_PORT", "http"),
    ],
)
def test_a_bad_value_is_refused_by_the_variables_name(variable: str, text: str) -> None:
    with pytest.raises(ValueError, match=variable) as caught:
        Settings.from_environment({variable: text})
    assert repr(text) in str(caught.value)


def test_every_setting_has_a_value_that_it_can_be_read_back_from() -> None:
    def spelled(value: object) -> str:
        if isinstance(value, timedelta):
            return f"{value.total_seconds():g}s"
        return ",".join(value) if isinstance(value, tuple) else str(value)

    default = Settings()
    environment = {f"QUANARY_{each.name.upper()}": spelled(getattr(default, each.name)) for each in fields(Settings)}
    assert Settings.from_environment(environment) == default
