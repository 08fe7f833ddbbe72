"""What the operator's settings refuse in a spec that the API server let pass. Pure."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from quanary.api.v1alpha1 import QuantizedModelSpec
from quanary.controller.settings import Settings

BUCKETS: Final = frozenset({"s3", "gs"})


def refusal(spec: QuantizedModelSpec, settings: Settings) -> str:
    """The first field that is not allowed here, with what is; empty if all are."""
    for field, uri in _uris(spec):
        host = _host(uri)
        if not host:
            continue
        if settings.allowed_hosts and host not in settings.allowed_hosts:
            return f"{field}: found host {host}; allowed by the operator: {', '.join(settings.allowed_hosts)}"
        if uri.startswith("http://") and host not in settings.insecure_hosts:
            return f"{field}: found {uri}; allowed: https, or a host the operator lists as insecure"
    server = spec.runtime.server
    images = (("spec.runtime.image", spec.runtime.image), ("spec.runtime.server.image", server.image if server else ""))
    return next((text for field, image in images if (text := _image_refusal(field, image, settings))), "")


def _host(uri: str) -> str:
    """As settings list it: `host:port`, or `s3://bucket`; empty for a claim, which is the namespace's own."""
    parts = urlsplit(uri)
    if parts.scheme == "pvc":
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in BUCKETS else parts.netloc


def _uris(spec: QuantizedModelSpec) -> Iterator[tuple[str, str]]:
    yield "spec.model.uri", spec.model.uri
    yield "spec.artifacts.repository", spec.artifacts.repository
    yield "spec.validation.data.uri", spec.validation.data.uri
    if spec.quantization.calibration:
        yield "spec.quantization.calibration.data.uri", spec.quantization.calibration.data.uri
    if spec.quantization.provided:
        yield "spec.quantization.provided.uri", spec.quantization.provided.uri


def _image_refusal(field: str, image: str, settings: Settings) -> str:
    if not image or image == settings.runtime_image or image.startswith(settings.allowed_images or ("\0",)):
        return ""
    allowed = ", ".join(settings.allowed_images) or f"only the operator's own, {settings.runtime_image}"
    return f"{field}: found {image}; allowed by the operator: {allowed}"
