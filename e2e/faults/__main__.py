"""`quanary` with a fault switch: `serve` gets one, every other program is passed through."""

import sys

from quanary.__main__ import main as quanary


def main() -> int:
    """Run the program named by the first word."""
    if sys.argv[1:2] != ["serve"]:
        return quanary()
    # The server's packages are not in every image, and no other program needs them.
    from e2e.faults.serve import serve  # noqa: PLC0415

    return serve(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
