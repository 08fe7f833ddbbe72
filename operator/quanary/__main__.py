"""The command `quanary`: one subcommand a program. Programs are imported only when asked for."""

import importlib
import sys
from typing import Final

PROGRAMS: Final = {
    "controller": ("quanary.controller.__main__", "run the operator"),
    "serve": ("quanary.server.__main__", "serve one model by the Open Inference Protocol"),
    "quantize": ("quanary.quantizer.__main__", "make, certify and publish an INT8 model"),
    "fetch": ("quanary.artifacts.__main__", "fetch one verified model file"),
    "repository": ("quanary.server.repository", "write the model repository that Triton serves from"),
    "inspect": ("quanary.inspect.__main__", "say what an artifact is, and whether it still is that"),
}


def main() -> int:
    """Run the program named by the first word; the rest are its arguments."""
    if len(sys.argv) < 2 or sys.argv[1] not in PROGRAMS:
        print("usage: quanary PROGRAM [ARGUMENT ...]\n", file=sys.stderr)
        for name, (_, text) in PROGRAMS.items():
            print(f"  {name:<12}{text}", file=sys.stderr)
        return 0 if sys.argv[1:2] in (["--help"], ["-h"]) else 2
    program = importlib.import_module(PROGRAMS[sys.argv[1]][0])
    return int(program.main(sys.argv[2:]) or 0)


if __name__ == "__main__":
    sys.exit(main())
