"""Rendered manifests: nothing left to fill in, only local images, only restricted pods, scrape rules as agreed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster import addons, build, images, paths

MANIFESTS = sorted(file.name for file in paths.MANIFESTS.glob("*.yaml"))


@pytest.fixture(autouse=True)
def stamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "BIN", tmp_path)
    for module in ("gateway", "envoy", "prometheus", "traefik"):
        (tmp_path / f".{module}.stamp").write_text(module)
    return tmp_path


def documents(manifest: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(addons.render(manifest)) if document]


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_nothing_is_left_to_fill_in(manifest: str) -> None:
    assert documents(manifest)
    assert "${" not in addons.render(manifest)


def test_pods_are_restricted_and_use_local_images() -> None:
    deployments = [d for m in MANIFESTS for d in documents(m) if d.get("kind") == "Deployment"]
    assert len(deployments) == 4
    for deployment in deployments:
        pod = deployment["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["image"].startswith("localhost/")
            assert container["resources"]["limits"]["memory"]
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}


def scrape_config(job: str) -> dict[str, Any]:
    (config,) = (d for d in documents("prometheus.yaml") if d["kind"] == "ConfigMap")
    scrapes = yaml.safe_load(config["data"]["prometheus.yml"])["scrape_configs"]
    (found,) = (scrape for scrape in scrapes if scrape["job_name"] == job)
    return dict(found)


def test_gates_are_scraped_every_second_and_pods_are_not_believed() -> None:
    gates = scrape_config("quanary-gates")
    assert (gates["metrics_path"], gates["scrape_interval"], gates["scrape_timeout"]) == ("/gates", "1s", "1s")
    assert gates["honor_labels"] is False
    assert gates["honor_timestamps"] is False


@pytest.mark.parametrize("job", ["quanary-gates", "pods"])
def test_targets_are_named_by_the_pods_object(job: str) -> None:
    named = {rule["target_label"] for rule in scrape_config(job)["relabel_configs"] if "target_label" in rule}
    assert {"namespace", "pod", "quanary_model", "quanary_digest", "quanary_variant"} <= named


def test_port_of_the_annotation_survives_rendering() -> None:
    (rule,) = (r for r in scrape_config("pods")["relabel_configs"] if r.get("target_label") == "__address__")
    assert rule["replacement"] == "$1:$2"


def test_an_image_is_named_by_the_version_that_goes_in(stamps: Path) -> None:
    before = images.system_tag("envoy"), images.system_tag("coredns")
    (stamps / ".envoy.stamp").write_text("newer")
    assert images.system_tag("envoy") != before[0]
    assert images.system_tag("coredns") == before[1]


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("quanary/operator:dev", "localhost/quanary/operator:dev"),
        ("operator:dev", "localhost/operator:dev"),
        ("localhost/base:1", "localhost/base:1"),
        ("registry.example:5000/operator:dev", "registry.example:5000/operator:dev"),
    ],
)
def test_image_names_agree_everywhere(tag: str, name: str) -> None:
    assert images.full(tag) == name


def test_programs_know_their_version() -> None:
    flags = build.linker_flags(paths.TOOLS / "kubernetes")
    assert "gitVersion=v1." in flags
    assert "gitMajor=1" in flags
    assert "internal/version.version=v3." in build.linker_flags(paths.TOOLS / "gateway")
