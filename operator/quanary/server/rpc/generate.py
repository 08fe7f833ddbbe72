"""The message classes of inference.proto: `python -m quanary.server.rpc.generate` (needs the extra `dev`)."""

import sys
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
PROTO: Final = "inference.proto"
FILES: Final = ("inference_pb2.py", "inference_pb2.pyi")


def generated() -> dict[str, str]:
    """What the generated files must say, by name."""
    from grpc_tools import protoc  # noqa: PLC0415 - the programs run without it

    with tempfile.TemporaryDirectory() as folder:
        words = ["protoc", f"-I{HERE}", f"--python_out={folder}", f"--pyi_out={folder}", PROTO]
        if protoc.main(words) != 0:
            sys.exit(f"{PROTO} cannot be compiled")
        texts = {name: (Path(folder) / name).read_text() for name in FILES}
    # A pool of its own: other users of the published package name in one process would clash in the default one.
    text = texts["inference_pb2.py"].replace("_descriptor_pool.Default()", "_descriptor_pool.DescriptorPool()")
    return {**texts, "inference_pb2.py": text}


def main() -> None:
    """Write them beside the source."""
    for name, text in generated().items():
        (HERE / name).write_text(text)


if __name__ == "__main__":
    main()
